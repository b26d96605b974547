"""A publication that is killed, or that the disk refuses: the next one leaves the same files."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from obfstats.collect.archive.publishing import publish_until
from obfstats.collect.index import FileEntry, parse_index
from obfstats.collect.signing import SIGNATURE_SUFFIX, verify
from obfstats.lockedfile import LockedFile
from peers import disk
from tests.collect.collectors import DAY, NOW, document, open_collector

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
from tests.collect.collectors import Collector

LATER = NOW + 4 * DAY

_KILLED_PUBLICATION = """
import itertools, os, signal, sys
from pathlib import Path
from obfstats.lockedfile import LockedFile
from peers import disk
from tests.collect.collectors import open_collector

def checkpoint(numbers=itertools.count()):
    if next(numbers) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

with open_collector(Path(sys.argv[1]), sys.argv[2]) as collector:
    collector.restart(checkpoint)
    collector.publisher.publish(int(sys.argv[4]))
"""


class Killed(BaseException):
    """The program is gone: nothing handles that."""


class Countdown:
    """A checkpoint at which the program is killed once so many have passed."""

    def __init__(self, left: int) -> None:
        self.left = left

    def __call__(self) -> None:
        """Pass, or be killed."""
        if self.left == 0:
            raise Killed
        self.left -= 1


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """A collector with everything to do at LATER: files to write, to grow, to remove, and documents to take out."""
    folder = tmp_path / "before"
    with open_collector(folder, str(folder / "ledger.sqlite")) as collector:
        accepted = collector.accept(*(document(number, NOW - DAY) for number in range(4)))
        collector.publisher.publish(NOW)
        accepted += collector.accept(document(5, LATER - 2 * DAY), document(6, LATER - 2 * DAY))
        collector.publisher.publish(LATER - DAY)
        accepted += collector.accept(document(7, LATER - DAY), document(8, LATER - DAY))
        collector.publisher.publish(LATER - DAY + 3600)
        collector.accept(document(9, NOW - 3600), document(1, LATER - 7200))
        # Of a month alone, of a month and a recent file, of a recent file alone, and all of another recent file.
        for withdrawn in (0, 4, 6, 7):
            collector.ledger.withdraw(accepted[withdrawn].digest)
    return folder


def state_of(collector: Collector) -> tuple[dict[str, bytes], list[FileEntry]]:
    """Give all files, and the index without the files' times; check that all are signed, and none unfinished."""
    files = collector.files()
    for path, content in files.items():
        verify(content, (collector.public / (path + SIGNATURE_SUFFIX)).read_bytes(), collector.key.public)
    assert not list(collector.public.rglob(".*"))
    index = parse_index((collector.public / "index.json").read_bytes())
    return files, [entry._replace(last_modified=0) for entry in index.files]


def publish_copy(original: Path, copy: Path, countdown: int = -1) -> tuple[dict[str, bytes], list[FileEntry]]:
    """Publish a copy of a collector, after a publication that was killed where the countdown ends."""
    shutil.copytree(original, copy, symlinks=True)
    with open_collector(copy, str(copy / "ledger.sqlite")) as collector:
        if countdown >= 0:
            collector.restart(Countdown(countdown))
            with pytest.raises(Killed):
                collector.publisher.publish(LATER)
            collector.restart()
        collector.publisher.publish(LATER)
        return state_of(collector)


def test_a_publication_that_is_killed_anywhere_is_repeated_with_the_same_result(before: Path, tmp_path: Path) -> None:
    """Before each change on the disk, and within each file: the repetition leaves the same bytes, all signed."""
    counter = Countdown(-1)
    expected = publish_copy(before, tmp_path / "undisturbed")
    shutil.copytree(before, tmp_path / "counted", symlinks=True)
    with open_collector(tmp_path / "counted", str(tmp_path / "counted" / "ledger.sqlite")) as collector:
        collector.restart(counter)
        collector.publisher.publish(LATER)
    steps = -1 - counter.left
    assert steps > 100
    # Every fifth: all of them take half a minute, and had the same result.
    for step in range(0, steps, 5):
        copy = tmp_path / "killed"
        assert publish_copy(before, copy, step) == expected, f"killed at {step}"
        shutil.rmtree(copy)
    files, _ = expected
    assert list(files) == [
        "archive/obfsproxy-stats-2026-11.tar.xz",
        "archive/obfsproxy-stats-2026-12.tar.xz",
        "minisign.pub",
        "recent/obfsproxy-stats/2026-12-03-14-09-00-obfsproxy-stats",
        "recent/obfsproxy-stats/2026-12-03-14-09-00-obfsproxy-stats.signatures",
        "recent/obfsproxy-stats/2026-12-04-14-09-00-obfsproxy-stats",
        "recent/obfsproxy-stats/2026-12-04-14-09-00-obfsproxy-stats.signatures",
        "withdrawn",
    ]


