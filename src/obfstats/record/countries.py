"""Countries of addresses, from the best source there is (design, decision 8).

For each address family on its own: the file that the operator names; else tor's own file where Debian installs it, so
that our numbers compare with Tor's; else the registries' data in the package iptocc, an extra. A look-up never raises:
an unknown country is `??`, and so is every country where there is no source.

Tables never change once they are opened. Where `changed` says that a file has, `reload` opens new ones, and the
recorder uses them from its next interval on. Making tables of tor's files takes a second or more: `Countries.search`
looks into the files themselves, until `reload` has made the tables.

- A file has changed if its inode, size or time of writing have; they are noted before it is read. So replacing a file
  by renaming and rewriting it in place are both noticed, also while it is being read.
- A file that vanished has not changed: what is in memory is as good as before.
- `reload` notes the state of a file even if it cannot be used: a broken file is read once, not at every check.
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_ntop
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from obfstats.formats.document import GeoIpSource
from obfstats.formats.logline import UNKNOWN_COUNTRY
from obfstats.record.errors import RecordError
from obfstats.record.geoip import parse_v4, parse_v6, search_v4, search_v6

if TYPE_CHECKING:
    from collections.abc import Callable

    from obfstats.record.geoip import FileSearch, V4Table, V6Table

TOR_GEOIP = Path("/usr/share/tor/geoip")
TOR_GEOIP6 = Path("/usr/share/tor/geoip6")

NO_SOURCE = "no source"
"""The description where every country is unknown."""

_log = logging.getLogger(__name__)

_State: TypeAlias = tuple[int, int, int]


class Countries:
    """Two look-ups, one for each address family.

    Attributes:
        v4: gives the lower-case country code of a packed IPv4 address (4 bytes), or `??`.
        v6: the same for a packed IPv6 address (16 bytes).
        descriptions: where the two come from, for the operator.
        geoip_sources: the same for a published document; None for an address family where that is not known.
        codes: every country code that a look-up may give, `??` included, sorted; empty until tables are made; None if
            that is not known.
    """

    def __init__(self, v4: Callable[[bytes], str], v6: Callable[[bytes], str], descriptions: tuple[str, str]) -> None:
        self.v4 = v4
        self.v6 = v6
        self.descriptions = descriptions
        self.geoip_sources: tuple[GeoIpSource | None, GeoIpSource | None] = None, None
        self.codes: tuple[str, ...] | None = None
        self._opened: tuple[CountrySource, ...] = ()

    @classmethod
    def open(cls, geoip: Path | None = None, geoip6: Path | None = None) -> Countries:
        """Read the files, or fall back.

        Args:
            geoip: a file in the format of tor's geoip; None for the default.
            geoip6: a file in the format of tor's geoip6; None for the default.

        Raises:
            RecordError: if a named file cannot be read or contains no range.
        """
        v4, v6 = _choose(geoip, geoip6)
        return cls._of(CountrySource.open(v4), CountrySource.open(v6))._warn_of_no_source()

    @classmethod
    def search(cls, geoip: Path | None = None, geoip6: Path | None = None) -> Countries:
        """Read the files as `open` does, without making tables: until `reload` each look-up searches a file's text.

        Args and errors are those of `open`.
        """
        v4, v6 = _choose(geoip, geoip6)
        return cls._of(CountrySource.search(v4), CountrySource.search(v6))._warn_of_no_source()

    def _warn_of_no_source(self) -> Countries:
        names = ("IPv4", "IPv6")
        unknown = [name for name, source in zip(names, self.descriptions, strict=True) if source == NO_SOURCE]
        if unknown:
            _log.warning(
                "countries of %s addresses are not known (??): install tor-geoipdb, or obfstats[geoip]",
                " and ".join(unknown),
            )
        return self

    @classmethod
    def _of(cls, v4: CountrySource, v6: CountrySource) -> Countries:
        countries = cls(v4.lookup, v6.lookup, (v4.description, v6.description))
        countries.geoip_sources = v4.geoip_source, v6.geoip_source
        if v4.codes is not None and v6.codes is not None:
            countries.codes = tuple(sorted(v4.codes | v6.codes))
        countries._opened = v4, v6
        return countries

    def changed(self) -> bool:
        """Tell whether a file has changed since it was read, or tor's own has appeared. Costs two system calls."""
        return any(source.changed() for source in self._opened)

    def reload(self) -> Countries:
        """Open the same choice again; may be called on a thread of its own.

        These tables stay as they are. Whether it worked or not, `changed` is then false until the next change.

        Returns:
            The new tables. Where tor's own file has vanished, they keep what was read of it.

        Raises:
            RecordError: if a file cannot be read or contains no range.
        """
        opened: list[CountrySource] = []
        failure: RecordError | None = None
        # Both are read before an error is raised: the one that was not read would count as changed.
        for source in self._opened:
            try:
                opened.append(source.reload())
            except RecordError as error:
                failure = failure or error
        if failure is not None:
            raise failure
        return self._of(*opened) if opened else self


class GeoIpChoice(NamedTuple):
    """Which file the countries of one address family come from.

    Attributes:
        path: the file.
        is_named: whether the operator named it: then it must be right, and nothing replaces it.
        tor_path: the path of the file that comes with tor.
        parse: makes a table of its content.
        search: looks countries up in its content, without a table.
        family: AF_INET or AF_INET6.
    """

    path: Path
    is_named: bool
    tor_path: Path
    parse: Callable[[bytes], V4Table | V6Table]
    search: Callable[[bytes], FileSearch[int] | FileSearch[bytes]]
    family: int


