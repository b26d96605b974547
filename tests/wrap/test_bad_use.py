"""Mistakes of the operator or of tor: one line that says what is wrong, an exit status, and no program is started."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from peers import extended, managed, wrapped
from peers.child import START_SECONDS
from peers.program import OBFSTATS
from tests.bridge.unusable import unusable_logs
from tests.proxy.honest import Visitors
from tests.wrap.running import SHELL, environment, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

TRUE = "/bin/true"


def run_command(*command: str, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with these variables besides those of this process."""
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
        env={**os.environ, **variables},
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "PROGRAM"),
        (["--"], "PROGRAM"),
        (["--no-stats", "--"], "PROGRAM"),
        (["--no-stats", TRUE], TRUE),
        (["--stats-buffer", "0", "--", TRUE], "'0' is not a number from 1"),
        (["--stats-columns", "address", "--", TRUE], "'address' is no column; there are transport and family"),
        (["--max-connections", "-1", "--", TRUE], "--max-connections"),
        (["--log-min-severity", "loud", "--", TRUE], "'loud' is no severity"),
        (["--nonsense", "--", TRUE], "--nonsense"),
        (["--dest", "127.0.0.1:9", "--", TRUE], "--dest"),
        (["--shared-secret", "hunter2", "--", TRUE], "--shared-secret"),
        (["managed", "--", TRUE], "managed"),
    ],
)
@pytest.mark.parametrize("told", [True, False], ids=["server", "client"])
def test_a_mistake_on_the_command_line_is_one_line(
    tmp_path: Path, arguments: list[str], sentence: str, *, told: bool
) -> None:
    """Status 2, the sentence on standard error and, as the specification's error line, to tor; nothing created."""
    result = run_command(OBFSTATS, "wrap", *arguments, variables=environment(tmp_path) if told else {})
    assert (result.returncode, result.stdout) == (2, f"ENV-ERROR {result.stderr}" if told else "")
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("obfstats")
    assert sentence in result.stderr
    assert "hunter2" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_is_for_people() -> None:
    """It has a line for torrc, and every option of wrap."""
    said = subprocess.run([OBFSTATS, "wrap", "--help"], capture_output=True, text=True, check=True).stdout
    assert "-- PROGRAM" in said
    options = ["--stats-log", "--no-stats", "--stats-buffer", "--stats-columns", "--geoip", "--geoip6", "--data-dir"]
    options += ["--log-file", "--log-min-severity", "--no-log", "--no-safe-logging", "--max-connections"]
    options += ["--max-per-network"]
    assert [option for option in options if option not in said] == []


def _missing(path: Path) -> None:
    pass


def _folder(path: Path) -> None:
    path.mkdir()


def _not_executable(path: Path) -> None:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o644)


def _no_program(path: Path) -> None:
    path.write_bytes(b"\x7fELF nothing")
    path.chmod(0o755)


def _lost_interpreter(path: Path) -> None:
    path.write_text("#!/none/sh\n")
    path.chmod(0o755)


AS_SERVER: dict[str, str | None] = {}
AS_CLIENT: dict[str, str | None] = {"TOR_PT_SERVER_TRANSPORTS": None, "TOR_PT_CLIENT_TRANSPORTS": wrapped.NAME}


@pytest.mark.parametrize("make", [_missing, _folder, _not_executable, _no_program, _lost_interpreter])
@pytest.mark.parametrize("told", [AS_SERVER, AS_CLIENT], ids=["server", "client"])
def test_a_program_that_cannot_be_started_is_told(
    tmp_path: Path, make: Callable[[Path], None], told: Mapping[str, str | None]
) -> None:
    """The specification's error line, a line on standard error, status 2; no folder is left."""
    program = tmp_path / "program"
    make(program)
    result = run(tmp_path, str(program), told=told)
    assert result.returncode == 2
    (line,) = result.stdout.decode("ascii").splitlines()
    assert line.startswith("ENV-ERROR ")
    assert str(program) in line
    (complaint,) = result.stderr.decode().splitlines()
    assert complaint.startswith("obfstats wrap: ")
    assert str(program) in complaint
    assert wrapped.folders(tmp_path / "pt_state") == []


