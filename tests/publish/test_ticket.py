"""The ticket's document: which numbers of a log it has, and in which order."""

from __future__ import annotations

import gzip
import re
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha1
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings

from obfstats.formats.document import GeoIpSource, read_documents
from obfstats.formats.logline import LogLine, parse_line
from obfstats.publish.intervals import Selection
from obfstats.publish.making_documents import DocumentOptions, hash_fingerprint
from obfstats.publish.render import Output
from peers.program import OBFSTATS
from tests.publish.converting import NOW, count_rounded, made, made_of
from tests.publish.logs import client_lines, line, logs
from tests.publish.programs import run

if TYPE_CHECKING:
    from pathlib import Path

START = "2012-02-09 09:22:04"
clients = partial(client_lines, start=START)
FINGERPRINT = "1234567890123456789012345678901234567890"


# The ticket's four lines


def four_days() -> bytes:
    """A log that gives the numbers of the ticket's first comment: four intervals, the last after a restart."""
    days = [
        ("2012-02-09 09:22:04", {"de": 1, "dk": 9, "eu": 1, "jp": 1}),
        ("2012-02-10 09:22:04", {"eu": 3}),
        ("2012-02-11 09:22:04", {"eu": 8}),
        ("2012-02-12 11:22:04", {"??": 1, "eu": 2}),
    ]
    return b"".join(line(start, country) * times for start, day in days for country, times in day.items())


def test_the_tickets_four_days_are_sixteen_lines() -> None:
    """Comment 1, with what comments 3 and 5 changed: the fingerprint is hashed, and numbers are sorted by size first.

    So the lines are the comment's but for the first of each four, and for the one line in which two sizes meet: there
    DK=16 stood behind DE=8.
    """
    fingerprint = f"hashed-fingerprint {sha1(bytes.fromhex(FINGERPRINT)).hexdigest()}"
    assert made_of(four_days(), "ticket", DocumentOptions(hash_fingerprint(FINGERPRINT))).lines == [
        fingerprint,
        "obfsproxy-stats-end (86400 s) 2012-02-10 09:22:04",
        "obfsproxy-ips DE=8,DK=8,EU=8,JP=8",
        "obfsproxy-reqs DK=16,DE=8,EU=8,JP=8",
        fingerprint,
        "obfsproxy-stats-end (86400 s) 2012-02-11 09:22:04",
        "obfsproxy-ips EU=8",
        "obfsproxy-reqs EU=8",
        fingerprint,
        "obfsproxy-stats-end (86400 s) 2012-02-12 09:22:04",
        "obfsproxy-ips EU=8",
        "obfsproxy-reqs EU=8",
        fingerprint,
        "obfsproxy-stats-end (86400 s) 2012-02-13 11:22:04",
        "obfsproxy-ips ??=8,EU=8",
        "obfsproxy-reqs ??=8,EU=8",
    ]


def test_without_a_fingerprint_there_is_no_line_for_it() -> None:
    """The bridge need not be named."""
    assert made_of(clients("de", 1), "ticket").lines == [
        "obfsproxy-stats-end (86400 s) 2012-02-10 09:22:04",
        "obfsproxy-ips DE=8",
        "obfsproxy-reqs DE=8",
    ]


def test_countries_are_sorted_by_what_rounding_left() -> None:
    """The ticket's own example, comment 3: DE=48,EU=48,AU=32. 41 and 48 look the same."""
    log = clients("de", 41) + clients("eu", 48) + clients("au", 25)
    assert made_of(log, "ticket").lines[1:] == ["obfsproxy-ips DE=48,EU=48,AU=32", "obfsproxy-reqs DE=48,EU=48,AU=32"]


def test_an_address_through_two_transports_is_one() -> None:
    """The ticket counts addresses, where tor counts pairs."""
    log = clients("de", 8, " obfs2 v4") + clients("de", 8, " obfs3 v4")
    assert made_of(log, "ticket").lines[1:] == ["obfsproxy-ips DE=8", "obfsproxy-reqs DE=16"]
    assert made_of(log, "tor").lines[1] == "bridge-ips de=16"


