"""What `obfstats audit` finds in the ticket's tables, and in tor's own lines."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given

from obfstats.publish.audit.findings import Code, finding
from tests.publish.auditing import alarm_codes, alarms, audited, printed, values_of
from tests.publish.converting import made
from tests.publish.logs import line, logs
from tests.publish.programs import run_pipeline
from tests.publish.test_audit import TABLES, TOR

REQUESTS, CLIENTS = b"Daily rounded total requests by country\n", b"Daily rounded unique IPs by country\n"
START = "2012-02-07 14:01:04"


def tables(*rows: str) -> bytes:
    """Make both tables of the same rows."""
    text = "".join(f"{row}\n" for row in rows).encode()
    return REQUESTS + text + CLIENTS + text


# Tables


def test_the_sample() -> None:
    """Every sentence of the output."""
    assert printed(TABLES).splitlines() == [
        "These are the two tables to be published.",
        "  1 interval begins at 2012-02-07 14:01:04.",
        "  There are numbers of 1 country.",
        "  Of 1 number of clients by country and interval, 1 is 8: one to eight clients.",
        "Nothing in it has to stay on this machine. Publish each interval once.",
    ]


@given(logs())
def test_what_convert_makes_never_alarms(log: bytes) -> None:
    """For any log."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clients.log"
        path.write_bytes(log)
        text = made(path).text
    assert alarms(text.encode()) == []


def test_the_tickets_own_pipeline_makes_good_tables(tmp_path: Path) -> None:
    """The shell script of 2012 writes the same form."""
    log = b"".join(line(country=country, client=client) for country in ("??", "de", "dk") for client in range(9))
    (text,) = run_pipeline([log], tmp_path)
    assert alarms(text) == []


def test_a_row_that_is_not_rounded_is_an_alarm() -> None:
    """In either table."""
    text = REQUESTS + f"{START} de 17\n".encode() + CLIENTS + f"{START} de 9\n".encode()
    assert alarms(text) == [finding(Code.NOT_ROUNDED, numbers=2)]


def test_intervals_are_named_by_their_starts() -> None:
    """Tables have no other time."""
    later = "2012-02-09 14:01:04"
    assert values_of(Code.INTERVALS_BEGIN, tables(f"{START} de 8", f"{later} de 8")) == [
        {"intervals": 2, "when": f"from {START} to {later}"}
    ]


def test_rows_sorted_by_something_else_are_an_alarm() -> None:
    """Somebody sorted them before rounding."""
    assert alarms(tables(f"{START} dk 8", f"{START} de 8")) == [finding(Code.UNORDERED, intervals=1)]


def test_rows_sorted_by_size_are_good() -> None:
    """Any reader could sort them so."""
    assert alarms(tables(f"{START} dk 16", f"{START} de 8")) == []


def test_an_interval_in_two_pairs_of_tables_is_an_alarm() -> None:
    """Once of the first half of a log and once of the whole: they can be subtracted."""
    first, second = tables(f"{START} de 8"), tables(f"{START} de 16", f"{START} dk 8")
    assert alarms(first + second) == [finding(Code.REPEATED_WITH_OTHER_NUMBERS, intervals=1)]
    assert alarms(first + first) == [finding(Code.REPEATED, intervals=1)]


@pytest.mark.parametrize(("after", "expected"), [(timedelta(hours=24, minutes=29), 1), (timedelta(hours=24.5), 0)])
def test_an_interval_that_is_not_over_is_an_alarm(after: timedelta, expected: int) -> None:
    """`convert --all` includes it, to look at."""
    found_alarms = alarms(TABLES, datetime.fromisoformat(START).replace(tzinfo=UTC) + after)
    assert found_alarms == [finding(Code.UNFINISHED, intervals=1, last=START)] * expected


def test_a_restart_is_reported() -> None:
    """Tables state no lengths; the next interval's start shows it."""
    text = tables(f"{START} de 8", "2012-02-08 13:01:04 de 8")
    assert alarms(text) == []
    assert values_of(Code.ODD_LENGTH, text) == [{"intervals": 1}]


