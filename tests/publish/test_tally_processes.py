"""Work that is done in copies of a process: what they give, and what is left when they cannot."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from obfstats.publish.tally.processes import in_processes, may_fork

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Advance = Callable[[int], None]

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    """No open file and no process is left, whatever happened."""
    before = sorted(one.name for one in Path("/proc/self/fd").iterdir())
    children = _children()
    yield
    assert sorted(one.name for one in Path("/proc/self/fd").iterdir()) == before
    assert _children() == children


def _children() -> str:
    return Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text()


def counting(advance: Advance) -> int:
    """Say three numbers, and give where this was done."""
    for number in (1, 1 << 40, -3):
        advance(number)
    return os.getpid()


def failing(advance: Advance) -> int:
    """Raise what must be seen nowhere."""
    advance(1)
    raise ValueError("192.0.2.77")


def killed(_: Advance) -> int:
    """Go without a word."""
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def waiting(advance: Advance) -> int:
    """Never come to an end."""
    advance(1)
    signal.pause()
    return 0


def test_results_come_in_order_and_numbers_add_up() -> None:
    """Each work is done in a process of its own, at the same time."""
    said: list[int] = []
    results = in_processes([counting, lambda advance: counting(advance) and 7], said.append)
    assert results is not None
    assert results[0] != os.getpid()
    assert results[1] == 7
    assert sorted(said) == [-3, -3, 1, 1, 1 << 40, 1 << 40]


@pytest.mark.parametrize("work", [failing, killed])
def test_a_copy_that_fails_says_nothing(work: Callable[[Advance], int], capfd: pytest.CaptureFixture[str]) -> None:
    """The original does the work once more and sees for itself; no trace of the error is printed."""
    assert in_processes([counting, work], lambda _: None) is None
    assert capfd.readouterr() == ("", "")


def test_whoever_interrupts_the_original_ends_the_copies() -> None:
    """Control-C while both are at work."""

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_processes([waiting, waiting], interrupt)


ORPHANS = """
import os, signal
from obfstats.publish.tally.processes import in_processes
def talk(advance):
    while True:
        advance(1)
in_processes([talk, talk], lambda _: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_copies_do_not_outlive_the_original() -> None:
    """They hold its standard output: as long as one is there, that does not end."""
    program = subprocess.run([sys.executable, "-c", ORPHANS], capture_output=True, check=False, timeout=60)
    assert (program.returncode, program.stdout, program.stderr) == (-signal.SIGKILL, b"", b"")


def test_a_process_with_a_thread_is_not_copied() -> None:
    """What the thread holds at that moment would be held for ever."""
    go = threading.Event()
    thread = threading.Thread(target=go.wait)
    thread.start()
    try:
        assert not may_fork()
    finally:
        go.set()
        thread.join()
