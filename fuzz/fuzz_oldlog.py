"""Fuzz the reader of the old programs' logs: no log is an error, and no address of one is in what comes out.

Run it by hand; libFuzzer's arguments follow:

    .venv/bin/python -m fuzz.fuzz_oldlog -max_total_time=60 [corpus folder]

The input is a log of its own, and put in the middle of a good one.
"""

from __future__ import annotations

import io
from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING

from fuzz.target import run, watched

with watched(__name__, "obfstats.formats", "obfstats.publish"):
    from obfstats.formats.oldlog import ClientConnected, ClientFailed, HeartbeatTotals, OldLogEvent, parse_oldlog_line
    from obfstats.publish.oldlogs.clients import CountingContext
    from obfstats.publish.oldlogs.log2stats import NoTimestampsError, count_old_logs

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


class _Memory:
    """A log that is in no file."""

    def __init__(self, log: bytes) -> None:
        self._log = log
        self.name, self.size, self.identity = "log", len(log), None
        self.is_plain, self.compressed, self.is_read_once = True, False, False

    def open(self) -> io.BytesIO:
        """Give it from its beginning."""
        return io.BytesIO(self._log)


def check(data: bytes) -> None:
    """Hold one input against the invariants.

    Raises:
        AssertionError: a value is out of its range, or an address is shown.
    """
    for line in data.split(b"\n"):
        _, event = parse_oldlog_line(line)
        _check_event(event)
    for log in (data, data.join(GOOD_LOG)):
        assert "192.0.2" not in _count(log), "an address is shown"


def _check_event(event: OldLogEvent | None) -> None:
    if isinstance(event, ClientConnected | ClientFailed):
        assert event.address is None or len(event.address) in {4, 16}, "an address of no family"
        assert event.port is None or 0 <= event.port <= 0xFFFF, "not a port"
    if isinstance(event, HeartbeatTotals):
        assert max(event.hours, event.connections, event.addresses) < 10**9, "a number that is too large"


def _count(log: bytes) -> str:
    """Count a log; give everything that came of it as text."""
    context = CountingContext(
        lambda packed: f"a{packed[3] % 3}",
        lambda packed: f"b{packed[15] % 3}",
        lambda: None,
        lambda packed: blake2b(packed).digest(),
    )
    file: LogFile = _Memory(log)  # type: ignore[assignment]
    try:
        return repr(count_old_logs([file], context, now=_NOW))
    except NoTimestampsError as error:
        return str(error)


if __name__ == "__main__":
    run(check)
