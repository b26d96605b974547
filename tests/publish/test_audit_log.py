"""What a statistics log gives away, said by `obfstats audit`."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.formats.logline import parse_line
from tests.formats.lines import EXAMPLE
from tests.publish.auditing import NOW, alarms, audited, notices, printed
from tests.publish.logs import DAMAGE, SECRET, STARTS, line, logs

if TYPE_CHECKING:
    from pathlib import Path

HASHES = "Every line has a client's hash. A log must never leave the machine, whatever is in it."
FIRST, SECOND = STARTS[:2]


def client_line(number: int, *, start: str = FIRST, country: str = "de") -> bytes:
    """Make the line of one of any number of clients; nobody has the same hash on another day."""
    return f"{start} {country} {sha1(f'{start} {number}'.encode()).hexdigest()}\n".encode()


def written(clients: int, batch: int, *, start: str = FIRST) -> bytes:
    """Write an interval as our programs do: in batches, each sorted."""
    lines = [client_line(number, start=start) for number in range(clients)]
    return b"".join(one for first in range(0, clients, batch) for one in sorted(lines[first : first + batch]))


def said(log: bytes, words: str, now: datetime = NOW) -> list[str]:
    """Give the notices that have some words in them."""
    return [text for text in notices(log, now) if words in text]


def test_a_good_log_has_one_alarm() -> None:
    """That it is a log."""
    assert alarms(written(300, 100)) == [HASHES]


def test_the_tickets_example() -> None:
    """One line: every sentence of it."""
    assert printed(EXAMPLE).splitlines() == [
        "This is a statistics log.",
        f"! {HASHES}",
        "  1 line in 1 interval, 1 in each: so many connections there were, exactly.",
        "  The interval from 2012-02-07 14:01:04: 1 line of 1 country.",
        "  1 of 1 country-day (100 %) has a single client: how often that one came can be seen, once at most.",
        "  Each interval is sorted as a whole: the order of lines dates no client within it.",
        "Keep it here: run `obfstats convert` on it, publish what that prints, then delete the lines.",
    ]


@given(logs())
def test_no_byte_of_a_hash_is_printed(log: bytes) -> None:
    """Starts of intervals are all that is known of a log afterwards."""
    if log:
        text = printed(log)
        assert not [one for one in log.splitlines() if parse_line(one).hash[:12] in text]


# How much is in it


def test_lines_are_counted_by_interval() -> None:
    """The smallest and the largest; each by name while they are few."""
    log = line(FIRST) * 3 + line(FIRST, "dk") + line(SECOND)
    assert said(log, "exactly") == ["5 lines in 2 intervals, 1 to 4 in each: so many connections there were, exactly."]
    assert said(log, "The interval from") == [
        f"The interval from {FIRST}: 4 lines of 2 countries.",
        f"The interval from {SECOND}: 1 line of 1 country.",
    ]


def test_many_intervals_are_not_named_one_by_one() -> None:
    """Who has a month of them gets one line."""
    log = b"".join(line(f"2012-03-{day:02} 00:00:00", client=day) for day in range(1, 32))
    assert said(log, "The interval from") == []
    assert said(log, "31 lines in 31 intervals, 1 in each") != []


def test_intervals_may_be_anywhere_in_the_file() -> None:
    """The closing batch of one may stand behind the first lines of the next."""
    parts = written(100, 100), written(100, 100, start=SECOND), b"".join(client_line(100 + n) for n in range(50))
    assert said(b"".join(parts), "250 lines in 2 intervals, 100 to 150 in each") != []


# Clients who are alone


def test_a_country_with_one_client_is_counted_with_how_often_it_came() -> None:
    """Its row is that client's; another with two clients is not."""
    log = line(client=1) * 14 + line(country="dk", client=2) * 3 + line(country="zz", client=3) + line(country="zz")
    assert said(log, "single") == [
        "2 of 3 country-days (66 %) have a single client: how often that one came can be seen, 14 times at most."
    ]


def test_a_client_with_two_transports_is_still_alone() -> None:
    """The hash tells who it is, whatever follows it."""
    assert said(line(end=" obfs2") + line(end=" obfs3 v4"), "single") != []


def test_where_nobody_is_alone_nothing_is_said() -> None:
    """No sentence about nought."""
    assert said(line(client=1) + line(client=2), "single") == []


@given(logs())
def test_single_clients_against_a_naive_count(log: bytes) -> None:
    """The same number as by collecting every client."""
    clients: dict[tuple[str, str], set[str]] = {}
    for one in map(parse_line, log.splitlines()):
        clients.setdefault((one.start, one.country), set()).add(one.hash)
    singles = sum(len(hashes) == 1 for hashes in clients.values())
    if log:
        expected = f"{singles} of {len(clients)} country-day" if singles else ""
        assert "".join(said(log, "single")).startswith(expected)
        assert bool(said(log, "single")) == bool(singles)


# Hashes that come again


def test_a_hash_in_two_intervals_is_an_alarm() -> None:
    """The secret was not changed, as in the design of 2012: this client can be followed."""
    log = line(FIRST, client=1) + line(FIRST, client=2) + line(SECOND, client=1) + line(SECOND, "dk", client=1)
    (_, text) = alarms(log)
    assert text.startswith("1 hash is in more than one interval: the secret was not changed")


def test_a_hash_in_many_intervals_is_one_hash() -> None:
    """Clients are counted, not days."""
    log = b"".join(line(start, client=client) for start in STARTS for client in (1, 2))
    assert any(text.startswith("2 hashes are in more than one interval") for text in alarms(log))


