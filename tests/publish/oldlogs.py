"""Logs of the old programs for tests: their lines, a strategy that makes logs of them, and a context to count in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from obfstats.publish.logfiles import find
from obfstats.publish.oldlogs.clients import CountingContext
from obfstats.publish.oldlogs.log2stats import OldLogCounts, count_old_logs

if TYPE_CHECKING:
    from pathlib import Path

    from obfstats.formats.counts import Counts

DAY = 86_400
FIRST = int(datetime(2012, 2, 9, 9, 22, 4, tzinfo=UTC).timestamp())
NOW = datetime(2030, 1, 1, tzinfo=UTC)
COUNTRIES = ("de", "dk", "eu", "jp", "??")


def v4(number: int) -> str:
    """Give an address that is reserved for documentation; its last number decides its country."""
    return f"{('192.0.2', '198.51.100', '203.0.113')[number // 250 % 3]}.{number % 250}"


def country(packed: bytes) -> str:
    """Give the country that an address has in tests."""
    return COUNTRIES[packed[-1] % 5]


def text(seconds: int, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Write a time, given in seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC).strftime(form)


def c(seconds: int, message: str, severity: str = "info") -> str:
    """Write a line of C obfsproxy."""
    return f"{text(seconds)} [{severity}] {message}\n"


def go(seconds: int, message: str, severity: str = "INFO") -> str:
    """Write a line of obfs4proxy."""
    return f"{text(seconds, '%Y/%m/%d %H:%M:%S')} [{severity}]: {message}\n"


def python(seconds: int, message: str, severity: str = "DEBUG") -> str:
    """Write a line of Python obfsproxy."""
    return f"{text(seconds)},438 [{severity}] {message}\n"


def connected(seconds: int, client: str = "192.0.2.0:40000", transport: str = "obfs2") -> str:
    """Write C obfsproxy's line of a client that connected."""
    return c(seconds, f"{client} ({transport}): Successful outbound connection to '127.0.0.1:15901'.")


def heartbeat(seconds: int, hours: int, addresses: int) -> str:
    """Write a heartbeat of C obfsproxy."""
    return c(
        seconds,
        f"Heartbeat: During the last {hours} hour(s) we saw {addresses + 5} connection(s) "
        f"from {addresses} unique address(es).",
        "notice",
    )


@dataclass
class RecordingContext:
    """Countries, and hashes under secrets that are numbered.

    Attributes:
        secrets: how many have been drawn.
        looked_up: the last addresses whose countries were looked up, with the number of the secret then.
    """

    secrets: int = 1
    looked_up: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=100))

    def context(self) -> CountingContext:
        """Give the context that counting needs."""
        return CountingContext(self._country, self._country, self._renew, self._digest)

    def _country(self, packed: bytes) -> str:
        self.looked_up.append((self.secrets, packed))
        return country(packed)

    def _renew(self) -> None:
        self.secrets += 1

    def _digest(self, packed: bytes) -> bytes:
        return blake2b(packed, key=b"%d" % self.secrets, digest_size=20).digest()


def read(
    folder: Path,
    *logs: str | bytes,
    empty: bool = False,
    utc_offset: timedelta = timedelta(0),
    context: RecordingContext | None = None,
) -> OldLogCounts:
    """Count logs.

    Args:
        folder: where to write them, as `0.log` and so on.
        logs: their contents.
        empty: whether to count intervals without a client.
        utc_offset: how far the clock was ahead of UTC.
        context: countries and hashes.
    """
    names = []
    for number, log in enumerate(logs):
        path = folder / f"{number}.log"
        path.write_bytes(log if isinstance(log, bytes) else log.encode())
        names.append(str(path))
    recording = context or RecordingContext()
    return count_old_logs(find(names), recording.context(), utc_offset=utc_offset, empty=empty, now=NOW)


def counts(folder: Path, *logs: str | bytes) -> list[Counts]:
    """Count logs and give the intervals."""
    return read(folder, *logs).intervals


def notes(folder: Path, *logs: str | bytes) -> list[str]:
    """Count logs and give the notes."""
    return read(folder, *logs).notes


_STEPS = (0, 0, 0, 1, 1, 60, 3_600, 30_000, 90_000, 200_000, -1, -3_600)
_PORTS = (40_000, 40_001)
_CLIENTS = (*(v4(number) for number in range(8)), "2001:db8::7", "2001:db8::8", "127.0.0.9")


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """Give the lines of several programs in one log, some of them repeated."""
    seconds = latest = FIRST
    written = []
    for _ in range(draw(st.integers(0, 25))):
        seconds = max(seconds + draw(st.sampled_from(_STEPS)), latest - 3_600)
        latest = max(latest, seconds)
        kind = draw(st.sampled_from(("connect", "connect", "connect", "crowd", "fail", "scrubbed", "run", "quiet")))
        client, port = draw(st.sampled_from(_CLIENTS)), draw(st.sampled_from(_PORTS))
        bracketed = f"[{client}]" if ":" in client else client
        if kind == "connect":
            name = draw(st.sampled_from(("obfs2", "obfs3")))
            written.append(draw(st.sampled_from((
                connected(seconds, f"{bracketed}:{port}", name),
                go(seconds, f"{name}({bracketed}:{port}) - new connection"),
                python(seconds, f"fact_s_0x7f2e: New connection from {client}:{port}."),
            ))))  # fmt: skip
        elif kind == "crowd":
            some = draw(st.lists(st.integers(0, 40), min_size=1, max_size=10))
            written += [connected(seconds, f"{v4(number)}:{port}") for number in some * 8]
        elif kind == "fail":
            written.append(draw(st.sampled_from((
                go(seconds, f"obfs2({bracketed}:{port}) - handshake failed: EOF", "WARN"),
                c(seconds, f"{bracketed}:{port}: connection to 127.0.0.1:15901 failed: Connection timed out"),
                c(seconds, "Error talking to 127.0.0.1:15901: Connection refused"),
            ))) * draw(st.sampled_from((1, 1, 40))))  # fmt: skip
        elif kind == "scrubbed":
            written += [draw(st.sampled_from((
                c(seconds, "[scrubbed] (obfs2): Successful outbound connection to '[scrubbed]'."),
                go(seconds, f"obfs2([scrubbed]:{port}) - new connection"),
                go(seconds, f"obfs2([scrubbed]:{port}) - handshake failed: EOF", "WARN"),
            )))] * draw(st.sampled_from((1, 50)))  # fmt: skip
        elif kind == "run":
            written.append(draw(st.sampled_from((
                c(seconds, "Starting.", "notice"), c(seconds, "Exiting.", "notice"),
                go(seconds, "lyrebird-0.5.0 - launched", "NOTICE"), go(seconds, "lyrebird - terminated", "NOTICE"),
                c(seconds, "\nStarting."),
            ))))  # fmt: skip
        else:
            written.append(draw(st.sampled_from((
                c(seconds, f"EOF from {bracketed}:{port}"),
                go(seconds, f"obfs2({bracketed}:{port}) - closed connection"),
                "what no program says\n", c(seconds, f"127.0.0.1:{port}: socks: trying to connect to 192.0.2.1:443"),
            ))))  # fmt: skip
    return written
