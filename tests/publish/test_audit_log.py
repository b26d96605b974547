"""What `obfstats audit` finds in a statistics log."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.formats.logline import parse_line
from obfstats.publish.audit.findings import Code, finding
from tests.formats.lines import EXAMPLE
from tests.publish.auditing import alarms, audited, audited_bytes, printed, values_of
from tests.publish.logs import DAMAGE, SECRET, STARTS, line, logs

if TYPE_CHECKING:
    from pathlib import Path

    from obfstats.publish.audit.findings import Finding

HASHES = finding(Code.HASHES)
FIRST, SECOND = STARTS[:2]


def client_line(number: int, *, start: str = FIRST, country: str = "de") -> bytes:
    """Make the line of one of any number of clients; the hash differs between intervals."""
    return f"{start} {country} {sha1(f'{start} {number}'.encode()).hexdigest()}\n".encode()


def written(clients: int, batch: int, *, start: str = FIRST) -> bytes:
    """Write an interval as our programs do: in batches, each sorted."""
    lines = [client_line(number, start=start) for number in range(clients)]
    return b"".join(one for first in range(0, clients, batch) for one in sorted(lines[first : first + batch]))


def test_a_good_log_has_one_alarm() -> None:
    """That it is a log."""
    assert alarms(written(300, 100)) == [HASHES]


def test_the_tickets_example() -> None:
    """Every sentence of a log with one line."""
    assert printed(EXAMPLE).splitlines() == [
        "This is a statistics log.",
        f"! {HASHES}",
        "  1 line in 1 interval, 1 in each: these are exact numbers of connections.",
        "  The interval from 2012-02-07 14:01:04: 1 line of 1 country.",
        "  In 1 of 1 country-day (100 %) there is a single client: how often it connected is visible, 1 time at most.",
        "  Each interval is sorted as a whole: the order of lines dates no client within it.",
        "Keep it here: run `obfstats convert` on it, publish what that prints, then delete the lines.",
    ]


@given(logs())
def test_no_byte_of_a_hash_is_printed(log: bytes) -> None:
    """The output contains no prefix of any hash."""
    if log:
        text = printed(log)
        assert not [one for one in log.splitlines() if parse_line(one).hash[:12] in text]


# How much is in it


def test_lines_are_counted_by_interval() -> None:
    """The smallest and the largest interval; each interval while they are few."""
    log = line(FIRST) * 3 + line(FIRST, "dk") + line(SECOND)
    assert values_of(Code.LOG_SIZE, log) == [{"lines": 5, "intervals": 2, "each": "1 to 4"}]
    assert values_of(Code.INTERVAL_SIZE, log) == [
        {"start": FIRST, "lines": 4, "countries": 2},
        {"start": SECOND, "lines": 1, "countries": 1},
    ]


def test_many_intervals_are_not_named_one_by_one() -> None:
    """A month of intervals is one line."""
    log = b"".join(line(f"2012-03-{day:02} 00:00:00", client=day) for day in range(1, 32))
    assert values_of(Code.INTERVAL_SIZE, log) == []
    assert values_of(Code.LOG_SIZE, log) == [{"lines": 31, "intervals": 31, "each": "1"}]


def test_intervals_may_be_anywhere_in_the_file() -> None:
    """The closing batch of an interval may follow the first lines of the next."""
    parts = written(100, 100), written(100, 100, start=SECOND), b"".join(client_line(100 + n) for n in range(50))
    assert values_of(Code.LOG_SIZE, b"".join(parts)) == [{"lines": 250, "intervals": 2, "each": "100 to 150"}]


# Clients who are alone


def test_countries_with_one_client_are_counted_with_the_most_connections() -> None:
    """A country with one client is counted, one with two is not."""
    log = line(client=1) * 14 + line(country="dk", client=2) * 3 + line(country="zz", client=3) + line(country="zz")
    assert values_of(Code.SINGLE_CLIENTS, log) == [{"singles": 2, "country_days": 3, "percent": 66, "most": 14}]


def test_a_client_with_two_transports_is_one_client() -> None:
    """The hash identifies the client, whatever columns follow."""
    assert values_of(Code.SINGLE_CLIENTS, line(end=" obfs2") + line(end=" obfs3 v4")) != []


def test_countries_with_several_clients_give_no_finding() -> None:
    """No finding for zero."""
    assert values_of(Code.SINGLE_CLIENTS, line(client=1) + line(client=2)) == []


@given(logs())
def test_single_clients_against_a_naive_count(log: bytes) -> None:
    """The same numbers as by collecting every client."""
    clients: dict[tuple[str, str], set[str]] = {}
    for one in map(parse_line, log.splitlines()):
        clients.setdefault((one.start, one.country), set()).add(one.hash)
    singles = sum(len(hashes) == 1 for hashes in clients.values())
    if log:
        numbers = [(values["singles"], values["country_days"]) for values in values_of(Code.SINGLE_CLIENTS, log)]
        assert numbers == ([(singles, len(clients))] if singles else [])


# Hashes that are in several intervals


def test_a_hash_in_two_intervals_is_an_alarm() -> None:
    """The secret was not changed, as in the design of 2012: this client can be followed."""
    log = line(FIRST, client=1) + line(FIRST, client=2) + line(SECOND, client=1) + line(SECOND, "dk", client=1)
    assert alarms(log) == [HASHES, finding(Code.REUSED_HASHES, hashes=1)]


def test_a_hash_in_many_intervals_is_one_hash() -> None:
    """Clients are counted, not days."""
    log = b"".join(line(start, client=client) for start in STARTS for client in (1, 2))
    assert finding(Code.REUSED_HASHES, hashes=2) in alarms(log)


def test_a_hash_that_comes_again_in_its_interval_is_none() -> None:
    """A hash may repeat within an interval."""
    assert alarms(line(client=1) + line("2012-02-07 14:01:04", "dk", client=1) + line(client=1)) == [HASHES]


# Batches


@pytest.mark.parametrize(
    ("clients", "batch", "batches", "precision"),
    [(300, 100, 3, "480 minutes"), (350, 100, 4, "360 minutes"), (2000, 10, 200, "7 minutes")],
)
def test_batches_are_found_by_their_order(clients: int, batch: int, batches: int, precision: str) -> None:
    """Each batch is sorted, so it ends where the order starts again; a line is dated by its batch."""
    assert values_of(Code.BATCHES, written(clients, batch)) == [
        {"start": FIRST, "batches": batches, "precision": precision}
    ]


def test_the_worst_interval_is_named() -> None:
    """The one with the most batches for its length."""
    (values,) = values_of(Code.BATCHES, written(200, 100) + written(900, 100, start=SECOND))
    assert (values["start"], values["batches"]) == (SECOND, 9)


def test_an_interval_that_was_cut_short_dates_closer() -> None:
    """Two batches in an hour are half an hour each."""
    log = written(200, 100) + written(200, 100, start="2012-02-07 15:01:04")
    (values,) = values_of(Code.BATCHES, log)
    assert (values["start"], values["batches"], values["precision"]) == (FIRST, 2, "30 minutes")


def test_one_batch_tells_nothing() -> None:
    """A day's buffer removes the order."""
    log = written(1000, 10_000) + written(1000, 10_000, start=SECOND)
    assert values_of(Code.SORTED_INTERVALS, log) == [{}]


