"""Fuzz the readers of the old programs' logs: nothing fails, and reading many lines at once gives the same.

Run it by hand, libFuzzer's arguments behind it:

    .venv/bin/python -m fuzz.fuzz_oldlog -max_total_time=60 [corpus folder]

The input is a log of its own, and put in the middle of a good one, whose lines then are as many as make their shapes
known; see publish/oldlogs/shapes.py.
"""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING

from fuzz.target import run, watched

with watched(__name__, "obfstats.formats", "obfstats.publish"):
    from obfstats.formats.oldlog import Connection, Failed, Heartbeat, Line, read_line
    from obfstats.publish.log2stats import NoTimestampsError, Surroundings, log2stats

if TYPE_CHECKING:
    from obfstats.publish.logfiles import LogFile

_CLIENTS = b"".join(
    b"2012-03-06 07:22:39 [info] 192.0.2.%d:42963 (obfs2): Successful outbound connection to '127.0.0.1:15901'.\n"
    b"2012-03-06 07:22:39 [info] [scrubbed] (obfs2): trying to connect to [scrubbed]\n"
    b"2012/03/06 07:22:39 [INFO]: obfs4(192.0.2.%d:42730) - new connection\n"
    b"2012/03/06 07:22:39 [WARN]: obfs4(192.0.2.%d:42730) - handshake failed: EOF\n" % (client, client, client % 5)
    for client in range(20)
)
GOOD_LOG = (b"2012-03-06 07:22:38 [info] Starting.\n" + _CLIENTS, _CLIENTS + b"2012-03-07 07:22:38 [info] Exiting.\n")
_NOW = datetime(2030, 1, 1, tzinfo=UTC)
_LARGEST = (1 << 32, 1 << 128)


class _Memory:
    """A log that is in no file."""

    def __init__(self, log: bytes) -> None:
        self._log = log
        self.name, self.size, self.identity = "log", len(log), None
        self.is_plain, self.is_read_once = True, False

    def open(self) -> io.BytesIO:
        """Give it from its beginning."""
        return io.BytesIO(self._log)


def check(data: bytes) -> None:
    """Hold one input against the invariants.

    Raises:
        AssertionError: a value is not what it may be, or the two ways of reading differ.
    """
    for line in data.split(b"\n"):
        _check_line(read_line(line))
    _check_log(data)
    _check_log(data.join(GOOD_LOG))


def _check_line(line: Line) -> None:
    """See that every value is in its range."""
    event = line.event
    if isinstance(event, Connection | Failed):
        assert event.address is None or len(event.address) in {4, 16}, "an address of no family"
        assert event.port is None or 0 <= event.port <= 0xFFFF, "a port that is none"
    if isinstance(event, Heartbeat):
        assert max(event.hours, event.connections, event.addresses) < 10**9, "a number that is too large"


def _check_log(log: bytes) -> None:
    """Count it both ways."""
    assert _count(log, fast=False) == _count(log, fast=True), "many lines at once are read in another way"


def _count(log: bytes, *, fast: bool) -> object:
    """Count a log; give all that came of it."""
    around = Surroundings(
        lambda packed: f"a{packed[3] % 3}",
        lambda packed: f"b{packed[15] % 3}",
        lambda: None,
        lambda packed: blake2b(packed).digest(),
    )
    file: LogFile = _Memory(log)  # type: ignore[assignment]
    try:
        return log2stats(
            [file], around, utc_offset=timedelta(0), empty=False, advance=lambda _size: None, now=_NOW, fast=fast
        )
    except NoTimestampsError as error:
        return str(error)


if __name__ == "__main__":
    run(check)