def test_a_hash_that_comes_again_in_its_interval_is_none() -> None:
    """That is what hashes are for."""
    assert alarms(line(client=1) + line("2012-02-07 14:01:04", "dk", client=1) + line(client=1)) == [HASHES]


# Batches


@pytest.mark.parametrize(
    ("clients", "batch", "expected"),
    [
        (300, 100, "written in 3 batches, mostly of 100 lines: a line in it can be dated to 480 minutes on average"),
        (350, 100, "written in 4 batches, mostly of 100 lines: a line in it can be dated to 360 minutes on average"),
        (2000, 10, "written in 200 batches, mostly of 10 lines: a line in it can be dated to 7 minutes on average"),
    ],
)
def test_batches_are_found_by_their_order(clients: int, batch: int, expected: str) -> None:
    """Each is sorted, so that it ends where the order begins anew; a line is as old as its batch."""
    (text,) = said(written(clients, batch), "batch")
    assert expected in text


def test_the_worst_interval_is_named() -> None:
    """The one with the most batches for its length."""
    (text,) = said(written(200, 100) + written(900, 100, start=SECOND), "batch")
    assert text.startswith(f"The interval from {SECOND} was written in 9 batches")


def test_an_interval_that_was_cut_short_dates_closer() -> None:
    """Two batches in an hour are half an hour each."""
    log = written(200, 100) + written(200, 100, start="2012-02-07 15:01:04")
    (text,) = said(log, "batch")
    assert text.startswith(f"The interval from {FIRST} was written in 2 batches")
    assert "dated to 30 minutes" in text


def test_one_batch_tells_nothing() -> None:
    """A day's buffer removes the order."""
    log = written(1000, 10_000) + written(1000, 10_000, start=SECOND)
    assert said(log, "sorted as a whole") != []


def test_a_shuffled_log_is_not_taken_for_batches_of_two() -> None:
    """In a random order every second line is below the one before it; how the ticket's batches date is said then."""
    lines = written(1000, 1000).splitlines(keepends=True)
    random.Random(1).shuffle(lines)
    (text,) = said(b"".join(lines), "batch")
    assert text.startswith("The lines are in no order that shows batches")
    assert "can be dated to 144 minutes" in text


# Intervals


@pytest.mark.parametrize(("after", "expected"), [(timedelta(hours=24, minutes=29), 1), (timedelta(hours=24.5), 0)])
def test_an_interval_is_unfinished_for_half_an_hour_more(after: timedelta, expected: int) -> None:
    """As `obfstats convert` has it: until its closing batch must have come."""
    now = datetime.fromisoformat(FIRST).replace(tzinfo=UTC) + after
    assert len(said(line(FIRST), "not over yet", now)) == expected


def test_intervals_of_the_future_are_not_over() -> None:
    """A clock that was wrong may leave a year 9999; the last second of time is no error."""
    (text,) = said(line(FIRST) + line("9999-12-31 23:59:59", client=1), "not over yet")
    assert text.startswith("1 interval is not over yet, the last one began at 9999-12-31 23:59:59")


def test_a_restart_is_said() -> None:
    """The second begins before 24 hours are over."""
    log = line(FIRST) + line("2012-02-08 14:01:03", client=1) + line("2012-02-09 14:01:03", client=2)
    assert said(log, "cut short") == [
        "1 interval was cut short by a restart, whose moment shows; documents leave such a day out."
    ]


# Damage


@pytest.mark.parametrize("kind", DAMAGE)
def test_damaged_lines_are_counted_and_nothing_of_them_is_said(kind: str) -> None:
    """Every kind of damage among good lines."""
    log = line(client=1) * 10 + DAMAGE[kind] + line(client=2)
    damaged = DAMAGE[kind].count(b"\n") or 1
    text = printed(log)
    verb = "line is" if damaged == 1 else "lines are"
    assert f"{damaged} {verb} damaged; `obfstats convert` leaves such lines out." in text
    assert SECRET.decode() not in text


def test_an_address_in_a_damaged_line_is_an_alarm() -> None:
    """Somebody mixed logs; that one is worse."""
    log = line() + DAMAGE["an address for the hash"] + b"connection from [2001:db8::77]:443\n"
    assert "2 damaged lines hold what looks like an IP address." in alarms(log)
    assert "2001:db8" not in printed(log)


# The file itself


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o604, 0o601])
def test_a_log_that_others_may_open_is_an_alarm(mode: int, tmp_path: Path) -> None:
    """It is 0600 whatever the umask; somebody changed that."""
    path = tmp_path / "clients.log"
    path.write_bytes(EXAMPLE)
    path.chmod(mode)
    texts = [finding.text for finding in audited(path).findings if finding.is_alarm]
    assert texts[1:] == [f"Its permissions are {mode:04o}: others on this machine may open it. Run chmod 600 on it."]


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_log_that_is_its_owners_alone_is_not(mode: int, tmp_path: Path) -> None:
    """As it should be."""
    path = tmp_path / "clients.log"
    path.write_bytes(EXAMPLE)
    path.chmod(mode)
    assert [finding.text for finding in audited(path).findings if finding.is_alarm] == [HASHES]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_order_of_lines_changes_no_count(order: list[int]) -> None:
    """Whatever order a log has, the same clients are alone and the same hashes come again."""
    log = [line(STARTS[number % 2], client=number // 2) for number in order]

    def counts(log: bytes) -> list[str]:
        return [text for text in [*alarms(log), *notices(log)] if "order" not in text and "batch" not in text]

    counts_of = [counts(b"".join(lines)) for lines in (log, sorted(log), log[::-1])]
    assert counts_of[0] == counts_of[1] == counts_of[2]
