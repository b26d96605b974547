"""The ticket's six steps, one behaviour each."""

from __future__ import annotations

import logging
import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from obfstats.formats.address import pack_address
from obfstats.formats.logline import LINE_LENGTH, parse_line
from obfstats.record import Recorder, RecordError
from obfstats.record.journal import Journal
from obfstats.record.secret import Secret
from peers.clocks import DAY, MovedClock
from tests.record.surroundings import Bench, countries, hash_address, secret_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from obfstats.record.recorder import Column


def test_a_line_holds_the_intervals_start_the_country_and_the_hash(tmp_path: Path) -> None:
    """Step 5: TS instead of the time, a country, H(IP || S); 64 bytes in all."""
    bench = Bench(tmp_path / "log", buffer=1)
    key = secret_of(bench.recorder)
    bench.clock.pass_time(3600)
    bench.recorder.record("192.0.2.7")
    bench.recorder.record("198.51.100.1")
    expected = f"2012-02-07 14:01:04 de {hash_address(socket.inet_aton('192.0.2.7'), key)}\n"
    assert bench.path.read_text() == expected
    assert len(expected) == LINE_LENGTH


def test_one_address_has_one_hash_within_an_interval(tmp_path: Path) -> None:
    """Unique addresses can be counted: the same client gives the same line."""
    bench = Bench(tmp_path / "log", buffer=1)
    for _ in range(4):
        bench.recorder.record("192.0.2.7")
    assert len(bench.lines()) == 3
    assert len(set(bench.lines())) == 1


def test_no_client_can_be_followed_into_the_next_interval(tmp_path: Path) -> None:
    """Decision 2: the same address has another hash after the step of 24 hours."""
    bench = Bench(tmp_path / "log", buffer=1)
    bench.recorder.record("192.0.2.7")
    bench.clock.pass_time(DAY)
    bench.recorder.record("192.0.2.7")
    bench.clock.pass_time(300)
    bench.recorder.tick()
    bench.recorder.record("192.0.2.7")
    first, second = (parse_line(line.encode()) for line in bench.lines())
    assert (first.start, second.start) == ("2012-02-07 14:01:04", "2012-02-08 14:01:04")
    assert first.hash != second.hash


def test_exactly_24_hours_after_the_start_the_next_interval_begins_once(tmp_path: Path) -> None:
    """Step 3 at its edge: 24 h later TS has moved one step, and further connections at that moment share the buffer."""
    bench = Bench(tmp_path / "log", buffer=10, delay=0)
    bench.fill(1)
    bench.clock.pass_time(DAY)
    bench.fill(9, "198.51.100")
    bench.recorder.tick()
    assert [line[:22] for line in bench.lines()] == ["2012-02-07 14:01:04 de"]


def test_the_closing_batch_waits_for_a_random_moment_not_for_a_client(tmp_path: Path) -> None:
    """The file's modification time reveals nothing: a tick writes the last lines, after the delay that was drawn."""
    bench = Bench(tmp_path / "log", delay=300)
    bench.fill(5)
    bench.clock.pass_time(DAY)
    bench.recorder.record("198.51.100.1")
    bench.clock.pass_time(299)
    bench.recorder.tick()
    assert bench.lines() == []
    bench.clock.pass_time(1)
    bench.recorder.tick()
    assert [line[:22] for line in bench.lines()] == ["2012-02-07 14:01:04 de"] * 5


def test_a_quiet_day_ends_by_the_timer_alone(tmp_path: Path) -> None:
    """An interval needs no next client to end."""
    bench = Bench(tmp_path / "log", delay=0)
    bench.fill(3)
    bench.clock.pass_time(DAY)
    bench.recorder.tick()
    assert len(bench.lines()) == 3


def test_after_the_clock_was_set_no_label_is_a_clients_time(tmp_path: Path) -> None:
    """The new interval begins at a random moment before the client that noticed."""
    bench = Bench(tmp_path / "log", buffer=1, delay=123.0)
    bench.clock.set_wall(-3600)
    bench.clock.pass_time(61)
    bench.fill(2, "198.51.100")
    # 14:01:04, an hour back, 61 seconds on, and 123 back for this check.
    assert [line[:19] for line in bench.lines()] == ["2012-02-07 13:00:02"]


