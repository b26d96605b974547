"""Lines of the old programs' logs: every known one is parsed, and no other has an event."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from socket import AF_INET, AF_INET6, inet_pton

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz import fuzz_oldlog
from obfstats.formats.oldlog import (
    LONGEST_LINE,
    ClientConnected,
    ClientFailed,
    DestinationRefused,
    EmptyMessage,
    HeartbeatTotals,
    OldLogEvent,
    ProgramStarted,
    ProgramStopped,
    RunMode,
    parse_oldlog_line,
)

V4 = inet_pton(AF_INET, "192.0.2.7")
V6 = inet_pton(AF_INET6, "2001:db8::7")
TOR = b"127.0.0.1:15901"
SCRUBBED = b"[scrubbed]"

C_LINES: dict[bytes, OldLogEvent | None] = {
    b"192.0.2.7:50051 (obfs2): trying to connect to 127.0.0.1:15901": ClientConnected(V4, 50051, "obfs2", TOR),
    b"[scrubbed] (obfs2): Successful outbound connection to '[scrubbed]'.": ClientConnected(
        None, None, "obfs2", SCRUBBED
    ),
    b"[scrubbed] (obfs2): trying to connect to [scrubbed]": ClientConnected(None, None, "obfs2", SCRUBBED),
    b"192.0.2.7:42963 (obfs2): Successful outbound connection to '127.0.0.1:15901'.": ClientConnected(
        V4, 42963, "obfs2", TOR
    ),
    b"[2001:db8::7]:42963 (obfs3): Successful outbound connection to '127.0.0.1:15901'.": ClientConnected(
        V6, 42963, "obfs3", TOR
    ),
    b"[::ffff:192.0.2.7]:1 (obfs2): trying to connect to 127.0.0.1:15901": ClientConnected(V4, 1, "obfs2", TOR),
    b"[no such address]:42963 (obfs2): trying to connect to 127.0.0.1:15901": ClientConnected(
        None, 42963, "obfs2", TOR
    ),
    b"[192.0.2.7]:42963 (obfs2): trying to connect to 127.0.0.1:15901": ClientConnected(None, 42963, "obfs2", TOR),
    b"127.0.0.9:42963 (obfs2): trying to connect to 127.0.0.1:15901": ClientConnected(
        b"\x7f\0\0\x09", 42963, "obfs2", TOR
    ),
    b"127.0.0.1:43186 (obfs2): Successful outbound connection to '198.51.100.7:443'.": None,
    b"127.0.0.1:43186: socks: trying to connect to 198.51.100.7:443": None,
    b"0.0.0.0:1051: new connection from 192.0.2.7:41879 (1 total)": None,
    b"Error talking to 192.0.2.7:42963: Connection reset by peer": None,
    b"Error talking to 127.0.0.1:15901: Connection refused": DestinationRefused(TOR),
    b"Error talking to [scrubbed]: Connection refused": DestinationRefused(SCRUBBED),
    b"EOF from 192.0.2.7:42963": None,
    b"Timeout talking to 192.0.2.7:42963": None,
    b"192.0.2.7:42963: connection to 127.0.0.1:9001 failed: Connection timed out": ClientFailed(V4, 42963),
    b"[scrubbed]: connection to [scrubbed] failed: Connection timed out": ClientFailed(None, None),
    b"192.0.2.7:42963: all outbound connection attempts failed": ClientFailed(V4, 42963),
    b"Starting.": ProgramStarted(),
    b"Starting (git-0123456789abcdef).": ProgramStarted(),
    b"Starting (obfsproxy version: 0.1.4 (git-0123456789abcdef)).": ProgramStarted(),
    b"Got SIGTERM. Terminating.": ProgramStopped(),
    b"Got SIGINT. Preparing shutdown.": ProgramStopped(),
    b"Exiting.": ProgramStopped(),
    b"Closing all listeners.": None,
    b"Heartbeat: obfsproxy's uptime is 0 day(s), 1 hour(s), and 0 minute(s).": None,
    b"Heartbeat: During the last 1 hour(s) we saw 3 connection(s) from 2 unique address(es).": HeartbeatTotals(1, 3, 2),
    b"Heartbeat: obfsproxy's uptime is 0 days, 1 hours, and 0 minutes. During the last 1 hours we saw 3 connections "
    b"from 2 unique addresses.": HeartbeatTotals(1, 3, 2),
    b"Resetting connection counters.": None,
    b"": EmptyMessage(),
    b"192.0.2.7:42963 (obfs2): Successful outbound connection to '127.0[...truncated]": None,
    b"192.0.2.700:42963 (obfs2): trying to connect to 127.0.0.1:15901": None,
    b"192.0.2.7:65536 (obfs2): trying to connect to 127.0.0.1:15901": None,
    b"192.0.2.7 (obfs2): trying to connect to 127.0.0.1:15901": None,
    b"192.0.2.7:42963 (obfs 2): trying to connect to 127.0.0.1:15901": None,
    b"192.0.2.7:42963 (v4): trying to connect to 127.0.0.1:15901": None,
    b"192.0.2.7:42963 (obfs2): trying to connect to \x1b[31m127.0.0.1": None,
    b"192.0.2.7:42963 (obfs2): trying to connect to 127.0.0.1:15901\0": None,
}
PYTHON_LINES: dict[bytes, OldLogEvent | None] = {
    b"[WARNING] Obfsproxy (version: 0.2.13) starting up.": ProgramStarted(),
    b"[INFO] Launched 'server' listener at '[scrubbed]:15051' for transport 'obfs2'.": RunMode(is_client=False),
    b"[INFO] Launched 'ext_server' listener at '192.0.2.1:15051' for transport 'obfs3'.": RunMode(is_client=False),
    b"[INFO] Launched 'client' listener at '[scrubbed]:15051' for transport 'obfs2'.": RunMode(is_client=True),
    b"[INFO] Launched 'socks' listener at '127.0.0.1:15051' for transport 'obfs3'.": RunMode(is_client=True),
    b"[INFO] Entering client managed-mode.": RunMode(is_client=True),
    b"[INFO] Entering server managed-mode.": RunMode(is_client=False),
    b"[DEBUG] fact_s_0x7fbca7b73a50: New connection from [scrubbed]:55639.": ClientConnected(None, 55639, None),
    b"[DEBUG] fact_s_0x7f2e36b521e0: New connection from 192.0.2.7:54639.": ClientConnected(V4, 54639, None),
    b"[DEBUG] fact_ext_s_0x7f2e36b521e0: New connection from 192.0.2.7:54639.": ClientConnected(V4, 54639, None),
    b"[DEBUG] fact_s_0x7f2e36b521e0: New connection from 2001:db8::7:55639.": ClientConnected(V6, 55639, None),
    b"[DEBUG] fact_c_0x7f2e36b521e0: New connection from 127.0.0.1:54639.": None,
    b"[DEBUG] fact_s_0x7f2e36b521e0: New connection from fffff:55639.": None,
    b"[INFO] Heartbeat: obfsproxy's uptime is 12 hour(s) and 0 minute(s).": None,
    b"[INFO] Heartbeat: During the last 12 hour(s) we saw 24 connection(s) from 1 unique address(es).": HeartbeatTotals(
        12, 24, 1
    ),
    b"[INFO] Heartbeat: obfsproxy's uptime is 1 day(s), 1 hour(s) and 0 minute(s).": None,
    b"[INFO] Received SIGTERM, shutting down.": ProgramStopped(),
    b"[INFO] Main loop terminated.": ProgramStopped(),
}
GO_LINES: dict[bytes, OldLogEvent | None] = {
    b"[NOTICE]: obfs4proxy-0.0.14 - launched": ProgramStarted(),
    b"[NOTICE]: lyrebird-0.5.0 - launched": ProgramStarted(),
    b"[INFO]: obfs4proxy - initializing client transport listeners": RunMode(is_client=True),
    b"[INFO]: obfs4proxy - initializing server transport listeners": RunMode(is_client=False),
    b"[INFO]: obfs4 - registered listener: [scrubbed]:443": None,
    b"[INFO]: obfs4([scrubbed]:42730) - new connection": ClientConnected(None, 42730, "obfs4"),
    b"[INFO]: obfs4(192.0.2.7:42730) - new connection": ClientConnected(V4, 42730, "obfs4"),
    b"[INFO]: obfs4([2001:db8::7]:42730) - new connection": ClientConnected(V6, 42730, "obfs4"),
    b"[INFO]: obfs4([2001:db8::7%eth0]:42730) - new connection": ClientConnected(V6, 42730, "obfs4"),
    b"[INFO]: meek_lite(192.0.2.7:42730) - new connection": ClientConnected(V4, 42730, "meek_lite"),
    b"[INFO]: obfs4([scrubbed]:42730) - closed connection": None,
    b"[WARN]: obfs4([scrubbed]:42740) - handshake failed: EOF": ClientFailed(None, 42740),
    b"[WARN]: obfs4(192.0.2.7:42740) - handshake failed: EOF": ClientFailed(V4, 42740),
    b"[ERROR]: obfs4([scrubbed]:42740) - failed to connect to ORPort: connection refused": ClientFailed(None, 42740),
    b"[ERROR]: obfs4(192.0.2.7:443) - outgoing connection failed: general SOCKS server failure": None,
    b"[NOTICE]: obfs4proxy - terminated": ProgramStopped(),
    b"[NOTICE]: lyrebird - terminated": ProgramStopped(),
}
PROGRAMS = {
    "C obfsproxy": (b"2012-03-06 07:22:39 [info] ", C_LINES),
    "Python obfsproxy": (b"2012-03-06 07:22:39,438 ", PYTHON_LINES),
    "obfs4proxy": (b"2012/03/06 07:22:39 ", GO_LINES),
}
SECONDS = int(datetime(2012, 3, 6, 7, 22, 39, tzinfo=UTC).timestamp())
KNOWN = [(begin + end, event) for begin, lines in PROGRAMS.values() for end, event in lines.items()]


@pytest.mark.parametrize("ending", [b"", b"\r"], ids=["LF", "CRLF"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_known_line_is_parsed(program: str, ending: bytes) -> None:
    """Lines that the programs wrote, with their times; and some that differ slightly."""
    begin, lines = PROGRAMS[program]
    for end, event in lines.items():
        assert parse_oldlog_line(begin + end + ending) == (SECONDS, event), end


@pytest.mark.parametrize("severity", ["error", "warn", "notice", "info", "debug"])
def test_a_severity_makes_no_difference(severity: str) -> None:
    """0.1.0 started at notice, builds before it at info."""
    assert parse_oldlog_line(f"2012-03-06 07:22:39 [{severity}] Starting.".encode())[1] == ProgramStarted()


@pytest.mark.parametrize("other", [b"[INFO]", b"[information]", b"[]", b"info", b"[info]:", b"- [info]"])
def test_another_form_of_severity_is_no_line_of_theirs(other: bytes) -> None:
    """The form of the severity tells the programs apart."""
    assert parse_oldlog_line(b"2012-03-06 07:22:39 " + other + b" Exiting.") == (None, None)


@pytest.mark.parametrize("line", C_LINES)
def test_lines_without_a_time_are_parsed(line: bytes) -> None:
    """So that the operator can be told what is wrong with the log."""
    assert parse_oldlog_line(b"[info] " + line) == (None, C_LINES[line])


def test_the_second_half_of_a_broken_start_has_no_time() -> None:
    """A few builds broke the line after the severity; an editor may have removed the blank."""
    assert parse_oldlog_line(b"2012-02-10 22:37:00 [info] ")[1] == EmptyMessage()
    assert parse_oldlog_line(b"2012-02-10 22:37:00 [info]")[1] == EmptyMessage()
    assert parse_oldlog_line(b"Starting.") == (None, ProgramStarted())


@pytest.mark.parametrize(
    "time",
    [
        "0000-03-06 07:22:39", "2012-02-30 07:22:39", "2012-13-06 07:22:39", "2012-03-06 24:00:00",
        "2012-03-06 07:60:39", "2012-03-06 07:22:60", "2012-03-06  7:22:39", "2012/03-06 07:22:39",
        "12-03-06 07:22:39", "2012-03-06T07:22:39",
    ],
)  # fmt: skip
def test_an_invalid_time_is_none(time: str) -> None:
    """Year 0, February 30, 24 o'clock."""
    assert parse_oldlog_line(f"{time} [info] Exiting.".encode())[0] is None


