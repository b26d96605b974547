"""Counting in memory: the numbers of the log, without a log, and nothing left of them afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import warnings
from hashlib import sha1
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obfstats.formats.interval import Interval
from obfstats.publish import plain
from obfstats.publish.logfiles import find
from obfstats.record.aggregate import Aggregate
from obfstats.record.pages import Pages
from obfstats.record.recorder import Recorder
from obfstats.record.secret import Secret
from peers.clocks import DAY, MovedClock
from tests.record.remains import mapped
from tests.record.surroundings import Bench, countries, hash_address

if TYPE_CHECKING:
    from obfstats.formats.counts import Counts

START = Interval.parse("2012-02-07 14:01:04")
ADDRESSES = ("192.0.2.1", "192.0.2.2", "198.51.100.1", "203.0.113.9", "2001:db8::1", "2001:db8::2", "::ffff:192.0.2.1")

visits = st.lists(
    st.tuples(st.sampled_from(ADDRESSES), st.sampled_from((None, "obfs2", "obfs3", "no name"))), max_size=60
)


def entry(country: str = "de", client: int = 0, further: str = " obfs3 v4") -> str:
    """A line without its label, as the recorder makes it."""
    return f"{country} {sha1(client.to_bytes(4)).hexdigest()}{further}"


def in_memory(clock: MovedClock, buffer: int = 100) -> tuple[Recorder, Aggregate]:
    """A recorder that writes no log."""
    store = Aggregate()
    recorder = Recorder(
        store, countries(), clock=clock, draw_delay=lambda: 300.0, buffer=buffer, columns=("transport", "family")
    )
    return recorder, store


def of_log(path: Path) -> list[Counts]:
    """The numbers that a log gives."""
    return plain.count_logs(find([str(path)]), lambda _: None)[0]


@given(visits, visits, st.sampled_from((1, 3, 100)))
@settings(max_examples=60, deadline=None)
def test_the_numbers_are_those_of_the_log(
    first: list[tuple[str, str | None]], second: list[tuple[str, str | None]], buffer: int
) -> None:
    """Two days of visits, to a recorder with a log and to one without: every number is the same, on each day."""
    with tempfile.TemporaryDirectory() as folder:
        logged = Bench(Path(folder) / "log", buffer=buffer, columns=("transport", "family"))
        recorder, store = in_memory(clock := MovedClock(), buffer)
        for day in (first, second):
            for address, transport in day:
                logged.recorder.record(address, transport)
                recorder.record(address, transport)
            for clocked in (logged, None):
                (logged.clock if clocked else clock).pass_time(DAY)
                (logged.recorder if clocked else recorder).tick()
            for passed in (logged.clock, clock):
                passed.pass_time(301)
            logged.recorder.tick()
            recorder.tick()
        expected = of_log(logged.path)
        assert [store.counts(counts.interval) for counts in expected] == expected
        recorder.close()
        logged.recorder.close()


def test_an_interval_without_clients_has_empty_numbers() -> None:
    """All columns are empty, and none is missing."""
    counts = Aggregate().counts(START)
    assert (counts.requests, counts.addresses, counts.families, counts.transports) == ({}, {}, {}, {})


def test_thousands_of_clients_are_told_apart() -> None:
    """In a table of several blocks no client is lost or counted twice."""
    store = Aggregate()
    for _ in range(2):
        store.append(START, [entry(client=client) for client in range(20_000)])
    counts = store.counts(START)
    assert (counts.requests, counts.addresses) == ({"de": 40_000}, {"de": 20_000})
    assert len(store._intervals[START].clients._blocks) == 2


def test_pages_are_overwritten_before_they_are_unmapped() -> None:
    """They may be in a swap file."""

    class Kept:
        """Memory that is not unmapped, so that the test can read it afterwards."""

        def __len__(self) -> int:
            return 4096

        def close(self) -> None:
            """Stay mapped."""

    pages = Pages(4096)
    memory = pages.memory
    memory[:5] = b"a key"
    pages.memory = Kept()  # type: ignore[assignment]
    pages.wipe()
    assert memory[:] == bytes(4096)


def test_an_interval_that_a_set_clock_cut_short_is_wiped() -> None:
    """Its numbers are never asked for; a clock that is set every day must not fill the memory."""
    recorder, store = in_memory(clock := MovedClock(), buffer=1)
    for day in range(5):
        for number in range(6):
            recorder.record(f"192.0.2.{number}", "obfs3")
        assert len(store._intervals) == 1
        clock.set_wall(3600 * (day + 1))
        recorder.tick()
        assert store._intervals == {}
    recorder.close()


def test_beyond_the_bound_only_connections_are_counted() -> None:
    """There is a warning, and the table does not grow."""
    warnings: list[str] = []
    store = Aggregate(max_clients=100, warn=warnings.append)
    store.append(START, [entry(client=client) for client in range(40)])
    before = [warning for warning in warnings if "clients" in warning]
    store.append(START, [entry(client=client) for client in range(200)])
    counts = store.counts(START)
    assert (before, [warning[:12] for warning in warnings if "clients" in warning]) == ([], ["an interval "])
    assert counts.requests == {"de": 240}
    assert counts.addresses == {"de": 100}


def test_at_the_bound_one_client_more_displaces_another() -> None:
    """So two numbers differ by one: noise promises half as much then, as docs/what-leaves-your-bridge.md says."""
    counted = []
    for clients in (["de", "tr"], ["jp", "de", "tr"]):
        store = Aggregate(max_clients=2)
        store.append(START, [entry(country, client=ord(country[0])) for country in clients])
        counted.append(store.counts(START).addresses)
    assert counted == [{"de": 1, "tr": 1}, {"jp": 1, "de": 1}]


def test_the_number_of_transports_is_bounded() -> None:
    """A transport program invents names: those beyond a thousand count as unnamed."""
    store = Aggregate()
    store.append(START, [entry(further=f" t{number} v4") for number in range(2000)])
    transports = store.counts(START).transports
    assert transports is not None
    assert len(transports) == 1000
    assert transports["<??>"] == 1


# A process that counts a thousand clients in memory, tells their slots, ends in some way at a word, and stays alive.
COUNTING_PROCESS = """
import os, sys
from hashlib import sha256
from obfstats.record import Recorder
recorder = Recorder.open(None, buffer=10)
for number in range(1010):
    recorder.record(f"192.0.{number // 256}.{number % 256}", "obfs3")
