"""Threads for what may take long."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from obfstats.bridge.threads import JobThread, start_workers
from peers import managed
from tests.proxy.visiting import wait_until


def refuse(_thread: threading.Thread) -> None:
    """Start no thread, as where the limit on processes is reached."""
    raise RuntimeError("can't start new thread")


def test_a_job_is_done_when_run_returns() -> None:
    """Where the disk answers, what was written can be read at once."""
    thread, done = JobThread("jobs"), list[int]()
    for number in range(100):
        thread.run(partial(done.append, number))
        assert done[-1] == number


def test_nothing_waits_for_a_job_that_hangs() -> None:
    """The first call a moment, further ones not at all; when it is done, the others follow in order."""
    thread, answer, done = JobThread("jobs"), threading.Event(), list[int]()

    def hang() -> None:
        answer.wait()

    began = time.monotonic()
    thread.run(hang)
    for number in range(1000):
        thread.run(partial(done.append, number))
    assert time.monotonic() - began < 5
    assert (done, thread.waiting) == ([], 1000)
    answer.set()
    thread.wait(10)
    assert done == list(range(1000))


def test_where_no_thread_can_be_started_that_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a limit on processes."""
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(OSError, match="no thread can be started"):
        JobThread("jobs")


def test_every_thread_runs_before_the_first_client_comes(tmp_path: Path) -> None:
    """One for each core, one for each log: none has to be started while clients are served."""
    options = (*managed.counting(tmp_path / "log"), "--log-file", str(tmp_path / "own"))
    with managed.server(tmp_path / "state", ("127.0.0.1", 9), argv=managed.ours(*options)) as bridge:
        tasks = Path(f"/proc/{bridge.child.pid}/task")
        expected = 1 + len(os.sched_getaffinity(0)) + 2
        assert wait_until(lambda: len(list(tasks.iterdir())) == expected)


def test_an_executor_whose_threads_are_started_needs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit on processes is reached later: its jobs run all the same."""
    with ThreadPoolExecutor(4) as executor:
        start_workers(executor, 4)
        monkeypatch.setattr(threading.Thread, "start", refuse)
        assert [executor.submit(pow, 2, number).result(10) for number in range(10)] == [
            1, 2, 4, 8, 16, 32, 64, 128, 256, 512,
        ]  # fmt: skip


def test_an_executor_whose_threads_cannot_be_started_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing waits for those that could be."""
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with ThreadPoolExecutor(4) as executor, pytest.raises(OSError, match="not all threads can be started"):
        start_workers(executor, 4)
