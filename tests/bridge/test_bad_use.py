"""Mistakes of the operator: one line that says what is wrong and what to do, exit status 2, nothing changed on disk."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import pytest

from obfstats.bridge.obfsproxy import main
from peers import managed
from peers.program import ARGV
from tests.bridge.unusable import unusable_logs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

# The program as it is for a user without a home: become one once everything is loaded, since ours may be root's alone.
AS_SOMEBODY = (
    sys.executable,
    "-c",
    "import encodings.idna, os, sys; from obfstats.bridge.obfsproxy import main; "  # noqa: ISC003
    + "os.setgid(54321); os.setuid(54321); sys.exit(main())",
)

SERVE = ["obfs3", "--dest", "127.0.0.1:9001", "server", "127.0.0.1:0"]


def run(*arguments: str, home: Path | None, program: Sequence[str] = ARGV) -> subprocess.CompletedProcess[str]:
    """Run the program to its end, with a home of the test's own or none."""
    environment = {"PATH": "/usr/bin:/bin"} | ({} if home is None else {"HOME": str(home)})
    return subprocess.run(
        [*program, *arguments], capture_output=True, text=True, timeout=30, check=False, env=environment
    )


def tree(folder: Path) -> list[tuple[str, int, int]]:
    """Every file below a folder, with its mode and size."""
    return [(str(path), path.lstat().st_mode, path.lstat().st_size) for path in sorted(folder.rglob("*"))]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "name a transport"),
        (["obfs9", *SERVE[1:]], "choose from 'managed', 'dummy', 'obfs2', 'obfs3';"),
        (["obfs3", "server", "127.0.0.1:0"], "--dest"),
        (["obfs3", "--dest", "127.0.0.1", "server", "127.0.0.1:0"], "'127.0.0.1' is not HOST:PORT"),
        (["obfs3", "--dest", "::1:9001", "server", "127.0.0.1:0"], "[::1]:9001"),
        (["obfs3", "--dest", "127.0.0.1:99999", "server", "127.0.0.1:0"], "is not HOST:PORT"),
        (["obfs3", "--dest", "127.0.0.1:0", "server", "127.0.0.1:0"], "names no port"),
        (["obfs3", "--dest", "a..b:80", "server", "127.0.0.1:0"], "no such host as a..b"),
        (["obfs3", "--dest", f"{'a' * 64}:80", "server", "127.0.0.1:0"], "not a host's name"),
        (["obfs3", "--dest", "127.0.0.1:9001", "server", "a..b:80"], "cannot listen on a..b:80"),
        (["obfs3", "--dest", "127.0.0.1:9001", "server", "nonsense"], "is not HOST:PORT"),
        (["obfs3", "--dest", "127.0.0.1:9001", "server", "192.0.2.1:0"], "cannot listen on 192.0.2.1:0"),
        (
            ["obfs3", "--dest", "127.0.0.1:9001", "relay", "127.0.0.1:0"],
            "argument role: choose from 'server', 'ext_server'",
        ),
        (["obfs3", "--shared-secret", "x", *SERVE[1:]], "shared-secret"),
        (["obfs2", "--shared-secret", "", *SERVE[1:]], "shared-secret"),
        (["--stats-buffer", "0", *SERVE], "'0' is not a number from 1"),
        (["--stats-buffer", "many", *SERVE], "'many' is not a number"),
        (["--stats-columns", "address", *SERVE], "'address' is no column; there are transport and family"),
        (["--ipv6-prefix", "63", *SERVE], "give a multiple of 8 from 32 to 128, such as 64"),
        (["--max-connections", "-1", *SERVE], "--max-connections"),
        (["--max-handshakes", "0", *SERVE], "'0' is not a number from 1"),
        (["--max-per-network", "none", *SERVE], "'none' is not a number"),
        (["--managed", *SERVE], "either --managed or a transport"),
        (["b64", *SERVE[1:]], "b64 is not offered"),
        (["scramblesuit", "--password", "x", *SERVE[1:]], "use lyrebird or obfs4proxy"),
        (["--log-min-severity", "loud", *SERVE], "'loud' is no severity; there are error, warn, warning, notice"),
        (["--log-file", "/none/log", *SERVE], "cannot open the log /none/log: No such file or directory; name another"),
        (["--proxy", "socks5://127.0.0.1:9", *SERVE], "--proxy is for client and socks"),
        (["--proxy", "ftp://127.0.0.1:9", *SERVE], "--proxy"),
        (["obfs3", "--dest", "127.0.0.1:9001", "socks", "127.0.0.1:0"], "socks takes no --dest"),
        (["obfs3", "--dest", "127.0.0.1:9001", "ext_server", "127.0.0.1:0"], "--ext-cookie-file"),
        (["obfs3", "--ext-cookie-file", "x", *SERVE[1:]], "goes with ext_server"),
        (["--geoip", "/none/geoip", *SERVE], "cannot read the GeoIP file /none/geoip"),
        (["--geoip6", "/etc/passwd", *SERVE], "/etc/passwd contains no range of a GeoIP file"),
        (["--stats-log", "/none/log", *SERVE], "cannot open the log /none/log"),
        (["--stats-log", "/dev/null", *SERVE], "/dev/null is not a regular file"),
        (["--stats-log", "/etc", *SERVE], "cannot open the log /etc: Is a directory"),
        (["--data-dir", "/dev/null/x", *SERVE], "cannot create /dev/null/x"),
        (["--stats-log", "/tmp/" + "x" * 300, *SERVE], "File name too long"),
        (["--stats-log", "/none/a\nb", *SERVE], "cannot open the log /none/a\\nb"),
        (["--stats-buffer", "9" * 5000, *SERVE], "is not a number from 1"),
        (["--nonsense", *SERVE], "--nonsense"),
        ([*SERVE, "more"], "unrecognized arguments: after LISTEN:PORT"),
        (["--non\nsense\x1b[31m", *SERVE], "--non\\nsense\\x1b[31m"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    """Status 2, the sentence on standard error, and nothing was created in the home directory."""
    result = run(*arguments, home=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    assert sentence in result.stderr
    assert result.stderr.startswith("obfsproxy")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "name a transport"),
        (["--stats-bufer", "8", "managed"], "unrecognized arguments: --stats-bufer"),
        (["--stats-buffer", "0", "managed"], "'0' is not a number from 1"),
        (["--log-min-severity", "laut-gesprächig", "managed"], "'laut-gespr\\xe4chig' is no severity"),
        (["--aggregate", "managed"], "--aggregate goes with --publish DIR"),
        (["--log-file", "/none/a\nb", "managed"], "cannot open the log /none/a\\nb: No such file or directory"),
        (["scramblesuit"], "use lyrebird or obfs4proxy"),
    ],
)
def test_under_tor_a_mistake_is_told_to_tor_as_well(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    """The specification's error line and nothing before it; the same on standard error, status 2, nothing created."""
    told = managed.server_environment(tmp_path / "pt_state", ("127.0.0.1", 9))
    result = subprocess.run(
        [*ARGV, *arguments], capture_output=True, timeout=30, check=False, env={**os.environ, **told}
    )
    assert result.returncode == 2
    (line,) = result.stdout.decode("ascii").splitlines()
    assert line.startswith("ENV-ERROR obfsproxy")
    assert sentence in line
    assert line.removeprefix("ENV-ERROR ") == result.stderr.decode().rstrip().replace("ä", "\\xe4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--shared-secret", "hunter2", "obfs2", *SERVE[1:]],
        ["--shared-secret=hunter2", "obfs2", *SERVE[1:]],
        ["obfs2", "--sharedsecret=hunter2", *SERVE[1:]],
        ["obfs2", "--shared_secret", "hunter2", *SERVE[1:]],
        ["obfs3", "--dest", "socks5://me:hunter2@127.0.0.1:9", "server", "127.0.0.1:0"],
        ["--proxy", "socks5://hunter2@127.0.0.1:9", "obfs3", "socks", "127.0.0.1:0"],
    ],
)
def test_a_secret_in_the_wrong_place_is_not_repeated(tmp_path: Path, arguments: list[str]) -> None:
    """Standard error may be a log."""
    result = run(*arguments, home=tmp_path)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert "hunter2" not in result.stderr


