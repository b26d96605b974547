"""Where one address family's countries come from: a file, or the registries' data; and whether the file has changed.

- The file is the one that the operator names; else tor's own, and where that is not to be used, iptocc's data.
- A file is known by inode, size and time of writing. They are noted from the open file before it is read: whoever
  writes it meanwhile has changed it. So a file that is replaced by renaming is seen as well as one that is rewritten.
- A file that vanished has not changed: what is in memory is as good as it was.
- Reading anew notes what it found on the source in use too, even if it is of no use: a spoilt file is tried once, not
  at every look.
"""

from __future__ import annotations

import hashlib
import logging
import os
from importlib.metadata import version
from socket import inet_ntop
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from obfstats.formats.document import GeoIpSource
from obfstats.formats.logline import UNKNOWN_COUNTRY
from obfstats.record.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from obfstats.record.v4table import V4Table
    from obfstats.record.v6table import V6Table

_log = logging.getLogger(__name__)

_State: TypeAlias = tuple[int, int, int]


class Choice(NamedTuple):
    """Which file one family's countries are to come from.

    Attributes:
        path: the file.
        named: whether the operator named it: then it must be right, and nothing takes its place.
        tors: where the file stands that comes with tor.
        parse: makes a table of its content.
        family: the address family, AF_INET or AF_INET6.
    """

    path: Path
    named: bool
    tors: Path
    parse: Callable[[bytes], V4Table | V6Table]
    family: int


class Source:
    """One family's countries, opened.

    Attributes:
        lookup: gives the lower-case country code of a packed address, or `??`.
        words: where they come from, for the operator.
        digest: SHA-1 of the file in upper-case hex, as extra-info descriptors have it (dir-spec, geoip-db-digest); None
            where there is no file.
        origin: the same for a published document.
        codes: every country code that a look-up may give, `??` included; None where nobody knows them.
    """

    def __init__(
        self,
        choice: Choice,
        file: _File,
        lookup: Callable[[bytes], str],
        words: str,
        codes: frozenset[str] | None = None,
    ) -> None:
        self.lookup = lookup
        self.words = words
        self.digest = file.digest
        self.codes = codes
        name = "tor" if choice.path.absolute() == choice.tors else "file"
        self.origin = (
            GeoIpSource("iptocc", version("iptocc")) if file.digest is None else GeoIpSource(name, file.digest)
        )
        self._choice = choice
        self._file = file

    @classmethod
    def open(cls, choice: Choice) -> Source:
        """Read the file, or do without it.

        Raises:
            RecordError: if a named file cannot be read or holds no range.
        """
        file = _File(choice.path)
        try:
            return cls._read(choice, file)
        except RecordError:
            if choice.named:
                raise
        if file.state is not None:
            _log.warning("%s cannot be used: countries come from elsewhere", choice.path)
        file.digest = None
        return cls(choice, file, _registry_lookup(choice.family), f"iptocc {version('iptocc')}")

    def changed(self) -> bool:
        """Tell whether another file stands there than the one that was read last; costs one system call."""
        state = _state_of(self._choice.path)
        return state is not None and state != self._file.state

    def reload(self) -> Source:
        """Open the same choice anew; this source goes on as it is, and has not changed until the next time.

        Returns:
            The new source; this one where tor's own file is not there, or not any more.

        Raises:
            RecordError: if the file cannot be read or holds no range.
        """
        file = _File(self._choice.path)
        try:
            return self._read(self._choice, file)
        except RecordError:
            if self._choice.named or file.state is not None:
                raise
            return self
        finally:
            self._file.state = file.state

    @classmethod
    def _read(cls, choice: Choice, file: _File) -> Source:
        """Make a source of the file."""
        try:
            table = choice.parse(file.read())
        except OSError as error:
            raise RecordError(
                f"cannot read the GeoIP file {choice.path}: {error.strerror}; name another, or leave the option out"
            ) from None
        if not len(table):
            raise RecordError(
                f"{choice.path} holds no line of a GeoIP file of tor's; name another, or leave the option out"
            )
        skipped = f", {table.skipped} lines skipped" if table.skipped else ""
        words = f"{choice.path} ({len(table)} ranges{skipped})"
        return cls(choice, file, table.country, words, table.codes | {UNKNOWN_COUNTRY})


class _File:
    """A file, and which one it was when it was read.

    Attributes:
        state: tells it from every other, and from itself after a change; None where there was none.
        digest: SHA-1 of what was read.
    """

    def __init__(self, path: Path) -> None:
        self.state: _State | None = None
        self.digest: str | None = None
        self._path = path

    def read(self) -> bytes:
        """Read it.

        Raises:
            OSError: if that cannot be done.
        """
        self.state = _state_of(self._path)
        with open(self._path, "rb", opener=_open) as file:
            self.state = _state(os.fstat(file.fileno()))
            content = file.read() or b""
        self.digest = hashlib.sha1(content, usedforsecurity=False).hexdigest().upper()
        return content


def _open(path: str, flags: int) -> int:
    # Not waiting: a pipe would hold the program up for ever.
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _state_of(path: Path) -> _State | None:
    """Give the state of the file that stands there."""
    try:
        return _state(path.stat())
    except OSError:
        return None


def _state(status: os.stat_result) -> _State:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _registry_lookup(family: int) -> Callable[[bytes], str]:
    """Give a look-up in iptocc's data."""
    # Its library is some megabytes of the registries' ranges: loaded only where they are asked for.
    from iptocc import country_code  # noqa: PLC0415

    def lookup(packed: bytes) -> str:
        code = country_code(inet_ntop(family, packed))
        return UNKNOWN_COUNTRY if code is None else code.lower()

    return lookup
