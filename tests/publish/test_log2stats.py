"""What is counted in old logs: intervals, clients, and the notes on what is missing."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from obfstats.formats.counts import Pairs
from obfstats.formats.document import write_document
from obfstats.publish.logfiles import find
from obfstats.publish.making_documents import DocumentOptions, hash_fingerprint, rounded_document
from obfstats.publish.oldlogs.log2stats import NoTimestampsError, count_old_logs
from tests.publish.oldlogs import (
    DAY,
    FIRST,
    NOW,
    RecordingContext,
    c,
    connected,
    counts,
    go,
    heartbeat,
    notes,
    python,
    read,
    text,
    v4,
)

if TYPE_CHECKING:
    from pathlib import Path

START = c(FIRST, "Starting.", "notice")
LATER = c(FIRST + DAY, "EOF from 192.0.2.0:40000")
SCRUBBED = c(FIRST + 1, "[scrubbed] (obfs2): Successful outbound connection to '[scrubbed]'.")
HOUR = 3_600


# Intervals


def test_the_tickets_four_days(tmp_path: Path) -> None:
    """Comment 1's example, sorted by size and with the fingerprint hashed, as in comment 3."""
    # By their last numbers: de, dk, eu, jp, ??.
    de, dk, eu, jp, nowhere = (f"192.0.2.{number}:40000" for number in (10, 11, 12, 13, 14))
    fourth = FIRST + 3 * DAY + 2 * HOUR
    log = "".join([
        START,
        *(connected(FIRST + 60, client) for client in (de, dk, eu, jp, *[dk] * 8)),
        connected(FIRST + DAY + 60, eu),
        connected(FIRST + 2 * DAY + 60, eu),
        c(FIRST + 3 * DAY + HOUR, "Exiting.", "notice"),
        c(fourth, "Starting.", "notice"),
        *(connected(fourth + number, client) for number, client in enumerate((eu, nowhere))),
        c(fourth + DAY, "Exiting.", "notice"),
    ])  # fmt: skip
    fingerprint = "1234567890123456789012345678901234567890"
    heading = DocumentOptions(hash_fingerprint(fingerprint))
    found = read(tmp_path, log)
    documents = [rounded_document(one, heading) for one in found.intervals]
    hashed = hash_fingerprint(fingerprint)
    assert b"".join(map(write_document, documents)).decode() == (
        f"hashed-fingerprint {hashed}\n"
        "obfsproxy-stats-end (86400 s) 2012-02-10 09:22:04\n"
        "obfsproxy-ips DE=8,DK=8,EU=8,JP=8\n"
        "obfsproxy-reqs DK=16,DE=8,EU=8,JP=8\n"
        f"hashed-fingerprint {hashed}\n"
        "obfsproxy-stats-end (86400 s) 2012-02-11 09:22:04\n"
        "obfsproxy-ips EU=8\n"
        "obfsproxy-reqs EU=8\n"
        f"hashed-fingerprint {hashed}\n"
        "obfsproxy-stats-end (86400 s) 2012-02-12 09:22:04\n"
        "obfsproxy-ips EU=8\n"
        "obfsproxy-reqs EU=8\n"
        f"hashed-fingerprint {hashed}\n"
        "obfsproxy-stats-end (86400 s) 2012-02-13 11:22:04\n"
        "obfsproxy-ips ??=8,EU=8\n"
        "obfsproxy-reqs ??=8,EU=8\n"
    )
    assert found.notes == []


def _seconds(start: str) -> int:
    """Read a start as seconds since 1970."""
    return int(datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp())


def test_without_a_start_an_interval_begins_with_the_first_client(tmp_path: Path) -> None:
    """Lines before that, of any other kind, do not begin one."""
    log = c(FIRST - 60, "EOF from 192.0.2.0:40000") + connected(FIRST) + LATER
    assert [one.interval.label for one in counts(tmp_path, log)] == [text(FIRST)]


@pytest.mark.parametrize(("last", "is_whole"), [(DAY - 1, False), (DAY, True)])
def test_an_interval_is_complete_when_a_later_line_shows_it(tmp_path: Path, last: int, is_whole: bool) -> None:  # noqa: FBT001
    """To the second; the end of the log by itself completes nothing."""
    log = START + connected(FIRST) + c(FIRST + last, "EOF from 192.0.2.0:40000")
    assert len(counts(tmp_path, log)) == is_whole
    sentences = [f"the interval from {text(FIRST)} is not over at the end of the logs and is left out"]
    assert notes(tmp_path, log) == ([] if is_whole else sentences)


