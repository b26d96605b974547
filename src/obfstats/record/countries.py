"""Countries of addresses, from the best source there is (design, decision 8).

For each address family on its own: the file that the operator names; else tor's own file where Debian installs it, so
that our numbers compare with Tor's; else the registries' data inside the iptocc package. A look-up never raises: what
is not known is `??`.

Countries stay as they were opened. Whoever sees that a file has changed opens them anew and hands them to the recorder,
which takes them up with its next interval.
"""

from __future__ import annotations

from pathlib import Path
from socket import AF_INET, AF_INET6
from typing import TYPE_CHECKING

from obfstats.formats.address import pack_address
from obfstats.formats.logline import UNKNOWN_COUNTRY
from obfstats.record.errors import RecordError
from obfstats.record.geoip import parse_v4, parse_v6
from obfstats.record.sources import Choice, Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from obfstats.formats.document import GeoIpSource

TOR_GEOIP = Path("/usr/share/tor/geoip")
TOR_GEOIP6 = Path("/usr/share/tor/geoip6")


class Countries:
    """Two look-ups, one for each address family.

    Attributes:
        v4: gives the lower-case country code of a packed IPv4 address (4 bytes), or `??`.
        v6: the same for a packed IPv6 address (16 bytes) that is not IPv4-mapped.
        sources: where the two come from, in words for the operator.
        digests: SHA-1 of each file in upper-case hex, as extra-info descriptors have it; None where there is no file.
        origins: where the two come from, for a published document; empty where nobody said.
        codes: every country code that a look-up may give, `??` included, sorted; None where nobody knows them.
    """

    def __init__(self, v4: Callable[[bytes], str], v6: Callable[[bytes], str], sources: tuple[str, str]) -> None:
        self.v4 = v4
        self.v6 = v6
        self.sources = sources
        self.digests: tuple[str | None, str | None] = (None, None)
        self.origins: tuple[GeoIpSource, ...] = ()
        self.codes: tuple[str, ...] | None = None
        self._opened: tuple[Source, ...] = ()

    @classmethod
    def open(cls, geoip: Path | None = None, geoip6: Path | None = None) -> Countries:
        """Load the files, or fall back.

        Args:
            geoip: a file in the form of tor's geoip; None for the default.
            geoip6: a file in the form of tor's geoip6; None for the default.

        Raises:
            RecordError: if a named file cannot be read or holds no range.
        """
        return cls._of(
            Source.open(Choice(geoip or TOR_GEOIP, geoip is not None, TOR_GEOIP, parse_v4, AF_INET)),
            Source.open(Choice(geoip6 or TOR_GEOIP6, geoip6 is not None, TOR_GEOIP6, parse_v6, AF_INET6)),
        )

    @classmethod
    def _of(cls, v4: Source, v6: Source) -> Countries:
        countries = cls(v4.lookup, v6.lookup, (v4.words, v6.words))
        countries.digests = v4.digest, v6.digest
        countries.origins = v4.origin, v6.origin
        if v4.codes is not None and v6.codes is not None:
            countries.codes = tuple(sorted(v4.codes | v6.codes))
        countries._opened = v4, v6
        return countries

    def changed(self) -> bool:
        """Tell whether a file is another than the one that was read, or tor's own has appeared.

        A file that has vanished has not changed. Costs at most two system calls.
        """
        return any(source.changed() for source in self._opened)

    def reload(self) -> Countries:
        """Open the same choice anew; it may be done on a thread of its own.

        These countries stay as they are. Whether it worked or not, their `changed` is false until the next change.

        Returns:
            The new ones. Where tor's own file has vanished they go on with what was read of it.

        Raises:
            RecordError: if a file cannot be read or holds no range.
        """
        fresh: list[Source] = []
        refusal: RecordError | None = None
        # Both are tried before one of them is given up: what was not tried would count as changed for ever.
        for source in self._opened:
            try:
                fresh.append(source.reload())
            except RecordError as error:
                refusal = refusal or error
        if refusal is not None:
            raise refusal
        return self._of(*fresh) if fresh else self

    def lookup(self, address: str) -> str:
        """Give the country of an address in text form, or `??`; text that is no address is `??` too."""
        try:
            packed = pack_address(address)
        except ValueError:
            return UNKNOWN_COUNTRY
        return self.v4(packed) if len(packed) == 4 else self.v6(packed)
