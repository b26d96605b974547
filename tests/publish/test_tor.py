"""Tor's lines, compared with the specification's examples and a naive count."""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings

from obfstats.formats.logline import LogLine, parse_line
from obfstats.publish.intervals import Selection
from obfstats.publish.render import Output
from peers.program import OBFSTATS
from tests.publish.converting import NOW, count_rounded, made, made_of
from tests.publish.logs import DAMAGE, client_lines, logs
from tests.publish.programs import run

if TYPE_CHECKING:
    from pathlib import Path

START = "2026-11-22 12:22:27"
clients = partial(client_lines, start=START)


def lines_of(log: bytes) -> list[str]:
    """The lines for a log, whose intervals are all over."""
    result = made_of(log, "tor")
    assert (result.status, result.warnings) == (0, [])
    return result.lines


def test_an_interval_is_four_lines_as_tor_writes_them() -> None:
    """Every kind of transport column and both families; the end is a day after the start."""
    log = (
        clients("??", 2, " <??> v4")
        + clients("us", 2, " <OR> v4", first=2)
        + clients("tr", 8, " obfs3 v6", first=4)
        + clients("us", 6, " obfs3 v4", first=12)
    )
    assert lines_of(log) == [
        "bridge-stats-end 2026-11-23 12:22:27 (86400 s)",
        "bridge-ips ??=8,tr=8,us=8",
        "bridge-ip-versions v4=16,v6=8",
        "bridge-ip-transports <??>=8,<OR>=8,obfs3=16",
    ]


def test_an_address_through_two_transports_is_two_clients() -> None:
    """In each of the lines; the same transport twice is one."""
    log = clients("de", 5, " obfs2 v4") * 3 + clients("de", 5, " obfs3 v4") * 3
    assert lines_of(log)[1:] == [
        "bridge-ips de=16",
        "bridge-ip-versions v4=16,v6=0",
        "bridge-ip-transports obfs2=8,obfs3=8",
    ]


def test_without_the_transports_column_a_client_is_an_address() -> None:
    """However often it connects; both versions are listed, also without a client."""
    assert lines_of(clients("de", 9, " v6") * 3)[1:] == ["bridge-ips de=16", "bridge-ip-versions v4=0,v6=16"]


def test_without_further_columns_there_are_only_countries() -> None:
    """The ticket's own log."""
    assert lines_of(clients("de", 9))[1:] == ["bridge-ips de=16"]
    assert lines_of(clients("de", 9, " obfs3"))[1:] == ["bridge-ips de=16", "bridge-ip-transports obfs3=16"]


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((" obfs3 v4", " obfs3"), ["bridge-ips de=8", "bridge-ip-transports obfs3=8"]),
        ((" obfs3 v4", " v4"), ["bridge-ips de=8", "bridge-ip-versions v4=8,v6=0"]),
        ((" obfs3 v4", ""), ["bridge-ips de=8"]),
        ((" obfs3", " v4"), ["bridge-ips de=8"]),
    ],
)
def test_a_column_that_one_line_lacks_is_left_out_of_the_interval(ends: tuple[str, str], expected: list[str]) -> None:
    """The same eight addresses with and without it are eight clients, not sixteen; other intervals keep theirs."""
    other = clients("de", 1, " obfs3 v4", start="2026-11-24 00:00:00")
    lines = lines_of(b"".join(clients("de", 8, end) for end in ends) + other)
    assert lines[1:-4] == expected
    assert lines[-3:] == ["bridge-ips de=8", "bridge-ip-versions v4=8,v6=0", "bridge-ip-transports obfs3=8"]


def test_countries_are_sorted_by_what_rounding_left() -> None:
    """9 and 16 clients round to the same number and are in the order of their codes; transports are sorted by name."""
    log = (
        clients("us", 9, " zz")
        + clients("de", 16, " obfs3")
        + clients("??", 1, " Scramble")
        + clients("a1", 17, " _x")
        + clients("tr", 8, " <OR>")
    )
    assert lines_of(log)[1:] == [
        "bridge-ips a1=24,de=16,us=16,??=8,tr=8",
        "bridge-ip-transports <OR>=8,Scramble=8,_x=24,obfs3=16,zz=16",
    ]