# Extended


def test_extended_documents_have_every_line_of_the_specification() -> None:
    """Type, families, transports, and countries by transport in the order of the countries; the GeoIP source last."""
    log = (
        clients("de", 48, " obfs3 v4")
        + clients("eu", 40, " obfs3 v4", first=50)
        + clients("eu", 8, " obfs3 v6", first=90)
        + clients("au", 8, " obfs2 v4", first=100)
        + clients("au", 24, " obfs3 v4", first=108)
        + clients("de", 16, " obfs3 v4")
    )
    geoip = GeoIpSource("tor", "B08BFE286DC8F11F29AACEAFB6F7EF0F5C771042")
    heading = DocumentOptions(hash_fingerprint(FINGERPRINT), extended=True, geoip=geoip)
    assert made_of(log, "ticket", heading).lines == [
        "@type obfsproxy-stats 1.0",
        "hashed-fingerprint 8990eeda329b57fbd72ef8f74a50c1929b9b9a31",
        "obfsproxy-stats-end (86400 s) 2012-02-10 09:22:04",
        "obfsproxy-ips DE=48,EU=48,AU=32",
        "obfsproxy-reqs DE=64,EU=48,AU=32",
        "obfsproxy-ip-versions v4=120,v6=8",
        "obfsproxy-ip-transports obfs2=8,obfs3=120",
        "obfsproxy-ip-country-transports DE/obfs3=48,EU/obfs3=48,AU/obfs2=8,AU/obfs3=24",
        "obfsproxy-geoip tor B08BFE286DC8F11F29AACEAFB6F7EF0F5C771042",
    ]


@pytest.mark.parametrize(
    ("end", "missing"), [("", ["versions", "transports"]), (" v4", ["transports"]), (" obfs3", ["versions"])]
)
def test_a_column_that_the_log_lacks_leaves_its_lines_out(end: str, missing: list[str]) -> None:
    """That is reported; the other lines are there."""
    result = made_of(clients("de", 3, end), "ticket", DocumentOptions(extended=True))
    assert [word for word in ("versions", "transports") if f"obfsproxy-ip-{word} " not in result.text] == missing
    assert result.warnings == [
        "some lines of --extended are left out: the log does not name transport and family of every connection"
    ]


# By hand


@given(logs())
@settings(max_examples=200, deadline=None)
def test_any_log_is_counted_as_by_hand(log: bytes) -> None:
    """Every number of every extended document, counted as slowly as possible."""
    intervals: dict[str, list[LogLine]] = defaultdict(list)
    for read in map(parse_line, log.splitlines()):
        intervals[read.start].append(read)
    documents = read_documents(made_of(log, "ticket", DocumentOptions(extended=True)).text.encode())
    assert [document.end for document in documents] == [
        str(datetime.fromisoformat(start) + timedelta(days=1)) for start in sorted(intervals)
    ]
    for document, start in zip(documents, sorted(intervals), strict=True):
        lines = intervals[start]
        assert document.requests == count_rounded([one.country.upper() for one in lines])
        addresses = {(one.country.upper(), one.hash) for one in lines}
        assert document.ips == count_rounded([country for country, _ in addresses])
        families = {(one.country, one.hash, str(one.family)) for one in lines}
        if None in {one.family for one in lines}:
            assert document.ip_versions is None
        else:
            assert document.ip_versions == {"v4": 0, "v6": 0} | count_rounded([family for *_, family in families])
        pairs = {(one.country.upper(), one.hash, str(one.transport)) for one in lines}
        if None in {one.transport for one in lines}:
            assert document.ip_transports is None
            assert document.ip_country_transports is None
        else:
            assert document.ip_transports == count_rounded([transport for *_, transport in pairs])
            by_country = count_rounded([f"{country}/{transport}" for country, _, transport in pairs])
            assert document.ip_country_transports is not None
            assert {"/".join(key): number for key, number in document.ip_country_transports.items()} == by_country


# Which intervals