@pytest.mark.parametrize(
    "restart",
    [
        c(FIRST + HOUR, "Exiting.", "notice") + c(FIRST + 2 * HOUR, "Starting.", "notice"),
        c(FIRST + 2 * HOUR, "Starting.", "notice"),
        go(FIRST + 2 * HOUR, "lyrebird-0.5.0 - launched", "NOTICE"),
        c(FIRST + 2 * HOUR, "\nStarting."),
        c(FIRST + 2 * HOUR, "Starting.").replace("\n", "\r\n"),
    ],
    ids=["stopped and started", "killed and started", "another program", "broken line", "CRLF"],
)
def test_a_new_start_drops_an_incomplete_interval(tmp_path: Path, restart: str) -> None:
    """A note names it, and the next one begins with the start."""
    log = (
        START
        + connected(FIRST)
        + restart
        + connected(FIRST + 3 * HOUR)
        + c(FIRST + 3 * DAY, "EOF from 192.0.2.0:40000")
    )
    assert [(one.interval.label, one.requests) for one in counts(tmp_path, log)] == [
        (text(FIRST + 2 * HOUR), {"de": 1})
    ]
    (note,) = notes(tmp_path, log)
    assert note == (
        f"the interval from {text(FIRST)} was cut short, because the program stopped or was started again, "
        "and is left out"
    )


def test_no_client_is_counted_between_a_stop_and_a_start(tmp_path: Path) -> None:
    """A note gives the number of connections that were left out."""
    stop = c(FIRST + DAY, "Exiting.", "notice")
    log = START + connected(FIRST) + stop + connected(FIRST + DAY + 1) + connected(FIRST + 3 * DAY)
    assert [one.requests for one in counts(tmp_path, log)] == [{"de": 1}]
    assert notes(tmp_path, log) == [
        "2 connections left out: the program had logged that it stopped, and not that it started again"
    ]


def test_a_start_long_after_a_kill_completes_the_interval_with_a_note(tmp_path: Path) -> None:
    """The day has passed, but the program may not have seen all of it; the days in between are no intervals."""
    log = START + connected(FIRST) + c(FIRST + 5 * DAY, "Starting.", "notice")
    found = read(tmp_path, log, empty=True)
    assert [one.interval.label for one in found.intervals] == [text(FIRST)]
    assert found.notes[0].startswith(f"the interval from {text(FIRST)} was taken for whole although")


def test_intervals_without_a_client_are_counted_only_on_request(tmp_path: Path) -> None:
    """Days without a client, between two days with one."""
    log = START + connected(FIRST) + connected(FIRST + 3 * DAY) + c(FIRST + 4 * DAY, "Exiting.")
    days = [text(FIRST + number * DAY) for number in range(4)]
    assert [one.interval.label for one in counts(tmp_path, log)] == [days[0], days[3]]
    found = read(tmp_path, log, empty=True)
    assert [one.interval.label for one in found.intervals] == days
    assert [sum(one.requests.values()) for one in found.intervals] == [1, 0, 0, 1]
    assert {one.interval.seconds for one in found.intervals} == {DAY}


def test_many_dropped_intervals_are_one_note(tmp_path: Path) -> None:
    """A program that was killed every hour for a week."""
    log = "".join(
        c(FIRST + hour * HOUR, "Starting.", "notice") + connected(FIRST + hour * HOUR + 1) for hour in range(100)
    )
    first, last = notes(tmp_path, log)
    assert first.startswith(f"99 intervals, the first from {text(FIRST)} and the last from {text(FIRST + 98 * HOUR)}, ")
    assert "is not over" in last


# Clocks


@pytest.mark.parametrize(("offset", "start"), [(0, "2012-02-09 09:22:04"), (60, "2012-02-09 08:22:04"),
                                               (-570, "2012-02-09 18:52:04")])  # fmt: skip
def test_local_time_becomes_utc(tmp_path: Path, offset: int, start: str) -> None:
    """The offset is subtracted, in the intervals and in the notes."""
    log = START + connected(FIRST) + connected(FIRST + DAY)
    found = read(tmp_path, log, utc_offset=timedelta(minutes=offset))
    assert [one.interval.label for one in found.intervals] == [start]
    assert start[10:] in found.notes[0]