def test_intervals_come_in_their_order_and_are_counted_apart() -> None:
    """In any order in the log; a client on two days counts on both."""
    days = ["2026-11-22 12:22:27", "2026-02-28 23:59:59", "0001-01-01 00:00:00"]
    lines = lines_of(b"".join(clients("de", 8, start=day) for day in days))
    assert lines == [
        "bridge-stats-end 0001-01-02 00:00:00 (86400 s)",
        "bridge-ips de=8",
        "bridge-stats-end 2026-03-01 23:59:59 (86400 s)",
        "bridge-ips de=8",
        "bridge-stats-end 2026-11-23 12:22:27 (86400 s)",
        "bridge-ips de=8",
    ]


def test_an_interval_without_an_end_that_can_be_written_is_left_out(tmp_path: Path) -> None:
    """A clock at the calendar's last day is not an error."""
    log = tmp_path / "clients.log"
    log.write_bytes(clients("de", 1, start="9999-12-31 00:00:00") + clients("tr", 1))
    lines = made(log, selection=Selection(NOW, unfinished=True), output=Output("tor")).lines
    assert lines == ["bridge-stats-end 2026-11-23 12:22:27 (86400 s)", "bridge-ips tr=8"]


def test_an_empty_log_gives_nothing() -> None:
    """No interval, no line."""
    assert lines_of(b"") == []


# Counting by hand


def by_hand(log: bytes) -> list[str]:
    """Count a log as slowly as possible."""
    intervals: dict[str, list[LogLine]] = defaultdict(list)
    for one in log.splitlines():
        read = parse_line(one)
        intervals[read.start].append(read)
    lines: list[str] = []
    for start in sorted(intervals):
        seen = intervals[start]
        end = datetime.fromisoformat(start) + timedelta(days=1)
        transports = None not in {one.transport for one in seen}
        families = None not in {one.family for one in seen}
        pairs = {
            (one.country, one.hash, one.transport if transports else None, one.family if families else None)
            for one in seen
        }
        lines.append(f"bridge-stats-end {end.isoformat(' ')} (86400 s)")
        countries = count_rounded([str(pair[0]) for pair in pairs])
        order = sorted(sorted(countries), key=lambda code: -countries[code])
        lines.append("bridge-ips " + ",".join(f"{code}={countries[code]}" for code in order))
        if families:
            numbers = count_rounded([str(pair[3]) for pair in pairs])
            lines.append(f"bridge-ip-versions v4={numbers.get('v4', 0)},v6={numbers.get('v6', 0)}")
        if transports:
            numbers = count_rounded([str(pair[2]) for pair in pairs])
            lines.append("bridge-ip-transports " + ",".join(f"{name}={numbers[name]}" for name in sorted(numbers)))
    return lines


@given(logs())
@settings(max_examples=400)
def test_any_log_is_counted_as_by_hand(log: bytes) -> None:
    """Any order, countries and columns, and counts around the multiples of 8."""
    assert lines_of(log) == by_hand(log)


@given(logs())
@settings(max_examples=100)
def test_every_line_is_of_the_specifications_grammar(log: bytes) -> None:
    """dir-spec's keywords, numbers that are multiples of 8, and nothing of a hash."""
    cells = r"=(0|[1-9][0-9]*)"
    grammar = re.compile(
        r"bridge-stats-end [0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} \(86400 s\)"
        rf"|bridge-ips [a-z0-9?]{{2}}{cells}(,[a-z0-9?]{{2}}{cells})*"
        rf"|bridge-ip-versions v4{cells},v6{cells}"
        rf"|bridge-ip-transports [A-Za-z0-9_<>?]+{cells}(,[A-Za-z0-9_<>?]+{cells})*"
    )
    for written in lines_of(log):
        assert grammar.fullmatch(written)
        assert all(int(number) % 8 == 0 for number in re.findall(r"=([0-9]+)", written))