def test_a_forked_child_neither_writes_nor_counts(tmp_path: Path) -> None:
    """The child's recorder is closed; the parent's lines are written once, by the parent."""
    bench = Bench(tmp_path / "log", delay=0)
    bench.fill(3)
    child = os.fork()
    if child == 0:
        try:
            bench.recorder.record("192.0.2.9")
        except RecordError:
            bench.recorder.tick()
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert bench.lines() == []
    bench.clock.pass_time(DAY)
    bench.recorder.tick()
    assert len(bench.lines()) == 3


def test_a_suspend_of_three_days_gives_one_batch_and_no_empty_interval(tmp_path: Path) -> None:
    """Step 3: TS moves on in 24-hour steps until it is less than 24 hours past."""
    bench = Bench(tmp_path / "log", buffer=1, delay=0)
    bench.fill(1)
    bench.clock.pass_time(3 * DAY + 3600)
    bench.fill(3, "198.51.100")
    bench.recorder.tick()
    assert sorted({line[:19] for line in bench.lines()}) == ["2012-02-07 14:01:04", "2012-02-10 14:01:04"]


@pytest.mark.parametrize("jump", [-400 * DAY, -3600.0, 3600.0, 20_000 * DAY])
def test_a_clock_that_is_set_begins_a_new_interval_and_drops_the_buffer(tmp_path: Path, jump: float) -> None:
    """A wrong label is worse than a lost buffer: new S, new TS, back or forward."""
    bench = Bench(tmp_path / "log", buffer=1)
    key = secret_of(bench.recorder)
    bench.fill(1)
    bench.clock.set_wall(jump)
    bench.clock.pass_time(61)
    bench.fill(3, "198.51.100")
    lines = [parse_line(line.encode()) for line in bench.lines()]
    assert [line.country for line in lines] == ["tr", "tr"]
    assert not {line.hash for line in lines} & {hash_address(bytes((198, 51, 100, n)), key) for n in range(3)}
    assert lines[0].start != "2012-02-07 14:01:04"


def test_a_clock_that_is_corrected_by_minutes_changes_nothing(tmp_path: Path) -> None:
    """Up to ten minutes are everyday corrections."""
    bench = Bench(tmp_path / "log", buffer=1)
    bench.fill(2)
    bench.clock.set_wall(-599)
    bench.clock.pass_time(61)
    bench.fill(1)
    assert len(bench.lines()) == 2


@pytest.mark.parametrize("wall", [0.0, -5.0, 1e15])
def test_a_machine_that_does_not_know_the_date_counts_all_the_same(tmp_path: Path, wall: float) -> None:
    """Without a clock chip, in 1970 or before: an odd label, one interval, and nothing is dropped every minute."""
    bench = Bench(tmp_path / "log", buffer=1, clock=MovedClock(wall))
    for number in range(6):
        bench.recorder.record(f"192.0.2.{number}")
        bench.clock.pass_time(61)
        bench.recorder.tick()
    assert len(bench.lines()) == 5
    assert len({parse_line(line.encode()).start for line in bench.lines()}) == 1


def test_a_clock_set_back_does_not_freeze_the_interval(tmp_path: Path) -> None:
    """Intervals run on boot time: a day after the clock was set back by a year, the interval ends."""
    bench = Bench(tmp_path / "log", delay=0)
    bench.clock.set_wall(-365 * DAY)
    bench.recorder.tick()
    bench.fill(2)
    bench.clock.pass_time(DAY)
    bench.recorder.tick()
    assert {line[:19] for line in bench.lines()} == {"2011-02-07 14:01:04"}


def test_closing_writes_nothing_and_wipes(tmp_path: Path) -> None:
    """Step 6: B is not flushed, S is wiped; it may be called twice."""
    bench = Bench(tmp_path / "log")
    bench.fill(100)
    bench.recorder.close()
    bench.recorder.close()
    assert bench.lines() == []
    with pytest.raises(ValueError, match="released"):
        secret_of(bench.recorder)
    with pytest.raises(RecordError, match="closed"):
        bench.recorder.record("192.0.2.1")
    bench.recorder.tick()
    assert bench.lines() == []