def test_the_end_of_summer_time_breaks_nothing(tmp_path: Path) -> None:
    """For an hour the clock repeats its times: every client is counted, in the same interval."""
    log = START + connected(FIRST + HOUR) + connected(FIRST + 1) + connected(FIRST + HOUR + 1) + LATER
    (one,) = counts(tmp_path, log)
    assert (one.interval.label, one.requests) == (text(FIRST), {"de": 3})
    assert notes(tmp_path, log) == []


def test_summer_time_may_end_across_an_intervals_end(tmp_path: Path) -> None:
    """A client in the repeated hour belongs to the second interval: the first is over."""
    late = FIRST + DAY
    log = START + connected(FIRST) + connected(late + 60) + connected(late - HOUR + 120) + connected(late + DAY)
    assert [one.requests for one in counts(tmp_path, log)] == [{"de": 1}, {"de": 2}]


def test_a_clock_that_was_set_back_drops_intervals(tmp_path: Path) -> None:
    """Also a completed one that the clock goes back into."""
    log = START + connected(FIRST) + connected(FIRST + 2 * DAY) + connected(FIRST + HOUR) + connected(FIRST + 4 * DAY)
    assert [one.interval.label for one in counts(tmp_path, log)] == [text(FIRST + HOUR)]
    (note, unfinished) = notes(tmp_path, log)
    assert note == (
        f"the intervals from {text(FIRST)} and {text(FIRST + 2 * DAY)} are left out, because the clock was set back"
    )
    assert "not over" in unfinished


def test_no_time_is_counted_twice(tmp_path: Path) -> None:
    """A log holds the same days twice, one after the other: the second time is left out."""
    days = (
        START + connected(FIRST) + connected(FIRST + DAY) + connected(FIRST + 2 * DAY) + c(FIRST + 3 * DAY, "Exiting.")
    )
    assert [one.requests for one in counts(tmp_path, days + days)] == [{"de": 1}] * 3
    assert "overlap with one that was counted before and are left out" in notes(tmp_path, days + days)[-1]


@pytest.mark.parametrize("year", ["2099", "9999", "2030", "2011", "1970", "0001", "0000"])
def test_impossible_dates_are_left_out(tmp_path: Path, year: str) -> None:
    """One line with a wrong clock affects neither the days before it nor those after it."""
    wrong = "".join(text(FIRST).replace("2012", year) + end for end in (" [notice] Starting.\n", connected(FIRST)[19:]))
    wrong = wrong.replace("-02-09", "-06-09")
    log = START + connected(FIRST) + wrong + connected(FIRST + 60) + LATER
    assert [(one.interval.label, one.requests) for one in counts(tmp_path, log)] == [(text(FIRST), {"de": 2})]
    sentences = notes(tmp_path, log)
    if year != "0000":
        assert sentences == ["2 lines are dated before 2012 or in the future and left out: a clock was wrong"]


# Clients


def test_an_address_is_counted_once_and_each_of_its_connections(tmp_path: Path) -> None:
    """Ports do not matter; transports and families have numbers of their own."""
    log = START + "".join([
        connected(FIRST, "192.0.2.10:1"), connected(FIRST, "192.0.2.10:2"), connected(FIRST, "192.0.2.10:2", "obfs3"),
        connected(FIRST, "192.0.2.11:1"), connected(FIRST, "[2001:db8::5]:1", "obfs3"),
        connected(FIRST, "[::ffff:192.0.2.10]:7"),
    ]) + LATER  # fmt: skip
    (one,) = counts(tmp_path, log)
    assert one.requests == {"de": 5, "dk": 1}
    assert one.addresses == {"de": 2, "dk": 1}
    assert one.families == {"v4": 2, "v6": 1}
    assert one.transports == {"obfs2": 2, "obfs3": 2}
    assert one.country_transports == {("de", "obfs2"): 1, ("de", "obfs3"): 2, ("dk", "obfs2"): 1}
    assert one.pairs == Pairs({"de": 3, "dk": 1}, {"v4": 3, "v6": 1}, {"obfs2": 2, "obfs3": 2})