for number in range(0, 500, 25):
    packed = bytes((192, 0, number // 256, number % 256))
    os.write(1, f"{sha256(packed + recorder._secret._key).hexdigest()[:40]}\\n".encode())
os.write(1, b"\\n")
sys.stdin.readline()
if sys.argv[1] == "close":
    recorder.close()
else:
    recorder.store.wipe_interval(next(iter(recorder.store._intervals)))
os.write(1, b"done\\n")
sys.stdin.readline()
"""


@pytest.mark.parametrize("way", ["close", "wipe"])
def test_what_was_counted_is_wiped_from_a_living_process(way: str) -> None:
    """Twenty of a thousand hashes are looked for, with the zeros of their class ids: all are there, then none."""
    with subprocess.Popen(
        [sys.executable, "-c", COUNTING_PROCESS, way], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        kept = [bytes.fromhex(line.decode()) + b"\0\0\0" for line in iter(process.stdout.readline, b"\n")]
        before = found_in_memory(process.pid, kept)
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"done\n"
        after = found_in_memory(process.pid, kept)
        process.stdin.close()
        assert process.wait(10) == 0
    assert (len(kept), before, after) == (20, 20, 0)


# A process that counts clients in memory, tells its secret, wipes what it has counted, and stays alive.
WIPED_PROCESS = """
import os, sys
from obfstats.record import Recorder
recorder = Recorder.open(None)
os.write(1, bytes(recorder._secret._key))
for number in range(200):
    recorder.record(f"198.51.100.{number}", "obfs3")
recorder.close()
os.write(1, b"\\n")
sys.stdin.readline()
"""


def test_no_text_of_a_hash_is_left_in_freed_memory() -> None:
    """Each line is counted when the next one arrives, and its memory reused at once: only the last text or two stay."""
    with subprocess.Popen(
        [sys.executable, "-c", WIPED_PROCESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        secret = process.stdout.read(Secret.SIZE)
        assert process.stdout.readline() == b"\n"
        last = [bytes((198, 51, 100, number)) for number in range(150, 200)]
        texts = [hash_address(packed, secret).encode("ascii") for packed in last]
        found = found_in_memory(process.pid, texts)
        process.stdin.close()
        assert process.wait(10) == 0
    assert found <= 3


def found_in_memory(pid: int, needles: list[bytes]) -> int:
    """Count the needles that are anywhere in a process's memory."""
    contents = list(mapped(pid))
    return sum(any(needle in content for content in contents) for needle in needles)


def test_a_forked_child_counts_nothing_and_touches_nothing() -> None:
    """Its parent's pages are not mapped; it ends as any other process."""
    recorder, store = in_memory(MovedClock(), buffer=1)
    for number in range(5):
        recorder.record(f"192.0.2.{number}", "obfs3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os._exit(0 if store._intervals == {} else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert store.counts(START).requests == {"de": 4}
    recorder.close()


def test_no_file_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`Recorder.open(None)`: there is no log in any of the default folders."""
    monkeypatch.chdir(tmp_path)
    for variable in ("HOME", "XDG_STATE_HOME", "TMPDIR"):
        monkeypatch.setenv(variable, str(tmp_path))
    recorder = Recorder.open(None, clock=MovedClock())
    recorder.record("192.0.2.1", "obfs3")
    recorder.tick()
    recorder.reopen()
    recorder.close()
    assert list(tmp_path.iterdir()) == []
    assert isinstance(recorder.store, Aggregate)