def test_a_part_of_a_day_is_reported() -> None:
    """The ticket's tables contain it, so it is no alarm; the notice says which form leaves it out."""
    text = tables(f"{START} de 8", "2012-02-07 14:11:04 de 8")
    assert alarms(text) == []
    assert values_of(Code.CUT_SHORT_ROWS, text) == [{"intervals": 1, "shortest": 600}]


def test_tables_of_several_programs_are_good() -> None:
    """`convert` of the logs of twelve wraps, which tor started one after the other: each day has twelve starts."""
    rows = [f"2012-02-{day:02} 14:01:{second:02} de 8" for day in range(7, 12) for second in range(12)]
    assert alarms(tables(*rows)) == []


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (f"{START} de 192.0.2.77", Code.DAMAGED_LINE),
        (f"{START} de 08", Code.DAMAGED_LINE),
        (f"{START} de  8", Code.DAMAGED_LINE),
        (f"{START} deu 8", Code.UNKNOWN_KEYWORD),
        ("2012-02-30 14:01:04 de 8", Code.UNKNOWN_KEYWORD),
        ("total 8", Code.UNKNOWN_KEYWORD),
        ("", Code.UNKNOWN_KEYWORD),
    ],
)
def test_a_row_that_is_none_is_an_alarm(row: str, code: Code) -> None:
    """A torn line of the log that the shell pipeline let through, for example."""
    text = TABLES + row.encode() + b"\n"
    assert values_of(code, text) == [
        {"where": "line 5"} | ({"reason": "no number after the country"} if code is Code.DAMAGED_LINE else {})
    ]


def test_a_row_without_a_heading_is_an_alarm() -> None:
    """Its table is unknown."""
    text = f"{START} de 8\n".encode() + TABLES
    assert finding(Code.DAMAGED_LINE, where="line 1", reason="row before a table's title") in alarms(text)


# Tor's lines


def test_tors_lines_are_read_as_they_are() -> None:
    """Its own keywords, order and case; a few seconds over a day are a notice."""
    assert alarms(TOR) == []
    assert values_of(Code.ODD_LENGTH, TOR.replace(b"86400", b"86420")) == [{"intervals": 1}]


def test_tors_empty_lines_are_read() -> None:
    """An interval without a client, as tor writes it."""
    lines = TOR.splitlines()[0], b"bridge-ips ", b"bridge-ip-versions v4=0,v6=0", b"bridge-ip-transports "
    assert alarms(b"\n".join(lines)) == []


@pytest.mark.parametrize("other", [b"obfsproxy-reqs de=8\n", b"geoip-db-digest ABC\n", b"extra-info Unnamed ABC\n"])
def test_lines_of_another_kind_are_an_alarm(other: bytes) -> None:
    """The other lines of a descriptor are not checked, so they are not accepted."""
    assert Code.UNKNOWN_KEYWORD in alarm_codes(TOR + other)


def test_tors_numbers_are_held_to_the_same_rules() -> None:
    """Rounded, sorted, published once, whole and over."""
    text = TOR.replace(b"de=16,us=8", b"us=8,de=17").replace(b"86400", b"3600") + TOR
    assert alarm_codes(text) == [Code.OVERLAPPING, Code.PART_OF_A_DAY, Code.NOT_ROUNDED, Code.UNORDERED]


def test_a_file_of_many_is_read_in_little_time(tmp_path: Path) -> None:
    """Ten years of a bridge's statistics."""
    end = datetime(2012, 2, 10, 9, 22, 4, tzinfo=UTC)
    path = tmp_path / "bridge-stats"
    path.write_bytes(
        b"".join(TOR.replace(b"2012-02-10", f"{end + timedelta(days=day):%Y-%m-%d}".encode()) for day in range(3650))
    )
    assert not audited(path).has_alarm