def test_lines_of_several_programs_may_be_in_one_log(tmp_path: Path) -> None:
    """If one of them logs no transport, the interval has no numbers by transport."""
    log = START + connected(FIRST) + go(FIRST, "obfs4(192.0.2.1:5) - new connection") + LATER
    (one,) = counts(tmp_path, log)
    assert one.transports == {"obfs2": 1, "obfs4": 1}
    (one,) = counts(
        tmp_path, log.replace(LATER, python(FIRST, "fact_s_0x7f: New connection from 192.0.2.0:5.") + LATER)
    )
    assert one.transports is None
    assert one.country_transports is None
    assert one.families == {"v4": 2}
    assert one.pairs == Pairs({"de": 1, "dk": 1}, {"v4": 2})


@pytest.mark.parametrize(
    "line",
    [
        c(FIRST, "127.0.0.1:43186: socks: trying to connect to 198.51.100.7:443"),
        c(FIRST, "127.0.0.1:43186 (obfs2): Successful outbound connection to '198.51.100.7:443'."),
        c(FIRST, "0.0.0.0:1051: new connection from 192.0.2.7:41879 (1 total)", "debug"),
        python(FIRST, "fact_c_0x7f2e36b521e0: New connection from 127.0.0.1:54639."),
        python(FIRST, "socks_fact_0x7f2e36b521e0: New connection from 127.0.0.1:54639."),
        go(FIRST, "obfs4(198.51.100.7:443) - outgoing connection failed: no route", "ERROR"),
        go(FIRST, "obfs4(198.51.100.7:443) - closed connection"),
    ],
)
def test_other_connections_are_not_counted(tmp_path: Path, line: str) -> None:
    """Those of a program that is a client's proxy, and further lines about the same client."""
    assert [one.requests for one in counts(tmp_path, START + connected(FIRST) + line * 50 + LATER)] == [{"de": 1}]


PYTHON_START = "Obfsproxy (version: 0.2.13) starting up."
GO_START = "obfs4proxy-0.0.4 - launched"
CLIENT_RUNS = {
    "Python client": (
        python,
        [PYTHON_START, "Launched 'client' listener at '127.0.0.1:15051' for transport 'obfs2'."],
        [PYTHON_START, "Launched 'server' listener at '0.0.0.0:15051' for transport 'obfs2'."],
        "fact_s_0x7f2e: New connection from 192.0.2.7:54639.",
    ),
    "Python socks": (
        python,
        [PYTHON_START, "Launched 'socks' listener at '[scrubbed]:15051' for transport 'obfs3'."],
        [PYTHON_START, "Launched 'ext_server' listener at '[scrubbed]:15051' for transport 'obfs3'."],
        "fact_s_0x7f2e: New connection from [scrubbed]:54639.",
    ),
    "Python managed": (
        python,
        [PYTHON_START, "Entering client managed-mode."],
        [PYTHON_START, "Entering server managed-mode."],
        "fact_s_0x7f2e: New connection from 192.0.2.7:54639.",
    ),
    "obfs4proxy 0.0.4": (
        go,
        [GO_START, "obfs4proxy - initializing client transport listeners"],
        [GO_START, "obfs4proxy - initializing server transport listeners"],
        "obfs4(192.0.2.7:443) - new connection",
    ),
}


@pytest.mark.parametrize("program", CLIENT_RUNS)
def test_a_run_in_client_mode_is_no_bridge(tmp_path: Path, program: str) -> None:
    """Its connections are its user's own: they are left out, with a note, and there is no empty day of them."""
    line, client_start, _, connection = CLIENT_RUNS[program]
    log = "".join([line(FIRST, start) for start in client_start] + [line(FIRST + HOUR, connection)] * 3)
    found = read(tmp_path, log + line(FIRST + 3 * DAY, "-"), empty=True)
    assert found.intervals == []
    assert found.notes == ["3 connections left out: the program ran in client mode, not as a bridge"]


