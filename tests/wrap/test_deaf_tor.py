"""A tor that does not read standard output, for a while or ever: no line is lost, and clients notice nothing."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from peers import extended, managed, wrapped
from peers.destinations import TIMEOUT
from peers.wrapped import NAME, Reader, StandInControl
from tests.proxy.honest import Visitors, countries
from tests.proxy.visiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LINES = [b'LOG SEVERITY=notice MESSAGE="%06d%s"\n' % (number, b"." * 200) for number in range(5000)]
"""A megabyte: more than pipes hold."""


class Deaf(NamedTuple):
    """A bridge whose tor reads only when the test asks for it.

    Attributes:
        reader: that tor.
        program: the stand-in.
        visitors: its clients.
        log: its statistics log.
        said: the wrap's own log.
    """

    reader: Reader
    program: StandInControl
    visitors: Visitors
    log: Path
    said: Path


@contextlib.contextmanager
def deaf(folder: Path) -> Iterator[Deaf]:
    """Run a wrap with a stand-in that ignores SIGHUP, and read up to DONE."""
    control, log, said = folder / "control", folder / "log", folder / "said"
    program = [*wrapped.IGNORING_SIGHUP, *wrapped.STAND_IN, "--control", str(control)]
    with extended.orport(folder) as tor:
        environment = managed.server_environment(folder / "pt_state", tor, transports=[NAME])
        command = wrapped.argv("--log-file", str(said), *managed.counting(log), program=program)
        with Reader(environment, command) as reader:
            lines = [b""]
            while lines[-1] != b"SMETHODS DONE\n":
                lines += reader.lines(1)
            (method,) = (line for line in lines if line.startswith(b"SMETHOD "))
            address = "127.0.0.1", int(method.split()[2].rpartition(b":")[2])
            yield Deaf(reader, StandInControl(control), Visitors(address, "dummy"), log, said)


def has_read_countries_again(bridge: Deaf) -> bool:
    """Return whether the wrap has logged a line of its own, at least in its file."""
    return "from the next interval on" in bridge.said.read_text()


def test_no_line_is_lost_and_nobody_waits(tmp_path: Path) -> None:
    """The program writes more than a pipe holds, and the wrap its own lines; clients are served and counted."""
    with deaf(tmp_path) as bridge:
        bridge.visitors.visit()
        speaker = threading.Thread(target=bridge.program.write, args=(b"".join(LINES),))
        speaker.start()
        bridge.visitors.visit(5)
        bridge.reader.process.send_signal(signal.SIGHUP)
        assert wait_until(lambda: has_read_countries_again(bridge))
        bridge.visitors.visit(5, "tr")
        assert countries(bridge.log) == bridge.visitors.expected_lines()
        said: list[bytes] = []
        while not said or said[-1] != LINES[-1]:
            said += bridge.reader.lines(1)
        speaker.join(TIMEOUT)
        assert [line for line in said if line in set(LINES)] == LINES
        assert all(line.startswith((b"LOG ", b"STATUS ")) for line in said)


def test_it_ends_in_time_all_the_same(tmp_path: Path) -> None:
    """On SIGTERM with standard output full."""
    with deaf(tmp_path) as bridge:
        speaker = threading.Thread(target=speak, args=(bridge.program,))
        speaker.start()
        bridge.visitors.visit(2)
        asked = time.monotonic()
        bridge.reader.process.terminate()
        assert bridge.reader.process.wait(TIMEOUT) == 0
        assert time.monotonic() - asked < 3
        speaker.join(TIMEOUT)
        assert wrapped.folders(tmp_path / "pt_state") == []


def speak(program: StandInControl) -> None:
    """Have the program write its lines, unless it ends before."""
    with contextlib.suppress(OSError, ValueError):
        program.write(b"".join(LINES))


def test_a_tor_that_has_closed_its_end_is_no_reason_to_end(tmp_path: Path) -> None:
    """Wrap and program run on; clients are served and counted."""
    with deaf(tmp_path) as bridge:
        assert bridge.reader.process.stdout is not None
        bridge.reader.process.stdout.close()
        bridge.reader.process.stdout = None
        for _ in range(3):
            speak(bridge.program)
            bridge.reader.process.send_signal(signal.SIGHUP)
            bridge.visitors.visit(2)
        assert wait_until(lambda: has_read_countries_again(bridge))
        bridge.visitors.visit()
        assert countries(bridge.log) == bridge.visitors.expected_lines()
        bridge.reader.process.terminate()
        assert bridge.reader.process.wait(TIMEOUT) == 0


def test_a_program_that_has_closed_its_end_goes_on(tmp_path: Path) -> None:
    """The end of its standard output is not its end."""
    with deaf(tmp_path) as bridge:
        bridge.program.close_stdout()
        bridge.visitors.visit(3)
        assert bridge.reader.process.poll() is None
        assert countries(bridge.log) == bridge.visitors.expected_lines()