@pytest.mark.parametrize(("year", "seconds"), [("1970", 0), ("2099", 4_070_908_800), ("9999", 253_370_764_800)])
def test_any_valid_time_is_parsed(year: str, seconds: int) -> None:
    """The grammar does not judge whether the programs existed then."""
    assert parse_oldlog_line(f"{year}-01-01 00:00:00 [info] Exiting.".encode())[0] == seconds


def test_a_line_that_is_too_long_has_no_event() -> None:
    """Even if it begins like a known line."""
    line = b"2026/11/22 12:23:55 [WARN]: obfs4(192.0.2.7:42740) - handshake failed: "
    assert parse_oldlog_line(line.ljust(LONGEST_LINE, b"x"))[1] == ClientFailed(V4, 42740)
    assert parse_oldlog_line(line.ljust(LONGEST_LINE + 1, b"x")) == (None, None)


@given(st.sampled_from((b"EOF from ", b"Timeout talking to ")), st.binary(max_size=80))
def test_the_ends_of_connections_have_no_event(begin: bytes, end: bytes) -> None:
    """Most lines of C obfsproxy are of this kind; only their time matters, whatever follows."""
    assert parse_oldlog_line(b"2012-03-06 07:22:39 [info] " + begin + end) == (SECONDS, None)


@pytest.mark.parametrize(
    "line", [line for line, event in KNOWN if isinstance(event, ClientConnected | ClientFailed | DestinationRefused)]
)
def test_an_event_never_shows_an_address(line: bytes) -> None:
    """A traceback would show neither a client's address nor its port."""
    shown = repr(parse_oldlog_line(line))
    assert not re.search(r"192|7f|2e|b8|\\x|42963|15901", shown)


@given(st.sampled_from(KNOWN), st.data())
def test_the_fuzz_target_holds_on_damaged_lines(known: tuple[bytes, OldLogEvent | None], data: st.DataObject) -> None:
    """Bytes are removed and inserted anywhere."""
    line, _ = known
    place = data.draw(st.integers(0, len(line)))
    lost = data.draw(st.integers(0, 5))
    put = data.draw(st.sampled_from((b"", b"0", b".", b":", b"]", b" ", b"\0", b"\x1b[31m", b"\xff", b"\r", b"\n")))
    fuzz_oldlog.check(line[:place] + put + line[place + lost :])


@given(st.binary(max_size=200))
def test_the_fuzz_target_holds_on_anything(data: bytes) -> None:
    """Random bytes."""
    fuzz_oldlog.check(data)