def test_an_interval_that_a_restart_cut_short_is_left_out() -> None:
    """As with tor, and reported; the interval that begins there is whole."""
    log = clients("de", 3) + clients("de", 3, start="2012-02-09 20:22:04")
    result = made_of(log, "ticket")
    assert result.lines[0] == "obfsproxy-stats-end (86400 s) 2012-02-10 20:22:04"
    assert len(result.lines) == 3
    assert result.warnings == [
        "the interval from 2012-02-09 09:22:04 is cut short by a restart and left out; --keep-partial includes it"
    ]


def test_keep_partial_takes_it_in_with_its_true_length(tmp_path: Path) -> None:
    """From its start to the next one's."""
    log = tmp_path / "log"
    log.write_bytes(clients("de", 3) + clients("de", 3, start="2012-02-09 20:22:04"))
    result = made(log, selection=Selection(NOW, partial=True), output=Output())
    assert [one for one in result.lines if "end" in one] == [
        "obfsproxy-stats-end (39600 s) 2012-02-09 20:22:04",
        "obfsproxy-stats-end (86400 s) 2012-02-10 20:22:04",
    ]
    assert result.warnings == []


def test_an_interval_is_cut_short_by_one_that_is_not_over_yet(tmp_path: Path) -> None:
    """The later one is left out as well and still ends the earlier one."""
    log = tmp_path / "log"
    log.write_bytes(clients("de", 3) + clients("de", 3, start="2012-02-09 20:22:04"))
    result = made(log, selection=Selection(datetime(2012, 2, 10, 12, tzinfo=UTC)), output=Output())
    assert (result.text, len(result.warnings)) == ("", 2)


def test_intervals_that_follow_on_each_other_are_whole() -> None:
    """The next begins at the very second at which the last ends."""
    log = clients("de", 3) + clients("de", 3, start="2012-02-10 09:22:04")
    result = made_of(log, "ticket")
    assert (len(result.lines), result.warnings) == (6, [])


def test_logs_that_are_read_together_do_not_cut_each_other_short(tmp_path: Path) -> None:
    """Two wraps under one tor begin seconds apart: each has its ten days, and each cuts short only its own."""
    first, second = tmp_path / "clients.log", tmp_path / "clients-obfs4.log"
    days = [f"2012-02-{day:02} 09:22:" for day in range(1, 11)]
    first.write_bytes(b"".join(clients("de", 3, start=f"{day}04") for day in days))
    second.write_bytes(
        b"".join(clients("tr", 20, start=f"{day}07") for day in days) + clients("tr", 20, start="2012-02-10 19:22:07")
    )
    result = made(first, second, output=Output())
    ends = [line.split(" ", 3)[-1] for line in result.lines if "stats-end" in line]
    days = [f"2012-02-{day:02} 09:22:" for day in range(2, 12)]
    assert ends == sorted([f"{day}04" for day in days] + [f"{day}07" for day in days[:-1]] + ["2012-02-11 19:22:07"])
    assert result.lines.count("obfsproxy-ips DE=8") == result.lines.count("obfsproxy-ips TR=24") == 10
    assert result.warnings == [
        "the interval from 2012-02-10 09:22:07 is cut short by a restart and left out; --keep-partial includes it"
    ]


@pytest.mark.parametrize("name", ["clients.log.1", "clients.log.12.gz", "clients.log-20120210", "clients.log.old"])
def test_what_a_log_was_rotated_into_is_the_same_log(name: str, tmp_path: Path) -> None:
    """An interval that begins in it is cut short by the next one in the log, and counted with its lines there."""
    log, rotated = tmp_path / "clients.log", tmp_path / name
    older = clients("de", 3)
    rotated.write_bytes(gzip.compress(older) if name.endswith(".gz") else older)
    log.write_bytes(clients("de", 9) + clients("de", 3, start="2012-02-09 20:22:04"))
    result = made(rotated, log, selection=Selection(NOW, partial=True), output=Output())
    assert [line.partition(" ")[2] for line in result.lines] == [
        *("(39600 s) 2012-02-09 20:22:04", "DE=16", "DE=16"),
        *("(86400 s) 2012-02-10 20:22:04", "DE=8", "DE=8"),
    ]