def _choose(geoip: Path | None, geoip6: Path | None) -> tuple[GeoIpChoice, GeoIpChoice]:
    return (
        GeoIpChoice(geoip or TOR_GEOIP, geoip is not None, TOR_GEOIP, parse_v4, search_v4, AF_INET),
        GeoIpChoice(geoip6 or TOR_GEOIP6, geoip6 is not None, TOR_GEOIP6, parse_v6, search_v6, AF_INET6),
    )


class CountrySource:
    """The countries of one address family, from a file, from the registries' data, or from nowhere.

    Attributes:
        lookup: gives the lower-case country code of a packed address, or `??`.
        description: where they come from, for the operator.
        geoip_source: the same for a published document; None for a file without a table, and without a source.
        codes: every country code that a look-up may give, `??` included; empty for a file without a table; None for the
            registries' data, and without a source.
    """

    def __init__(
        self,
        choice: GeoIpChoice,
        state: _State | None,
        lookup: Callable[[bytes], str],
        description: str,
        geoip_source: GeoIpSource | None,
        *,
        codes: frozenset[str] | None = None,
    ) -> None:
        self.lookup = lookup
        self.description = description
        self.geoip_source = geoip_source
        self.codes = codes
        self._choice = choice
        self._state = state

    @classmethod
    def open(cls, choice: GeoIpChoice) -> CountrySource:
        """Read the file, or use the registries' data, or nothing.

        Raises:
            RecordError: if a named file cannot be read or contains no range.
        """
        return cls._open(choice, cls._read)

    @classmethod
    def search(cls, choice: GeoIpChoice) -> CountrySource:
        """Read the file and leave its table to `reload`; or use the registries' data, or nothing.

        Raises:
            RecordError: if a named file cannot be read or contains no range.
        """
        return cls._open(choice, cls._search)

    @classmethod
    def _open(
        cls, choice: GeoIpChoice, use_file: Callable[[GeoIpChoice, _State | None], CountrySource]
    ) -> CountrySource:
        state = _state_of(choice.path)
        try:
            return use_file(choice, state)
        except RecordError:
            if choice.is_named:
                raise
        if state is not None:
            _log.warning("%s cannot be used: countries come from another source", choice.path)
        try:
            return cls._registries(choice, state)
        except ModuleNotFoundError:
            return cls(choice, state, _no_country, NO_SOURCE, None)

    @classmethod
    def _registries(cls, choice: GeoIpChoice, state: _State | None) -> CountrySource:
        """Use iptocc's data; raise ModuleNotFoundError if it is not installed."""
        # Loaded only where it is needed, as iptocc itself is: it would be a tenth of the start.
        from importlib.metadata import version  # noqa: PLC0415

        release = version("iptocc")
        return cls(choice, state, _registry_lookup(choice.family), f"iptocc {release}", GeoIpSource("iptocc", release))

    def changed(self) -> bool:
        """Tell whether the file is another one than was read last; costs one system call."""
        state = _state_of(self._choice.path)
        return state is not None and state != self._state

    def reload(self) -> CountrySource:
        """Open the same choice again; this source stays as it is.

        Returns:
            The new source; this one where tor's own file does not exist, or not any more.

        Raises:
            RecordError: if the file cannot be read or contains no range.
        """
        self._state = _state_of(self._choice.path)
        try:
            return self._read(self._choice, self._state)
        except RecordError:
            if self._choice.is_named or self._state is not None:
                raise
            return self

    @classmethod
    def _search(cls, choice: GeoIpChoice, _state: _State | None) -> CountrySource:
        """Read the file as text; raise RecordError if it cannot be read or contains no range."""
        search = choice.search(_read_file(choice.path))
        if not search.has_range:
            raise _no_range(choice.path)
        # Without a state it has changed, so that its table will be made.
        return cls(choice, None, search.country, f"{choice.path} (no table yet)", None, codes=frozenset())

    @classmethod
    def _read(cls, choice: GeoIpChoice, state: _State | None) -> CountrySource:
        """Read the file; raise RecordError if it cannot be read or contains no range."""
        path = choice.path
        content = _read_file(path)
        table = choice.parse(content)
        if not len(table):
            raise _no_range(path)
        skipped = f", {table.skipped} lines skipped" if table.skipped else ""
        description = f"{path} ({len(table)} ranges{skipped})"
        digest = hashlib.sha1(content, usedforsecurity=False).hexdigest().upper()
        geoip_source = GeoIpSource("tor" if path.absolute() == choice.tor_path else "file", digest)
        return cls(choice, state, table.country, description, geoip_source, codes=table.codes | {UNKNOWN_COUNTRY})


def _read_file(path: Path) -> bytes:
    try:
        with open(path, "rb", opener=_open_nonblocking) as file:
            return file.read() or b""
    except OSError as error:
        raise RecordError(
            f"cannot read the GeoIP file {path}: {error.strerror}; name another, or leave the option out"
        ) from None


def _no_range(path: Path) -> RecordError:
    return RecordError(f"{path} contains no range of a GeoIP file; name another, or leave the option out")


def _open_nonblocking(path: str, flags: int) -> int:
    # A pipe would block for ever.
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _state_of(path: Path) -> _State | None:
    """Give what changes with a file's content; None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _registry_lookup(family: int) -> Callable[[bytes], str]:
    """Give a look-up in iptocc's data."""
    # Some megabytes of the registries' ranges: loaded only where they are needed.
    from iptocc import country_code  # noqa: PLC0415

    def lookup(packed: bytes) -> str:
        code = country_code(inet_ntop(family, packed))
        return UNKNOWN_COUNTRY if code is None else code.lower()

    return lookup


def _no_country(_packed: bytes) -> str:
    return UNKNOWN_COUNTRY