def test_a_shuffled_log_is_not_taken_for_batches_of_two() -> None:
    """In random order about every second line is below the previous one."""
    lines = written(1000, 1000).splitlines(keepends=True)
    random.Random(1).shuffle(lines)
    assert values_of(Code.NO_BATCHES, b"".join(lines)) == [{}]


# Intervals


@pytest.mark.parametrize(("after", "expected"), [(timedelta(hours=24, minutes=29), 1), (timedelta(hours=24.5), 0)])
def test_an_interval_is_unfinished_for_half_an_hour_more(after: timedelta, expected: int) -> None:
    """As for `obfstats convert`: until its closing batch must have been written."""
    now = datetime.fromisoformat(FIRST).replace(tzinfo=UTC) + after
    assert len(values_of(Code.UNFINISHED_LOG, line(FIRST), now)) == expected


def test_intervals_of_the_future_are_not_over() -> None:
    """A wrong clock may leave the year 9999; the calendar's last second is not an error."""
    last = "9999-12-31 23:59:59"
    assert values_of(Code.UNFINISHED_LOG, line(FIRST) + line(last, client=1)) == [{"intervals": 1, "start": last}]


def test_a_restart_is_reported() -> None:
    """The second begins before 24 hours are over."""
    log = line(FIRST) + line("2012-02-08 14:01:03", client=1) + line("2012-02-09 14:01:03", client=2)
    assert values_of(Code.CUT_SHORT_LOG, log) == [{"intervals": 1}]


# Damage


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_lines_are_counted_and_never_quoted(kind: str) -> None:
    """Every kind of damage among good lines."""
    log = line(client=1) * 10 + DAMAGE[kind] + line(client=2)
    assert values_of(Code.DAMAGED_LOG_LINES, log) == [{"lines": DAMAGE[kind].count(b"\n") or 1}]
    assert SECRET.decode() not in printed(log)


def test_an_address_in_a_damaged_line_is_an_alarm() -> None:
    """Lines of another log, with addresses, were mixed in."""
    log = line() + DAMAGE["an address for the hash"] + b"connection from [2001:db8::77]:443\n"
    assert finding(Code.DAMAGED_ADDRESSES, lines=2) in alarms(log)
    assert "2001:db8" not in printed(log)


# The file itself


def alarms_of(path: Path) -> list[Finding]:
    """Give the alarms in a file with the permissions that it has."""
    return [finding for finding in audited(path).findings if finding.is_alarm]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o604, 0o601])
def test_a_log_that_others_may_open_is_an_alarm(mode: int, tmp_path: Path) -> None:
    """The recorder creates it 0600; other permissions were set later."""
    path = tmp_path / "clients.log"
    path.write_bytes(EXAMPLE)
    path.chmod(mode)
    assert alarms_of(path) == [HASHES, finding(Code.PERMISSIONS, mode=f"{mode:04o}")]


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_log_that_is_its_owners_alone_is_not(mode: int, tmp_path: Path) -> None:
    """The recorder's permissions, or read-only."""
    path = tmp_path / "clients.log"
    path.write_bytes(EXAMPLE)
    path.chmod(mode)
    assert alarms_of(path) == [HASHES]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_order_of_lines_changes_no_count(order: list[int]) -> None:
    """Only findings about batches depend on the order of lines."""
    log = [line(STARTS[number % 2], client=number // 2) for number in order]

    by_order = {Code.BATCHES, Code.NO_BATCHES, Code.SORTED_INTERVALS}

    def counts(log: bytes) -> list[Finding]:
        return [finding for finding in audited_bytes(log).findings if finding.code not in by_order]

    counts_of = [counts(b"".join(lines)) for lines in (log, sorted(log), log[::-1])]
    assert counts_of[0] == counts_of[1] == counts_of[2]