# The program


def test_an_unfinished_interval_is_left_out_and_reported(tmp_path: Path) -> None:
    """As with the tables; --all includes it."""
    log = tmp_path / "clients.log"
    log.write_bytes(clients("de", 3) + clients("de", 3, start="2026-11-23 12:22:27"))
    moment = datetime(2026, 11, 24, tzinfo=UTC)
    result = made(log, selection=Selection(moment), output=Output("tor"))
    assert [one for one in result.lines if "end" in one] == ["bridge-stats-end 2026-11-23 12:22:27 (86400 s)"]
    assert result.warnings == ["the interval from 2026-11-23 12:22:27 is not over yet and left out; --all includes it"]
    result = made(log, selection=Selection(moment, unfinished=True), output=Output("tor"))
    assert (len(result.lines), result.warnings) == (4, [])
    assert result.lines[2] == "bridge-stats-end 2026-11-24 00:00:00 (41853 s)"


def test_convert_writes_tors_lines_where_they_are_asked_for(tmp_path: Path) -> None:
    """`--format tor` before or after several logs; damage is reported and never printed."""
    first, second = tmp_path / "clients.log", tmp_path / "clients.log.1"
    first.write_bytes(clients("de", 100, start="2012-02-07 14:01:04") + DAMAGE["torn"])
    second.write_bytes(clients("de", 100, first=50, start="2012-02-07 14:01:04"))
    expected = b"bridge-stats-end 2012-02-08 14:01:04 (86400 s)\nbridge-ips de=152\n"
    for arguments in (["--format", "tor", str(first), str(second)], [str(first), str(second), "--format=tor"]):
        result = run([OBFSTATS, "convert", *arguments])
        assert (result.returncode, result.stdout) == (0, expected)
        assert b"1 of 101 lines are damaged and left out" in result.stderr


def test_tables_are_what_is_printed_otherwise(tmp_path: Path) -> None:
    """`--format tables` is the default."""
    log = tmp_path / "clients.log"
    log.write_bytes(clients("de", 3, start="2012-02-07 14:01:04"))
    results = [run([OBFSTATS, "convert", *options, str(log)]) for options in ([], ["--format", "tables"])]
    assert results[0].stdout == results[1].stdout
    assert results[0].stdout.startswith(b"Daily rounded total requests by country\n2012-02-07 14:01:04 de 8\n")


@pytest.mark.parametrize("arguments", [["--format", "xml"], ["--format", "Tor"], ["--format"], ["--form", "tor"]])
def test_a_format_that_is_none_is_bad_use(arguments: list[str], tmp_path: Path) -> None:
    """Status 2, one line, nothing printed."""
    log = tmp_path / "clients.log"
    log.write_bytes(clients("de", 3))
    result = run([OBFSTATS, "convert", str(log), *arguments])
    assert (result.returncode, result.stdout) == (2, b"")
    assert re.fullmatch(r"obfstats( convert)?: .*; see obfstats( convert)? --help\n", result.stderr.decode())


def test_help_names_the_formats() -> None:
    """All, and which is the default."""
    text = " ".join(run([OBFSTATS, "convert", "--help"]).stdout.decode().split())
    assert "--format {tables,ticket,tor,json,csv}" in text
    assert "the ticket's two (the default)" in text


@pytest.mark.parametrize("output", [">/dev/full", ">&-"])
def test_a_failed_write_is_reported(output: str, tmp_path: Path) -> None:
    """A full disk must not look like an empty log."""
    log = tmp_path / "clients.log"
    log.write_bytes(clients("de", 3, start="2012-02-07 14:01:04"))
    (tmp_path / ".clients.log.whole").write_text("2012-02-07 14:01:04 whole 8\n")
    result = run(["bash", "-c", f'exec "$@" {output}', "full", OBFSTATS, "convert", "--format", "tor", str(log)])
    assert result.returncode == 2
    assert result.stderr.count(b"\n") == 1
    assert b"Traceback" not in result.stderr