def test_a_pipe_named_as_geoip_does_not_hold_it_up(tmp_path: Path) -> None:
    """Reading it would block."""
    os.mkfifo(tmp_path / "pipe")
    before = tree(tmp_path)
    result = run("--geoip", str(tmp_path / "pipe"), *SERVE, home=tmp_path)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "contains no range of a GeoIP file" in result.stderr
    assert tree(tmp_path) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can switch to a user without a home")
def test_somebody_without_a_home_is_told_what_to_name(tmp_path: Path) -> None:
    """No HOME, no entry in the list of users: one line."""
    result = run(*SERVE, home=None, program=AS_SOMEBODY)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "name a folder with --data-dir" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="root itself may open every folder; it takes root to become another")
def test_a_folder_that_may_not_be_opened_is_said(tmp_path: Path) -> None:
    """The most likely mistake: the log is in another user's folder."""
    (tmp_path / "private").mkdir(mode=0o700)
    result = run("--stats-log", str(tmp_path / "private" / "log"), *SERVE, home=None, program=AS_SOMEBODY)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert "Permission denied; name another with --stats-log" in result.stderr


def test_without_standard_error_it_is_still_status_2(tmp_path: Path) -> None:
    """There is no message, only the status."""
    command = shlex.join([*ARGV, "--stats-log", "/none/log", *SERVE])
    assert subprocess.run(["sh", "-c", f"{command} 2>&-"], timeout=30, check=False, cwd=tmp_path).returncode == 2