BROKEN = [
    ({"TOR_PT_STATE_LOCATION": None}, "TOR_PT_STATE_LOCATION"),
    ({"TOR_PT_STATE_LOCATION": ""}, "TOR_PT_STATE_LOCATION is not set"),
    ({"TOR_PT_ORPORT": None}, "TOR_PT_ORPORT"),
    ({"TOR_PT_ORPORT": "localhost:9001"}, "TOR_PT_ORPORT"),
    ({"TOR_PT_EXTENDED_SERVER_PORT": "127.0.0.1:9"}, "TOR_PT_AUTH_COOKIE_FILE"),
    ({"TOR_PT_EXTENDED_SERVER_PORT": "nonsense", "TOR_PT_AUTH_COOKIE_FILE": "/nowhere"}, "TOR_PT_EXTENDED_SERVER_PORT"),
    ({"TOR_PT_SERVER_TRANSPORTS": "obfs4,,obfs3"}, "TOR_PT_SERVER_TRANSPORTS"),
]


@pytest.mark.parametrize(("change", "what"), BROKEN, ids=[str(number) for number in range(len(BROKEN))])
def test_a_broken_environment_is_one_error_line(tmp_path: Path, change: Mapping[str, str | None], what: str) -> None:
    """The specification's, with status 1; the program is not started, and nothing changed on disk."""
    result = run(tmp_path, SHELL, "-c", 'touch "$0"', str(tmp_path / "started"), told=change)
    assert result.returncode == 1
    *before, error = result.stdout.decode("ascii").splitlines()
    assert before in ([], ["VERSION 1"])
    assert error.startswith("ENV-ERROR ")
    assert what in error
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    """Tor hears of it before the program is started."""
    started = tmp_path / "started"
    result = run(tmp_path, SHELL, "-c", 'touch "$0"', str(started), options=("--log-file", "/none/log"))
    assert result.returncode == 2
    assert result.stdout.startswith(b"ENV-ERROR obfstats wrap: cannot open the log /none/log: No such file")
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_does_not_exist_is_told(tmp_path: Path) -> None:
    """A slip in torrc before the word wrap matters."""
    result = run_command(OBFSTATS, "warp", "--", TRUE, variables=environment(tmp_path))
    assert result.returncode == 2
    assert result.stdout.startswith("ENV-ERROR obfstats: argument COMMAND: choose from ")


def test_a_library_that_is_missing_is_told(tmp_path: Path) -> None:
    """After an upgrade of the system's Python, for instance."""
    without = "import sys; sys.modules['cryptography'] = None; from obfstats.cli import main; sys.exit(main())"
    result = run_command(sys.executable, "-c", without, "wrap", "--", TRUE, variables=environment(tmp_path))
    assert result.returncode == 2
    assert result.stderr == (
        "obfstats wrap: the library cryptography is not installed; install obfstats, or Debian's python3-cryptography\n"
    )
    assert result.stdout == f"ENV-ERROR {result.stderr}"


def test_a_state_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """There is a file with its name: tor's log says so."""
    (tmp_path / "file").touch()
    told = {"TOR_PT_STATE_LOCATION": str(tmp_path / "file" / "pt_state")}
    result = run(tmp_path, SHELL, "-c", 'touch "$0"', str(tmp_path / "started"), told=told)
    assert result.returncode in {1, 2}
    assert b"Not a directory" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@unusable_logs
def test_where_statistics_cannot_be_kept_no_transport_is_served(
    tmp_path: Path, make: Callable[[Path], None], sentence: str
) -> None:
    """An error line for each, status 1; the program is not started."""
    state = tmp_path / "pt_state"
    state.mkdir(mode=0o700)
    make(state / "clients.log")
    told = environment(tmp_path, "obfs4", "webtunnel")
    options = managed.countries(tmp_path)
    started = tmp_path / "started"
    result = run(tmp_path, SHELL, "-c", 'touch "$0"', str(started), options=options, told=told)
    first, *errors, last = result.stdout.decode("ascii").splitlines()
    assert (result.returncode, first, last) == (1, "VERSION 1", "SMETHODS DONE")
    assert [error.split()[:2] for error in errors] == [["SMETHOD-ERROR", "obfs4"], ["SMETHOD-ERROR", "webtunnel"]]
    assert all(sentence in error for error in errors)
    assert not started.exists()
    assert [path.name for path in state.iterdir()] == ["clients.log"]


def test_a_second_wrap_does_not_get_the_first_ones_log(tmp_path: Path) -> None:
    """Both are given the same log: the second one's tor is told, the first one continues."""
    options = managed.counting(tmp_path / "log")
    with extended.orport(tmp_path) as tor, wrapped.server(tmp_path, tor, *options) as first:
        result = run(tmp_path, TRUE, options=options)
        assert result.returncode == 1
        assert b"is in use by another program; give each its own with --stats-log" in result.stdout
        Visitors(first.methods[wrapped.NAME], "dummy").visit()
        assert first.folders() == [first.entrance.cookie_file.parent]
