"""What the program inherits through the wrap, and what it does not: streams, descriptors, signals, limits."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from peers import extended, managed, wrapped
from peers.wrapped import Reader
from tests.wrap.running import QUIET, SHELL, environment, run

if TYPE_CHECKING:
    from pathlib import Path


def reading(folder: Path, *program: str) -> Reader:
    """Start a program in the wrap, with a tor that reads its output unchanged."""
    return Reader(environment(folder), wrapped.argv(*QUIET, program=program))


def test_standard_input_and_standard_error_are_tors_own_ends(tmp_path: Path) -> None:
    """The same pipes; standard output is the wrap's."""
    with reading(tmp_path, SHELL, "-c", "stat -L -c %i /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2; read line") as tor:
        given, said, complained = (int(line) for line in tor.lines(3))
        pipes = tor.process.stdin, tor.process.stdout, tor.process.stderr
        ends = [os.fstat(pipe.fileno()).st_ino for pipe in pipes if pipe is not None]
    assert (given, complained) == (ends[0], ends[2])
    assert said != ends[1]


def test_no_other_descriptor_is_open_in_it(tmp_path: Path) -> None:
    """Neither the listener, nor the statistics log, nor anything of tor's."""
    reading_end, writing_end = os.pipe()
    try:
        options = ["--no-log", *managed.counting(tmp_path / "log")]
        command = wrapped.argv(*options, program=[SHELL, "-c", "ls /proc/$$/fd; true"])
        said = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=30,
            env={**os.environ, **environment(tmp_path)},
            pass_fds=[reading_end, writing_end],
        )
    finally:
        os.close(reading_end)
        os.close(writing_end)
    assert said.stdout.split() == [b"0", b"1", b"2"]


def test_where_standard_streams_are_closed_something_is_in_their_place(tmp_path: Path) -> None:
    """No socket of the program may become its standard error."""
    under = (SHELL, "-c", 'exec "$@" <&- 2>&-', "sh")
    assert run(tmp_path, SHELL, "-c", "ls /proc/$$/fd; true", under=under).stdout.split() == [b"0", b"1", b"2"]


def test_what_tor_says_reaches_the_program_and_its_end_ends_it(tmp_path: Path) -> None:
    """The wrap does not read standard input."""
    with reading(tmp_path, "/bin/cat") as tor:
        assert tor.process.stdin is not None
        for line in (b"one\n", b"two\n"):
            tor.process.stdin.write(line)
            assert tor.lines(1) == [line]
        tor.process.stdin.close()
        tor.process.stdin = None
        assert tor.end() == (0, "")


def test_the_end_of_standard_input_ends_a_transport_and_its_wrap(tmp_path: Path) -> None:
    """Tor has ended: status 0, and nothing is left."""
    with extended.orport(tmp_path) as tor, wrapped.server(tmp_path, tor, "--no-stats") as bridge:
        bridge.child.close_stdin()
        assert bridge.child.wait() == 0
        assert bridge.folders() == []


def test_the_end_of_standard_input_means_nothing_to_the_wrap_itself(tmp_path: Path) -> None:
    """A program that runs on is not ended."""
    with extended.orport(tmp_path) as tor:
        environment = {"TOR_PT_EXIT_ON_STDIN_CLOSE": "0"}
        with wrapped.server(tmp_path, tor, "--no-stats", environment=environment) as bridge:
            bridge.child.close_stdin()
            bridge.entrance.enter("192.0.2.7:5678").close()
            assert bridge.child.is_running


@pytest.mark.parametrize("under", [("env", "--default-signal"), ("env", "--ignore-signal=PIPE")])
def test_signals_mean_to_it_what_they_mean_by_default(tmp_path: Path, under: tuple[str, ...]) -> None:
    """The wrap and tor ignore SIGPIPE; the program does not."""
    program = ("/bin/grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status")
    assert run(tmp_path, *program, under=under).stdout.split() == [b"SigBlk:", b"0" * 16, b"SigIgn:", b"0" * 16]


def test_limits_and_umask_are_as_tor_set_them(tmp_path: Path) -> None:
    """The wrap raises only its own limit on descriptors."""
    # The wrap leaves no core, and its program may do without one as well.
    script = "umask; { ulimit -a; ulimit -H -a; } | grep -v core"
    alone = subprocess.run([SHELL, "-c", script], capture_output=True, check=True)
    assert run(tmp_path, SHELL, "-c", script).stdout == alone.stdout


def test_it_complains_where_tor_hears_it(tmp_path: Path) -> None:
    """Bytes pass unchanged, also an unfinished line."""
    result = run(tmp_path, SHELL, "-c", r"printf 'one\ntw\377' >&2")
    assert (result.stderr, result.stdout) == (b"one\ntw\xff", b"")