def test_a_closing_batch_is_not_written_at_the_end_either(tmp_path: Path) -> None:
    """Step 6 holds for the batch that waits for its moment."""
    bench = Bench(tmp_path / "log")
    bench.fill(50)
    bench.clock.pass_time(DAY)
    bench.recorder.tick()
    bench.recorder.close()
    assert bench.lines() == []


@given(order=st.permutations(range(40)), columns=st.sampled_from([(), ("transport", "family")]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_any_order_of_arrival_gives_the_same_bytes(tmp_path: Path, order: list[int], columns: Sequence[Column]) -> None:
    """Decision 4: what is written is a function of the set of lines; under one S every order gives one file."""
    clients = [f"192.0.2.{n}" for n in range(20)] + [f"2001:db8::{n:x}" for n in range(20)]
    written = set()
    for arrival in (range(40), order):
        path = tmp_path / "log"
        path.unlink(missing_ok=True)
        secret = Secret(lambda address, size: None)  # noqa: ARG005
        journal, clock = Journal(path, warn=print), MovedClock()
        recorder = Recorder(journal, countries(), secret=secret, clock=clock, draw_delay=lambda: 0.0, columns=columns)
        for number in arrival:
            recorder.record(clients[number], "obfs3")
        clock.pass_time(DAY)
        recorder.tick()
        written.add(path.read_bytes())
        recorder.close()
    assert len(written) == 1
    assert written.pop().count(b"\n") == 40


def test_ten_thousand_days_share_no_hash(tmp_path: Path) -> None:
    """One client that connects every day for 27 years leaves 10,000 different hashes."""
    bench = Bench(tmp_path / "log", buffer=1, delay=0)
    for _ in range(10_000):
        bench.recorder.record("192.0.2.7")
        bench.clock.pass_time(DAY)
    bench.recorder.tick()
    lines = [parse_line(line) for line in bench.path.read_bytes().splitlines()]
    assert len(lines) == 10_000
    assert len({line.hash for line in lines}) == 10_000
    assert len({line.start for line in lines}) == 10_000


def test_ipv4_mapped_ipv6_is_ipv4(tmp_path: Path) -> None:
    """Decision 3: a client on a dual-stack socket is one client, in the same country."""
    bench = Bench(tmp_path / "log", buffer=1, columns=("family",))
    bench.recorder.record("::ffff:192.0.2.7")
    bench.recorder.record("192.0.2.7")
    bench.recorder.record("192.0.2.7")
    assert len(set(bench.lines())) == 1
    assert bench.lines()[0].endswith(" v4")


def test_ipv6_networks_may_be_counted_as_clients(tmp_path: Path) -> None:
    """With a prefix of 64 bits addresses of one /64 are one client, and of one country; families stay, IPv4 too."""
    bench = Bench(tmp_path / "clients.log", buffer=1, ipv6_prefix=64, columns=("family",))
    for address in ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", "2001:db8:0:1::1", "2001:db8:0:1::"):
        bench.recorder.record(address)
    for address in ("192.0.2.1", "192.0.2.2", "::ffff:192.0.2.1", "192.0.2.1"):
        bench.recorder.record(address)
    # With a buffer of one line the last one is still in memory.
    lines = sorted(line[20:] for line in bench.lines())
    secret = secret_of(bench.recorder)
    networks = [hash_address(pack_address(network), secret) for network in ("2001:db8::", "2001:db8:0:1::")]
    clients = [hash_address(pack_address(f"192.0.2.{n}"), secret) for n in (1, 2, 1)]
    assert lines == sorted([f"jp {one} v6" for one in networks * 2] + [f"de {one} v4" for one in clients])


def test_ipv6_counts_by_the_whole_address(tmp_path: Path) -> None:
    """As Tor counts: two addresses of one network are two; a zone is no part of the address."""
    bench = Bench(tmp_path / "log", buffer=1)
    for address in ("2001:db8::1", "2001:db8::2", "2001:db8::2%eth0", "2001:db8::3"):
        bench.recorder.record(address)
    lines = [parse_line(line.encode()) for line in bench.lines()]
    assert {line.country for line in lines} == {"jp"}
    assert len({line.hash for line in lines}) == 2


@pytest.mark.parametrize(
    ("columns", "transport", "expected"),
    [
        (("transport",), "obfs3", " obfs3"),
        (("transport",), None, " <OR>"),
        (("transport",), "not a name\n", " <??>"),
        (("transport",), "v4", " <??>"),
        (("family",), "obfs3", " v4"),
        (("transport", "family"), "obfs2", " obfs2 v4"),
        ((), "obfs3", ""),
    ],
)
def test_further_columns_only_where_asked_for(
    tmp_path: Path, columns: Sequence[Column], transport: str | None, expected: str
) -> None:
    """Transport and family follow the ticket's columns, in a form that reads back, whatever the name was."""
    bench = Bench(tmp_path / "log", buffer=1, columns=columns)
    bench.recorder.record("192.0.2.7", transport)
    bench.recorder.record("192.0.2.7", transport)
    (line,) = bench.lines()
    assert line[63:] == expected
    assert parse_line(line.encode()).hash == line[23:63]


@given(address=st.text() | st.sampled_from(["", "0", "1.2.3", "1.2.3.4:5", "[::1]", "::g", "\0", "1.2.3.4\n"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
def test_what_is_no_address_is_not_counted_and_not_repeated(tmp_path: Path, address: str) -> None:
    """A caller's mistake neither raises nor reaches the log."""
    path = tmp_path / "log"
    path.unlink(missing_ok=True)
    bench = Bench(path, buffer=1)
    for _ in range(2):
        bench.recorder.record(address)
    readable = bench.recorder.unreadable == 0
    assert len(bench.lines()) == (1 if readable else 0)
    assert bench.warnings == []
    bench.recorder.close()


def test_an_unknown_country_is_two_question_marks(tmp_path: Path) -> None:
    """A client in no range is counted all the same."""
    bench = Bench(tmp_path / "log", buffer=1)
    bench.recorder.record("203.0.113.1")
    bench.recorder.record("203.0.113.1")
    assert bench.lines()[0][20:22] == "??"


def test_a_full_disk_costs_no_client_anything(tmp_path: Path) -> None:
    """The log's folder is moved while it runs: recording continues, and the lines are written when it is back."""
    folder = tmp_path / "folder"
    folder.mkdir()
    bench = Bench(folder / "log", buffer=1)
    hidden = tmp_path / "hidden"
    folder.rename(hidden)
    bench.fill(16)
    bench.recorder.tick()
    assert len(bench.warnings) == 1
    hidden.rename(folder)
    bench.clock.pass_time(601)
    bench.recorder.tick()
    assert len(bench.lines()) == 15


def test_three_lines_embed_it(tmp_path: Path) -> None:
    """What the README shows to another transport's author works on the machine's own clock and data."""
    path = tmp_path / "new" / "clients.log"
    recorder = Recorder.open(path, buffer=1, make_folder=True)
    recorder.record("192.0.2.7", "obfs3")
    recorder.record("192.0.2.7", "obfs3")
    recorder.close()
    assert parse_line(path.read_bytes()).country == "??"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_refused_start_leaves_the_disk_as_it_was(tmp_path: Path) -> None:
    """A GeoIP file that does not exist: one sentence, no folder, no log."""
    with pytest.raises(RecordError, match="cannot read the GeoIP file"):
        Recorder.open(tmp_path / "new" / "log", geoip=tmp_path / "none", make_folder=True)
    with pytest.raises(RecordError, match="too small"):
        Recorder.open(tmp_path / "new" / "log", buffer=0, make_folder=True)
    assert list(tmp_path.iterdir()) == []


def test_what_the_disk_refuses_in_a_clients_call_is_logged_by_a_tick(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The warning would date the client whose line was the last one of the batch."""
    caplog.set_level(logging.WARNING, "obfstats")
    folder = tmp_path / "folder"
    folder.mkdir()
    recorder = Recorder.open(folder / "log", buffer=1, geoip6=None, clock=MovedClock())
    folder.rename(tmp_path / "elsewhere")
    for number in range(3):
        recorder.record(f"192.0.2.{number}")
    assert not any("cannot write" in message for message in caplog.messages)
    recorder.tick()
    assert [message.startswith("cannot write") for message in caplog.messages if "log" in message] == [True]
    recorder.close()