@unusable_logs
def test_a_log_that_must_not_be_used_is_left_alone(tmp_path: Path, make: Callable[[Path], None], sentence: str) -> None:
    """Status 2, one line, the file as it was."""
    log = tmp_path / "clients.log"
    make(log)
    before = tree(tmp_path)
    result = run("--data-dir", str(tmp_path), *SERVE, home=tmp_path)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert sentence in result.stderr
    assert tree(tmp_path) == before


def _link(log: Path) -> None:
    log.with_name("elsewhere").touch()
    log.symlink_to("elsewhere")


def _second_name(log: Path) -> None:
    log.touch()
    log.with_name("second").hardlink_to(log)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (_link, "cannot open the log {}: it is a symbolic link; name another with --log-file"),
        (_second_name, "{} has a second name (a hard link); remove that, or name another file"),
    ],
)
def test_a_file_that_must_not_be_its_own_log_is_left_alone(
    tmp_path: Path, make: Callable[[Path], None], sentence: str
) -> None:
    """What is behind a link may be any file, and others may read it."""
    log = tmp_path / "own.log"
    make(log)
    before = tree(tmp_path)
    result = run("--no-stats", "--log-file", str(log), *SERVE, home=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"obfsproxy: {sentence.format(log)}\n"
    assert tree(tmp_path) == before


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    """No log is created by a program that cannot serve."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("obfs3", "--dest", "127.0.0.1:9001", "server", f"127.0.0.1:{port}", home=tmp_path)
    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_help_names_every_option_and_shows_examples(tmp_path: Path) -> None:
    """Complete, on standard output, status 0; `--version` too."""
    result = run("--help", home=tmp_path)
    assert result.returncode == 0
    for word in ("--log-file", "--log-min-severity", "--no-log", "--no-safe-logging", "--proxy", "--managed", "managed",
                 "--max-connections", "--max-handshakes", "--max-per-network", "-v, --version", "--stats-log",
                 "--no-stats", "--stats-buffer", "--stats-columns", "--geoip ", "--geoip6", "--data-dir", "examples:",
                 "dummy", "obfs2", "obfs3"):  # fmt: skip
        assert word in result.stdout
    transport = run("obfs2", "--help", home=tmp_path)
    assert transport.returncode == 0
    for word in (
        "--shared-secret",
        "--dest",
        "--ext-cookie-file",
        "server",
        "ext_server",
        "client",
        "socks",
        "LISTEN:PORT",
    ):
        assert word in transport.stdout
    for flag in ("--version", "-v"):
        version = run(flag, home=tmp_path)
        assert (version.returncode, version.stdout.startswith("obfsproxy")) == (0, True)


def test_the_program_is_also_a_command() -> None:
    """The installed script and the module that the tests run are the same program."""
    (script,) = (point for point in entry_points(group="console_scripts") if point.name == "obfsproxy")
    assert script.load() is main
