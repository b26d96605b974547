"""Countries of addresses, from the best source there is (design, decision 8).

For each address family on its own: the file that the operator names; else tor's own file where Debian installs it, so
that our numbers compare with Tor's; else the registries' data inside the iptocc package. A look-up never raises: what
is not known is `??`.
"""

from __future__ import annotations

import logging
import os
from importlib.metadata import version
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import TYPE_CHECKING

from obfstats.formats.logline import UNKNOWN_COUNTRY
from obfstats.record.errors import RecordError
from obfstats.record.geoip import V4Table, V6Table, parse_v4, parse_v6

if TYPE_CHECKING:
    from collections.abc import Callable

TOR_GEOIP = Path("/usr/share/tor/geoip")
TOR_GEOIP6 = Path("/usr/share/tor/geoip6")

_log = logging.getLogger(__name__)

_MAPPED = bytes(10) + b"\xff\xff"


class Countries:
    """Two look-ups, one for each address family.

    Attributes:
        v4: gives the lower-case country code of a packed IPv4 address (4 bytes), or `??`.
        v6: the same for a packed IPv6 address (16 bytes) that is not IPv4-mapped.
        sources: where the two come from, in words for the operator.
    """

    def __init__(self, v4: Callable[[bytes], str], v6: Callable[[bytes], str], sources: tuple[str, str]) -> None:
        self.v4 = v4
        self.v6 = v6
        self.sources = sources

    @classmethod
    def open(cls, geoip: Path | None = None, geoip6: Path | None = None) -> Countries:
        """Load the files, or fall back.

        Args:
            geoip: a file in the form of tor's geoip; None for the default.
            geoip6: a file in the form of tor's geoip6; None for the default.

        Raises:
            RecordError: if a named file cannot be read or holds no range.
        """
        v4, source4 = _load(geoip, TOR_GEOIP, parse_v4, AF_INET)
        v6, source6 = _load(geoip6, TOR_GEOIP6, parse_v6, AF_INET6)
        return cls(v4, v6, (source4, source6))

    def lookup(self, address: str) -> str:
        """Give the country of an address in text form, or `??`; text that is no address is `??` too."""
        try:
            packed = pack_address(address)
        except ValueError:
            return UNKNOWN_COUNTRY
        return self.v4(packed) if len(packed) == 4 else self.v6(packed)


def pack_address(address: str) -> bytes:
    """Pack an address: 4 bytes for IPv4 and for IPv4-mapped IPv6 (decision 3), else 16. A zone (`%eth0`) is ignored.

    Raises:
        ValueError: if the text is no address. The text is not in the error.
    """
    try:
        return inet_pton(AF_INET, address)
    except (OSError, ValueError):
        pass
    try:
        packed = inet_pton(AF_INET6, address.partition("%")[0])
    except (OSError, ValueError):
        raise ValueError("not an IP address") from None
    return packed[12:] if packed.startswith(_MAPPED) else packed


def _load(
    named: Path | None, default: Path, parse: Callable[[bytes], V4Table | V6Table], family: int
) -> tuple[Callable[[bytes], str], str]:
    """Give one family's look-up and its source in words."""
    if named is not None:
        return _read(named, parse)
    try:
        return _read(default, parse)
    except RecordError:
        if default.exists():
            _log.warning("%s cannot be used: countries come from elsewhere", default)
        return _registry_lookup(family), f"iptocc {version('iptocc')}"


def _read(path: Path, parse: Callable[[bytes], V4Table | V6Table]) -> tuple[Callable[[bytes], str], str]:
    """Give a file's look-up and the file in words."""
    try:
        # Not waiting: a pipe would hold the program up for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            table = parse(file.read() or b"")
    except OSError as error:
        raise RecordError(
            f"cannot read the GeoIP file {path}: {error.strerror}; name another, or leave the option out"
        ) from None
    if not len(table):
        raise RecordError(f"{path} holds no line of a GeoIP file of tor's; name another, or leave the option out")
    skipped = f", {table.skipped} lines skipped" if table.skipped else ""
    return table.country, f"{path} ({len(table)} ranges{skipped})"


def _registry_lookup(family: int) -> Callable[[bytes], str]:
    """Give a look-up in iptocc's data."""
    # Its library is some megabytes of the registries' ranges: loaded only where they are asked for.
    from iptocc import country_code  # noqa: PLC0415

    def lookup(packed: bytes) -> str:
        code = country_code(inet_ntop(family, packed))
        return UNKNOWN_COUNTRY if code is None else code.lower()

    return lookup