@pytest.mark.parametrize("program", CLIENT_RUNS)
def test_a_log_may_contain_runs_in_both_modes(tmp_path: Path, program: str) -> None:
    """Each run has the mode that it logged; a bridge's run before or after a client's is counted."""
    line, client_start, server_start, connection = CLIENT_RUNS[program]

    def run(day: int, start: list[str], connections: int) -> str:
        begin = FIRST + day * DAY
        return "".join([line(begin, one) for one in start] + [line(begin + 60, connection)] * connections)

    log = run(0, server_start, 2) + run(1, client_start, 7) + run(3, server_start, 1) + line(FIRST + 4 * DAY, "-")
    assert [sum(one.requests.values()) for one in counts(tmp_path, log)] == [2, 1]
    # Rotated within the client's run.
    first, second = tmp_path / "obfs.log.1", tmp_path / "obfs.log"
    cut = log.rindex(line(FIRST + DAY + 60, connection))
    first.write_text(log[:cut])
    second.write_text(log[cut:])
    found = count_old_logs(find([str(second), str(first)]), RecordingContext().context(), now=NOW)
    assert [sum(one.requests.values()) for one in found.intervals] == [2, 1]
    assert "7 connections left out: the program ran in client mode, not as a bridge" in found.notes


NO_CONNECTION = (
    "no client's connection is in the logs, only {}: obfsproxy, obfs4proxy and lyrebird log connections at severity "
    "info, Python obfsproxy at debug"
)


def test_a_log_of_errors_says_what_it_contains(tmp_path: Path) -> None:
    """obfs4proxy logs only errors by default; an empty output alone would look like a bridge without clients."""
    log = go(FIRST, "obfs4([scrubbed]:42730) - failed to connect to ORPort: connection refused", "ERROR") * 3
    assert read(tmp_path, log) == ([], [NO_CONNECTION.format("3 lines with a time, 0 heartbeats among them")])


@pytest.mark.parametrize("times", [1, 50])
@pytest.mark.parametrize(
    ("connects", "fails"),
    [
        (go(FIRST, "obfs4(192.0.2.1:5) - new connection"), go(FIRST, "obfs4(192.0.2.1:5) - handshake failed: EOF")),
        (go(FIRST, "obfs4([scrubbed]:5) - new connection"), go(FIRST, "obfs4([scrubbed]:5) - handshake failed: EOF")),
        (go(FIRST, "obfs4([2001:db8::1]:5) - new connection"),
         go(FIRST, "obfs4([2001:db8::1]:5) - failed to connect to ORPort: refused", "ERROR")),
        (connected(FIRST, "192.0.2.1:5"), c(FIRST, "192.0.2.1:5: connection to 127.0.0.1:15901 failed: Timed out")),
        (connected(FIRST, "192.0.2.1:5"), c(FIRST, "192.0.2.1:5: all outbound connection attempts failed", "warn")),
        (connected(FIRST, "192.0.2.1:5"), c(FIRST, "Error talking to 127.0.0.1:15901: Connection refused")),
        (c(FIRST, "[scrubbed] (obfs2): Successful outbound connection to '[scrubbed]'."),
         c(FIRST, "[scrubbed]: connection to [scrubbed] failed: Connection timed out")),
        (c(FIRST, "[scrubbed] (obfs2): Successful outbound connection to '[scrubbed]'."),
         c(FIRST, "Error talking to [scrubbed]: Connection refused")),
    ],
)  # fmt: skip
def test_a_failure_revokes_its_connection(tmp_path: Path, connects: str, fails: str, times: int) -> None:
    """As often as it failed, and never more often than it connected; the connections of others stay."""
    stays = connected(FIRST, "192.0.2.2:5").replace("127.0.0.1", "127.0.0.2") * 2
    log = START + stays + (connects + fails) * times + fails + connects * 3 + fails * 2 + LATER
    (one,) = counts(tmp_path, log)
    assert sum(one.requests.values()) == 3
    assert one.requests["eu"] == 2


@pytest.mark.parametrize(
    "failed",
    [
        "obfs4(192.0.2.1:6) - handshake failed: EOF",
        "obfs4(192.0.2.2:5) - handshake failed: EOF",
        "obfs4([scrubbed]:5) - handshake failed: EOF",
        "obfs4(192.0.2.1:5) - closed connection: EOF",
    ],
)
def test_the_failure_of_another_client_revokes_nothing(tmp_path: Path, failed: str) -> None:
    """Address and port must be equal; a failure at the beginning of a log has no connection in it."""
    connection = go(FIRST, "obfs4(192.0.2.1:5) - new connection")
    first = go(FIRST, "obfs4(192.0.2.1:5) - handshake failed: EOF", "WARN")
    (one,) = counts(tmp_path, START + first + connection * 40 + go(FIRST, failed, "WARN") * 40 + LATER)
    assert one.requests == {"dk": 40}