@pytest.mark.parametrize("step", [7, 60, 110])
def test_a_publisher_that_the_kernel_kills_leaves_nothing_undone(before: Path, tmp_path: Path, step: int) -> None:
    """SIGKILL, with what the program had not handed to the kernel."""
    expected = publish_copy(before, tmp_path / "undisturbed")
    database = str(before / "ledger.sqlite")
    killed = subprocess.run(
        [sys.executable, "-c", _KILLED_PUBLICATION, before, database, str(step), str(LATER)], check=False, timeout=60
    )
    assert killed.returncode == -signal.SIGKILL
    with open_collector(before, database) as collector:
        collector.publisher.publish(LATER)
        assert state_of(collector) == expected


class MovedTime(threading.Event):
    """Time that passes only where the publisher waits; it stops the publisher when it has waited often enough."""

    def __init__(self, waits: int) -> None:
        super().__init__()
        self.moment = float(NOW)
        self.waits = waits
        self.on_wait: Callable[[], None] = lambda: None

    def wait(self, timeout: float | None = None) -> bool:
        """Let the time pass."""
        self.moment += timeout or 0
        self.waits -= 1
        if self.waits == 0:
            self.set()
        self.on_wait()
        return self.is_set()


class StopAfter(threading.Event):
    """Is set when it has been looked at so many times."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    def is_set(self) -> bool:
        """Count a look."""
        self.looks -= 1
        return self.looks < 0

    def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002 - no test waits
        """Be set."""
        self.looks = 0
        return True


def test_a_publication_that_is_stopped_leaves_no_lock_and_no_unfinished_file(before: Path, tmp_path: Path) -> None:
    """The end of the program is no error: nothing is reported, and the next start does the rest."""
    expected = publish_copy(before, tmp_path / "undisturbed")
    reports: list[str] = []
    with open_collector(before, str(before / "ledger.sqlite")) as collector:
        for looks in (0, 2, 10, 20):
            publish_until(StopAfter(looks), collector.publication, reports.append, lambda: LATER)
            assert not list(collector.public.rglob(".*"))
            assert parse_index((collector.public / "index.json").read_bytes()).created < LATER
        collector.publisher.publish(LATER)
        assert state_of(collector) == expected
    assert reports == []


def test_a_full_disk_is_reported_once_and_loses_nothing(tmp_path: Path) -> None:
    """The ledger has what the disk of the public files refuses; it is published when there is room."""
    reports: list[str] = []
    time = MovedTime(waits=4)
    with (
        disk.mount(tmp_path / "disk", 256 << 10) as small,
        open_collector(tmp_path / "disk" / "collector", str(tmp_path / "ledger.sqlite")) as collector,
    ):
        sent = [document(number, NOW - DAY) for number in range(20)]
        collector.accept(*sent)
        small.fill()

        def make_room() -> None:
            if time.waits == 1:
                small.clear()

        time.on_wait = make_room
        publish_until(time, collector.publication, reports.append, lambda: time.moment)
        assert collector.documents() == sorted(sent)
    assert reports == [
        "cannot publish, trying again: the public folder: No space left on device",
        "publishing works again",
    ]


def test_a_clock_that_is_set_back_does_not_stop_publishing(tmp_path: Path) -> None:
    """A machine may start with a clock that is years ahead; what is accepted after its correction is published."""
    time = MovedTime(waits=65)
    time.moment += 1000 * DAY
    reports: list[str] = []
    with open_collector(tmp_path / "collector", str(tmp_path / "ledger.sqlite")) as collector:

        def set_back() -> None:
            if time.waits == 63:
                time.moment = float(NOW)
                collector.accept(document(1, NOW - DAY))

        time.on_wait = set_back
        publish_until(time, collector.publication, reports.append, lambda: time.moment)
        assert "recent/obfsproxy-stats/2026-11-30-14-09-00-obfsproxy-stats" in collector.files()
    assert reports == []


def test_a_collector_waits_for_another_one_that_publishes(tmp_path: Path) -> None:
    """And then does its own publication of the same moment."""
    time = MovedTime(waits=4)
    reports: list[str] = []
    with open_collector(tmp_path / "collector", str(tmp_path / "ledger.sqlite")) as collector:
        collector.accept(document(1, NOW - DAY))
        held = LockedFile.open(tmp_path / "collector" / ".publishing", "lock", "")

        def release() -> None:
            if time.waits == 1:
                held.close()

        time.on_wait = release
        publish_until(time, collector.publication, reports.append, lambda: time.moment)
        assert collector.documents() == [document(1, NOW - DAY)]
        assert "recent/obfsproxy-stats/2026-11-30-14-09-00-obfsproxy-stats" in collector.files()
    assert reports == []
