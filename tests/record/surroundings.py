"""What a recorder needs from outside, made so that a test can move it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from obfstats.formats.address import pack_address
from obfstats.record.countries import Countries
from obfstats.record.geoip import parse_v4, parse_v6
from obfstats.record.journal import Journal
from obfstats.record.recorder import Recorder
from peers.clocks import MovedClock

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from obfstats.record.recorder import Column

# Documentation ranges (RFC 5737, RFC 3849), so that no test names anybody's address.
GEOIP = b"3221225984,3221226239,DE\n3325256704,3325256959,TR\n"  # 192.0.2.0/24, 198.51.100.0/24
GEOIP6 = b"2001:db8::,2001:db8:0:ffff:ffff:ffff:ffff:ffff,JP\n"


def countries() -> Countries:
    """Countries of the documentation ranges."""
    return Countries(parse_v4(GEOIP).country, parse_v6(GEOIP6).country, ("test", "test"))


def country_of(tables: Countries, address: str) -> str:
    """Look an address up as the recorder does."""
    packed = pack_address(address)
    return tables.v4(packed) if len(packed) == 4 else tables.v6(packed)


@dataclass
class Bench:
    """A recorder on a moved clock with a log on disk."""

    path: Path
    buffer: int = 100
    columns: Sequence[Column] = ()
    delay: float = 300.0
    ipv6_prefix: int = 128
    geoip: Countries = field(default_factory=countries)
    clock: MovedClock = field(default_factory=MovedClock)
    warnings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin to record."""
        self.journal = Journal(self.path, warn=self.warnings.append)
        self.recorder = Recorder(
            self.journal,
            self.geoip,
            clock=self.clock,
            draw_delay=lambda: self.delay,
            buffer=self.buffer,
            columns=self.columns,
            ipv6_prefix=self.ipv6_prefix,
        )

    def lines(self) -> list[str]:
        """What is on disk, line by line without newlines."""
        return self.path.read_text("ascii").splitlines()

    def fill(self, count: int, network: str = "192.0.2") -> None:
        """Record that many clients, each with an address of its own."""
        for number in range(count):
            self.recorder.record(f"{network}.{number}")


def secret_of(recorder: Recorder) -> bytes:
    """S, which nothing else reads."""
    return bytes(recorder._secret._key)


def hash_address(packed: bytes, secret: bytes) -> str:
    """H(address, S), written down a second time: SHA-256 of both, cut to 20 bytes."""
    return hashlib.sha256(packed + secret).hexdigest()[:40]