def test_an_interval_whose_connections_all_failed_has_no_client(tmp_path: Path) -> None:
    """Probes only: there is no document of that day."""
    probe = go(FIRST, "obfs4([scrubbed]:5) - new connection") + go(FIRST, "obfs4([scrubbed]:5) - handshake failed: EOF")
    assert counts(tmp_path, START + probe * 100 + LATER) == []
    (one,) = read(tmp_path, START + probe * 100 + LATER, empty=True).intervals
    assert (one.requests, one.addresses) == ({}, {})


# Scrubbed addresses


def test_scrubbed_clients_have_no_country_and_the_heartbeat_gives_their_number(tmp_path: Path) -> None:
    """The last heartbeat of the day, the one of 24 hours, is logged just after the day."""
    beats = [heartbeat(FIRST + hour * HOUR + 2, hour, hour) for hour in range(1, 25)]
    following = [heartbeat(FIRST + DAY + hour * HOUR + 2, hour, 99) for hour in range(1, 4)]
    log = START + SCRUBBED * 3 + "".join(beats + following)
    (one,) = counts(tmp_path, log)
    assert one.requests == {"??": 3}
    assert one.addresses == {"??": 24}
    assert one.pairs == Pairs({"??": 24})
    assert (one.families, one.transports, one.country_transports) == (None, None, None)


@pytest.mark.parametrize(
    ("beats", "addresses"),
    [
        ([(5, 5, 2), (23, 23, 7)], 7),
        ([(5, 5, 2), (23, 23, 7), (24, 24, 9)], 9),
        ([(22, 24, 8), (23, 1, 1)], 8),
        ([(4, 24, 9), (24, 20, 7)], 7),
        ([(3, 1, 4), (9, 1, 5)], 5),
        ([(25, 1, 4)], None),
        ([(2, 24, 4)], None),
        ([(12, 0, 4)], None),
    ],
    ids=["the last", "at the end", "before its hours drop", "with most of its time inside", "two alike",
         "of the next interval", "of the one before", "of no time"],
)  # fmt: skip
def test_the_heartbeat_of_an_interval_is_the_one_that_fits_best(
    tmp_path: Path, beats: list[tuple[int, int, int]], addresses: int | None
) -> None:
    """Its hours count from the program's start, which is not the interval's if the log begins later."""
    written = [heartbeat(FIRST + at * HOUR, hours, number) for at, hours, number in beats]
    log = START + SCRUBBED + "".join(written) + c(FIRST + 30 * HOUR, "EOF from [scrubbed]")
    (one,) = counts(tmp_path, log)
    assert one.addresses == (None if addresses is None else {"??": addresses})


def test_without_a_heartbeat_the_number_of_addresses_is_unknown(tmp_path: Path) -> None:
    """obfs4proxy has none, so its usual logs give requests only; a note reports it."""
    log = START + go(FIRST, "obfs4([scrubbed]:42730) - new connection") + LATER
    (one,) = counts(tmp_path, log)
    assert (one.requests, one.addresses, one.pairs, one.transports) == ({"??": 1}, None, None, None)
    (note,) = notes(tmp_path, log)
    assert note == (
        f"the interval from {text(FIRST)} has only scrubbed addresses and no heartbeat, so how many addresses "
        "there were is not known and not written"
    )


def test_scrubbed_addresses_beside_others_are_only_requests(tmp_path: Path) -> None:
    """Even with a heartbeat: it does not tell which of its addresses are among the known ones."""
    log = START + SCRUBBED + connected(FIRST) + heartbeat(FIRST + HOUR, 1, 2) + LATER
    (one,) = counts(tmp_path, log)
    assert one.requests == {"de": 1, "??": 1}
    assert one.addresses == {"de": 1}
    assert (one.families, one.transports, one.pairs) == (None, None, Pairs({"de": 1}))
    (note,) = notes(tmp_path, log)
    assert note == (
        f"the interval from {text(FIRST)} has scrubbed addresses beside others: they are counted as connections, "
        "not as addresses"
    )


# What cannot be counted


