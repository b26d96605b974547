"""If tor asks for no server, the wrap only executes the program."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from peers import managed, obfs4proxy, wrapped
from peers.child import START_SECONDS
from peers.missing import need
from peers.processes import command_line
from peers.program import OBFSTATS

if TYPE_CHECKING:
    from collections.abc import Sequence

SHELL = "/bin/sh"

ITSELF = "cat /proc/$$/cmdline /proc/$$/environ; umask; ulimit -a; true"
"""Has a shell tell what it was started with."""

# Not every shell that starts the tests leaves the signals as they are by default.
WITH_DEFAULTS = ("env", "--default-signal")

BY_HAND: dict[str, str] = {}
BY_TOR = managed.client_environment(Path("/nowhere/pt_state"), ["obfs4"])


def run(
    command: Sequence[str | bytes], environment: dict[str, str], given: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end."""
    told = {
        b"PATH": os.environb[b"PATH"],
        b"ODD": b"\xff=\n",
        **{key.encode(): environment[key].encode() for key in environment},
    }
    return subprocess.run(command, input=given, capture_output=True, timeout=START_SECONDS, check=False, env=told)


def in_wrap(*program: str | bytes, options: Sequence[str] = ()) -> list[str | bytes]:
    """Return a command line that runs a command in the wrap."""
    return [OBFSTATS, "wrap", *options, "--", *program]


@pytest.mark.parametrize("environment", [BY_HAND, BY_TOR], ids=["by hand", "a client's tor"])
def test_the_program_is_started_as_if_there_were_no_wrap(environment: dict[str, str]) -> None:
    """Arguments, variables, umask and limits, also those that are not UTF-8."""
    program: list[str | bytes] = [SHELL, "-c", ITSELF, "name", "a b", "", "--", "--stats-log", b"\xff"]
    alone, through = run(program, environment), run(in_wrap(*program), environment)
    assert b"\0a b\0\0--\0--stats-log\0\xff\0" in alone.stdout
    assert through.stdout == alone.stdout
    assert through.stderr == b""


def test_a_locale_that_python_does_not_like_is_left_alone() -> None:
    """Python sets LC_CTYPE for itself in the C locale; the program does not get that."""
    program = [SHELL, "-c", ITSELF]
    alone = run(program, {"LANG": "C"})
    assert b"LC_CTYPE" not in alone.stdout
    assert run(in_wrap(*program), {"LANG": "C"}).stdout == alone.stdout


def test_it_has_the_process_id_of_the_wrap() -> None:
    """Tor signals and waits for that process."""
    with subprocess.Popen(in_wrap(SHELL, "-c", "echo $$"), stdout=subprocess.PIPE) as process:
        said, _ = process.communicate(timeout=START_SECONDS)
    assert int(said) == process.pid


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", -15)])
def test_its_end_is_the_end(script: str, status: int) -> None:
    """With its exit status or signal."""
    assert run(in_wrap(SHELL, "-c", script), BY_TOR).returncode == status


def test_signals_mean_to_it_what_they_mean_by_default() -> None:
    """Python ignores SIGPIPE and handles SIGINT; the program does not."""
    program = ["/bin/grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"]
    said = run([*WITH_DEFAULTS, *in_wrap(*program)], BY_TOR).stdout
    assert said.split() == [b"SigBlk:", b"0" * 16, b"SigIgn:", b"0" * 16]


def test_its_standard_streams_are_its_own() -> None:
    """An unfinished line passes as well, because nothing reads the streams on the way."""
    given = os.urandom(1 << 20)
    assert run(in_wrap("/bin/cat"), BY_TOR, given).stdout == given


def test_nothing_is_counted_and_nothing_is_made(tmp_path: Path) -> None:
    """Options for servers have no effect on a client, whose torrc may have the same line."""
    options = [
        "--stats-log",
        str(tmp_path / "log"),
        "--log-file",
        str(tmp_path / "said"),
        "--data-dir",
        str(tmp_path / "d"),
    ]
    environment = managed.client_environment(tmp_path / "pt_state", ["obfs4"])
    result = run(in_wrap(SHELL, "-c", "echo fine", options=options), environment)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"fine\n", b"")
    assert list(tmp_path.iterdir()) == []


def test_debians_obfs4proxy_serves_a_client(tmp_path: Path) -> None:
    """It announces its methods itself, as the process that tor has started."""
    need(obfs4proxy.PACKAGE, obfs4proxy.PROGRAM)
    program = shutil.which(obfs4proxy.PROGRAM) or ""
    argv = wrapped.argv(program=[program])
    with managed.client(tmp_path, argv=argv, transports=["obfs3", "obfs4"]) as proxy:
        assert proxy.methods.keys() == {"obfs3", "obfs4"}
        assert command_line(proxy.child.pid) == program
        assert proxy.child.stdout.startswith("VERSION 1\n")
