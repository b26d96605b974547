"""The program's lines to tor: unchanged, whole and in order, with the wrap's lines between them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peers import extended, managed, wrapped
from peers.child import is_readable
from peers.wrapped import Reader, StandInControl
from tests.proxy.visiting import wait_until
from tests.wrap.running import QUIET, SHELL, environment, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LINES = st.lists(st.binary(max_size=120).map(lambda data: data.replace(b"\n", b"")), min_size=1, max_size=12)

A_LOG_LINE = rb'LOG SEVERITY=(error|warning|notice) MESSAGE="[^"]*"\n'
"""The wrap's own."""


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Reader, StandInControl]]:
    """A tor that reads the output unchanged, and a program that writes what the test wants."""
    folder = tmp_path_factory.mktemp("speaker")
    control = folder / "control"
    command = wrapped.argv(*QUIET, program=[*wrapped.STAND_IN, "--control", str(control)])
    with Reader(environment(folder), command) as tor:
        tor.lines(3)
        yield tor, StandInControl(control)


@given(lines=_LINES, cuts=st.lists(st.integers(1, 200), max_size=4))
@settings(max_examples=60)
def test_lines_pass_unchanged_and_in_order(
    speaker: tuple[Reader, StandInControl], lines: list[bytes], cuts: list[int]
) -> None:
    """Any bytes, written in any pieces."""
    tor, program = speaker
    left = b"".join(line + b"\n" for line in lines)
    for cut in cuts:
        program.write(left[:cut])
        left = left[cut:]
    program.write(left)
    assert tor.lines(len(lines)) == [line + b"\n" for line in lines]


def test_what_tor_publishes_with_a_transport_passes(tmp_path: Path) -> None:
    """A bridge line's arguments follow after the program's own address."""
    arguments = r"cert=a\,b\=c,iat-mode=0"
    with (
        extended.orport(tmp_path) as tor,
        wrapped.server(tmp_path, tor, "--no-stats", program=["--arguments", arguments]) as bridge,
    ):
        host, port = bridge.methods[wrapped.NAME]
        assert f"SMETHOD {wrapped.NAME} {host}:{port} ARGS:{arguments}" in bridge.said()


@pytest.mark.parametrize("length", [4095, 4096, 65_536, 100 << 10, 1 << 20])
def test_a_line_may_be_long(tmp_path: Path, length: int) -> None:
    """Longer than a pipe holds."""
    line = b"STATUS TRANSPORT=obfs4 " + b"x" * length + b"\n"
    (tmp_path / "said").write_bytes(b"VERSION 1\n" + line + b"LOG\n")
    assert run(tmp_path, "/bin/cat", str(tmp_path / "said")).stdout == b"VERSION 1\n" + line + b"LOG\n"


@pytest.mark.parametrize("torn", [b"LOG SEVERITY=notice MESS", b"\xff", b"x" * 100_000])
def test_a_last_line_without_its_end_is_dropped(tmp_path: Path, torn: bytes) -> None:
    """Tor would not read it either, and no other line may be joined to it."""
    (tmp_path / "said").write_bytes(b"VERSION 1\r\n\0\n" + torn)
    assert run(tmp_path, "/bin/cat", str(tmp_path / "said")).stdout == b"VERSION 1\r\n\0\n"


def test_all_that_was_said_before_the_end_arrives(tmp_path: Path) -> None:
    """Megabytes, from a program that ends right after them."""
    said = b"".join(b"LOG SEVERITY=debug MESSAGE=%d\n" % number for number in range(60_000))
    (tmp_path / "said").write_bytes(said)
    assert run(tmp_path, "/bin/cat", str(tmp_path / "said")).stdout == said


def test_the_wrap_says_nothing_before_the_program_does(tmp_path: Path) -> None:
    """It has lines from its start on, but tor expects VERSION first."""
    said = tmp_path / "own"
    options = ["--log-file", str(said), *managed.counting(tmp_path / "log")]
    with Reader(environment(tmp_path), wrapped.argv(*options, program=["/bin/cat"])) as tor:
        assert tor.process.stdin is not None
        assert tor.process.stdout is not None
        assert wait_until(lambda: said.exists() and "statistics go to" in said.read_text())
        assert not is_readable(tor.process.stdout.fileno(), 0.1)
        tor.process.stdin.write(b"VERSION 1\n")
        first, second = tor.lines(2)
        assert first == b"VERSION 1\n"
        assert re.fullmatch(A_LOG_LINE, second)
        tor.process.stdin.close()
        tor.process.stdin = None
        assert b"statistics go to" in second + tor.rest()


def test_with_a_program_that_says_nothing_tor_hears_nothing(tmp_path: Path) -> None:
    """Not even the wrap's lines."""
    options = managed.counting(tmp_path / "log")
    assert run(tmp_path, SHELL, "-c", "exit 0", options=options).stdout == b""


def test_standard_output_may_be_a_file(tmp_path: Path) -> None:
    """For an operator who wants to read it."""
    said = tmp_path / "said"
    command = wrapped.argv(*QUIET, program=[SHELL, "-c", "echo VERSION 1; echo SMETHODS DONE"])
    with said.open("wb") as file:
        subprocess.run(command, stdout=file, check=True, timeout=30, env={**os.environ, **environment(tmp_path)})
    assert said.read_bytes() == b"VERSION 1\nSMETHODS DONE\n"


def test_what_a_slow_tor_has_not_read_at_the_end_waits_for_it(tmp_path: Path) -> None:
    """The program has ended and has written more than a pipe holds; tor reads all of it, and no line is torn."""
    said = b"".join(b"LOG SEVERITY=notice MESSAGE=%06d\n" % number for number in range(4000))
    (tmp_path / "said").write_bytes(said)
    script = 'cat "$0"; touch "$1"'
    program = [SHELL, "-c", script, str(tmp_path / "said"), str(tmp_path / "gone")]
    with Reader(environment(tmp_path), wrapped.argv(*QUIET, program=program)) as tor:
        assert wait_until((tmp_path / "gone").exists)
        assert tor.rest() == said


def test_the_wraps_own_lines_come_between_lines(tmp_path: Path) -> None:
    """The program has an unfinished line each time the wrap writes one."""
    options = managed.counting(tmp_path / "log")
    with (
        extended.orport(tmp_path) as tor,
        wrapped.server(tmp_path, tor, *options, under=wrapped.IGNORING_SIGHUP) as bridge,
    ):
        before = len(bridge.said())
        expected = []
        for number in range(5):
            first, second = f'LOG SEVERITY=notice MESSAGE="{number}', '"'
            expected.append(first + second)
            bridge.program.write(first.encode())
            bridge.child.send_signal(signal.SIGHUP)
            # What goes to tor may have to wait for the line's end, so it cannot be waited for in between.
            bridge.program.write(f"{second}\n".encode())
            bridge.child.wait_for_line("stdout", f"^{first}{second}$")
        assert wait_until(lambda: sum("from the next interval on" in line for line in bridge.said()) >= 1)
        bridge.child.stop()
    said = bridge.said()[before:]
    assert [line for line in said if line in expected] == expected
    others = [line for line in said if line not in expected]
    assert all(re.fullmatch(A_LOG_LINE.decode(), f"{line}\n") for line in others)
    assert any("from the next interval on" in line for line in others)