def test_a_log_without_times_is_a_clear_error(tmp_path: Path) -> None:
    """Obfsproxy wrote none before 2012-02-10."""
    log = "[info] Starting.\n[info] 192.0.2.7:57437 (obfs2): trying to connect to 127.0.0.1:15901\n"
    with pytest.raises(NoTimestampsError, match=r"have no times.*before 2012-02-10"):
        read(tmp_path, log)
    sentences = notes(tmp_path, log, START + connected(FIRST) + LATER)
    assert (
        sentences[0]
        == f"{tmp_path / '0.log'} has no line with a time of one of the known programs, and nothing of it is counted"
    )
    assert (
        sentences[1] == "2 lines without a time are left out: obfsproxy wrote no times before its version of 2012-02-10"
    )


@pytest.mark.parametrize("log", [b"\x7fELF\0\0\xff" * 10_000, b"Feb 10 22:37:00 tor[1]: hello\n", b"\n" * 50])
def test_a_file_of_another_kind_is_a_clear_error(tmp_path: Path, log: bytes) -> None:
    """A binary, another program's log, only line ends."""
    with pytest.raises(NoTimestampsError, match="are they the right files"):
        read(tmp_path, log)


def test_empty_logs_are_no_error(tmp_path: Path) -> None:
    """A log that was rotated a moment ago is empty."""
    found = read(tmp_path, b"", b"")
    assert (found.intervals, found.notes) == ([], ["the logs are empty"])


def test_heartbeats_alone_are_not_clients(tmp_path: Path) -> None:
    """Python obfsproxy's usual log: a note names what is missing, and which severity logs it."""
    log = python(FIRST, "Obfsproxy (version: 0.2.13) starting up.", "WARNING") + heartbeat(FIRST + DAY, 24, 8)
    found = read(tmp_path, log)
    assert found.intervals == []
    assert found.notes == [NO_CONNECTION.format("2 lines with a time, 1 heartbeat among them")]


def test_damaged_lines_are_ignored_and_never_shown(tmp_path: Path) -> None:
    """Torn lines, NULs, ANSI codes, bad UTF-8, lines of megabytes: the others are counted."""
    good = connected(FIRST + 1).encode()
    damage = [
        good[:50] + b"\n",
        b"\0" * 100 + b"\n",
        b"\x1b[31m" + good,
        b"\xff\xfe\n",
        b"192.0.2.77" * 300_000 + b"\n",
        good.replace(b"127.0.0.1", b"x" * 5_000),
        good.replace(b"192.0.2.0", b"192.0.2.\xc3"),
    ]
    log = START.encode() + b"".join(bad + good for bad in damage) + LATER.encode()[:-1]
    found = read(tmp_path, log)
    assert [one.requests for one in found.intervals] == [{"de": len(damage)}]
    assert "192.0.2" not in repr(found)


# Privacy


def test_each_interval_has_a_secret_of_its_own(tmp_path: Path) -> None:
    """It is renewed at the end of every interval, complete or not."""
    context = RecordingContext()
    log = (
        START
        + connected(FIRST)
        + connected(FIRST + DAY)
        + c(FIRST + DAY + HOUR, "Exiting.")
        + START.replace("-09", "-12")
    )
    read(tmp_path, log + connected(FIRST + 3 * DAY), context=context)
    assert context.secrets == 4
    assert [secret for secret, _ in context.looked_up] == [1, 2, 3]


def test_a_country_is_looked_up_once_in_an_interval(tmp_path: Path) -> None:
    """However often it connects."""
    context = RecordingContext()
    log = START + "".join(connected(FIRST, f"{v4(number % 7)}:{number}") for number in range(500)) + LATER
    read(tmp_path, log, context=context)
    assert len(context.looked_up) == 7


def test_no_address_is_in_counts_or_notes(tmp_path: Path) -> None:
    """Those of a log in which everything goes wrong, with an address in each line."""
    lines = [
        connected(FIRST), START, connected(FIRST + 5),
        c(FIRST + 9, "192.0.2.77:5: connection to 192.0.2.78:1 failed: no"), c(FIRST, "Exiting."),
        connected(FIRST + 10, "192.0.2.79:5"), connected(FIRST - DAY, "192.0.2.80:5"), LATER, connected(FIRST)[20:],
        connected(80 * 365 * DAY, "192.0.2.81:5"), "192.0.2.82\n", START, connected(FIRST + 2 * DAY), SCRUBBED,
    ]  # fmt: skip
    log = "".join(lines)
    shown = repr(read(tmp_path, log, log))
    assert len(shown) > 500
    assert not re.search(r"192[.,]|\\x", shown)