def test_two_logs_with_intervals_of_the_same_second_are_added_up(tmp_path: Path) -> None:
    """Two wraps that tor starts in one second have one interval: its numbers are those of both."""
    first, second = tmp_path / "clients.log", tmp_path / "clients-obfs4.log"
    first.write_bytes(clients("de", 9))
    second.write_bytes(clients("de", 9, first=100))
    result = made(first, second, output=Output())
    assert result.lines[1:] == ["obfsproxy-ips DE=24", "obfsproxy-reqs DE=24"]


def test_tables_have_short_intervals_as_the_pipeline_has(tmp_path: Path) -> None:
    """The tables state no length."""
    log = tmp_path / "log"
    log.write_bytes(clients("de", 3) + clients("de", 3, start="2012-02-09 20:22:04"))
    result = made(log)
    assert (len(result.lines), result.warnings) == (6, [])


# The program


def test_the_program_writes_documents(tmp_path: Path) -> None:
    """With the fingerprint's digits in either case."""
    log = tmp_path / "log"
    log.write_bytes(four_days())
    result = run([OBFSTATS, "convert", "--format", "ticket", "--fingerprint", "ab" * 20, str(log)])
    assert result.returncode == 0
    assert result.stderr == (
        b"obfstats convert: 4 intervals, from 2012-02-09 09:22:04 to 2012-02-12 11:22:04, are taken to be whole:"
        b" no mark beside the log says so (docs/statistics-log.md)\n"
    )
    assert result.stdout.count(b"\n") == 16
    assert result.stdout == run([OBFSTATS, "convert", "--format=ticket", f"--fingerprint={'AB' * 20}", str(log)]).stdout


def test_as_of_says_what_is_over_by_then(tmp_path: Path) -> None:
    """A time in UTC instead of now: an interval is over half an hour after its 24 hours."""
    log = tmp_path / "log"
    log.write_bytes(four_days())
    numbers = [
        run([OBFSTATS, "convert", "--format", "ticket", "--as-of", moment, str(log)]).stdout.count(b"stats-end")
        for moment in ("2012-02-10 09:52:03", "2012-02-10 09:52:04", "2012-02-13 11:52:03", "2012-02-13 11:52:04")
    ]
    assert numbers == [0, 1, 3, 4]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--fingerprint", "ab" * 20],
        ["--extended"],
        ["--epsilon", "0.5"],
        ["--keep-partial"],
        ["--format", "tor", "--extended"],
        ["--format", "tor", "--epsilon", "1"],
        ["--format", "ticket", "--fingerprint", "ab" * 19],
        ["--format", "ticket", "--fingerprint", "zz" * 20],
        ["--format", "ticket", "--epsilon", "0"],
        ["--format", "ticket", "--epsilon", "1e3"],
        ["--format", "ticket", "--as-of", "yesterday"],
        ["--format", "ticket", "--as-of", "2012-02-30 00:00:00"],
        ["--format", "ticket", "--geoip", "/nonexistent"],
    ],
)
def test_what_cannot_go_together_is_bad_use(arguments: list[str], tmp_path: Path) -> None:
    """One line that says what to do, status 2, and nothing printed."""
    log = tmp_path / "log"
    log.write_bytes(four_days())
    result = run([OBFSTATS, "convert", *arguments, str(log)])
    assert (result.returncode, result.stdout) == (2, b"")
    assert re.fullmatch(r"obfstats convert: [^\n]+; see obfstats convert --help\n", result.stderr.decode())
    assert b"ab" * 19 not in result.stderr


def test_force_overrides_the_status_for_damage(tmp_path: Path) -> None:
    """The document is the same; the damage is reported in both cases."""
    log = tmp_path / "log"
    log.write_bytes(four_days() + b"torn\n")
    plain, forced = (run([OBFSTATS, "convert", "--format", "ticket", *more, str(log)]) for more in ([], ["--force"]))
    assert (plain.returncode, forced.returncode) == (1, 0)
    assert plain.stdout == forced.stdout
    assert b"lines are damaged and left out" in forced.stderr
