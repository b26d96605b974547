"""The program's own log: the operator's file, tor's log, or none (facts: the old logs)."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from obfstats.wire.endpoint import Endpoint, parse_endpoint
from obfstats.wire.transports import make_transport
from peers import managed, program
from peers.destinations import echo, serve
from peers.obfuscated import ObfuscatedClient
from tests import canary
from tests.proxy.honest import METRICS
from tests.proxy.visiting import HELLO, visit, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from peers.managed import Managed

LINE = re.compile(r"(?P<time>[0-9-]{10} [0-9:]{8}) \[(?P<severity>error|warn|notice|info|debug)\] (?P<message>.+)")
"""The C program's form of a line, from 2012-02-10 on."""

SERVED = "[info] [scrubbed] (obfs3): Successful outbound connection to '[scrubbed]'."
"""The C program's line for a client, as it was by default."""

OLD_LINES = {
    "start": re.compile(r"Starting \(obfsproxy version: .+\)\."),
    "client": re.compile(r"\S+ \((?P<transport>\w+)\): Successful outbound connection to '\S+'\."),
    "failure": re.compile(r"\S+: connection to \S+ failed: .+"),
    "signal": re.compile(r"Got SIG(TERM|INT)\. (Terminating|Preparing shutdown)\."),
    "end": re.compile(r"Exiting\."),
}
"""What a reader of the C program's logs knows; any other line is no error."""


@pytest.fixture
def orport() -> Iterator[str]:
    """An ORPort that echoes."""
    with serve(echo) as address:
        yield address


@pytest.fixture
def own_log(tmp_path: Path) -> Path:
    """The program's log file, in a folder of its own."""
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs" / "own.log"


@contextlib.contextmanager
def bridge(orport: str, *options: str, under: tuple[str, ...] = (), timezone: str = "UTC") -> Iterator[Managed]:
    """Run a bridge without statistics, with options about its log."""
    argv = (*under, *managed.ours("--no-stats", *options))
    environment = {"TZ": timezone}
    with managed.server(Path("/nonexistent"), parse_endpoint(orport), argv=argv, environment=environment) as proxy:
        yield proxy


def connect(proxy: Managed, times: int = 1) -> None:
    """Connect as an honest client, from an address that must not appear anywhere."""
    for _ in range(times):
        assert visit(proxy.methods["obfs3"], source=canary.address()) == HELLO


def messages(log: Path) -> list[str]:
    """Return the lines of a log without their times, and without what depends on the machine's settings."""
    return [line.split(" ", 2)[2] for line in log.read_text().splitlines() if METRICS not in line]


def clients(log: Path) -> list[str]:
    """Return the lines of a log about clients, without their times."""
    return [line for line in messages(log) if " outbound " in line or " failed: " in line]


def told_tor(proxy: Managed) -> list[str]:
    """Return the LOG lines that tor got."""
    return [line for line in proxy.said() if line.startswith("LOG ")]


def test_a_line_is_the_c_programs_with_the_time_of_utc(orport: str, own_log: Path) -> None:
    """Whatever the machine's time zone is."""
    before = datetime.now(UTC).replace(microsecond=0)
    with bridge(orport, "--log-file", str(own_log), "--log-min-severity", "info", timezone="Asia/Tokyo") as proxy:
        connect(proxy)
        proxy.child.stop()
    after = datetime.now(UTC)
    found = [LINE.fullmatch(line) for line in own_log.read_text().splitlines()]
    assert len(found) >= 4
    for match in found:
        assert match
        assert before <= datetime.strptime(f"{match['time']}Z", "%Y-%m-%d %H:%M:%S%z") <= after


def test_a_reader_of_old_logs_reads_it(orport: str, own_log: Path) -> None:
    """A start, two clients, a signal and the end, in the words of the C program."""
    with bridge(orport, "--log-file", str(own_log), "--log-min-severity", "debug") as proxy:
        connect(proxy, 2)
        proxy.child.stop()
    known = [
        kind
        for line in own_log.read_text().splitlines()
        for kind, form in OLD_LINES.items()
        if (match := LINE.fullmatch(line)) and form.fullmatch(match["message"])
    ]
    assert known == ["start", "client", "client", "signal", "end"]


def test_a_client_is_one_line_without_an_address(orport: str, own_log: Path) -> None:
    """From severity info on; the addresses and ports of both ends are scrubbed."""
    with bridge(orport, "--log-file", str(own_log), "--log-min-severity", "info") as proxy:
        connect(proxy, 2)
        assert clients(own_log) == [SERVED, SERVED]


def test_by_default_no_client_is_in_the_log(orport: str, own_log: Path) -> None:
    """A line would contain the time of a client's connection."""
    with bridge(orport, "--log-file", str(own_log)) as proxy:
        connect(proxy, 2)
        proxy.child.stop()
    assert [line.split()[0] for line in messages(own_log)] == ["[notice]"] * 3


def test_an_operator_who_wants_addresses_gets_them(orport: str, own_log: Path) -> None:
    """--no-safe-logging: the addresses and ports of the client and the ORPort, after a warning."""
    with bridge(orport, "--log-file", str(own_log), "--log-min-severity", "info", "--no-safe-logging") as proxy:
        with ObfuscatedClient(make_transport("obfs3"), proxy.methods["obfs3"]) as client:
            client.sendall(HELLO)
            assert client.recv() == HELLO
            origin = Endpoint(*client.socket.getsockname())
        first, *_, served = messages(own_log)
    assert first.startswith("[warn] safe logging is off")
    assert served == f"[info] {origin} (obfs3): Successful outbound connection to '{orport}'."


@pytest.mark.parametrize(
    ("word", "severities"),
    [
        ("debug", {"[warn]", "[notice]", "[info]"}),
        ("Info", {"[warn]", "[notice]", "[info]"}),
        ("notice", {"[warn]", "[notice]"}),
        ("warn", {"[warn]"}),
        ("WARNING", {"[warn]"}),
        ("error", set[str]()),
    ],
)
def test_both_programs_severities_set_the_lowest_level(
    orport: str, own_log: Path, word: str, severities: set[str]
) -> None:
    """In upper or lower case; there are a warning, notices and a client's line to filter."""
    with bridge(orport, "--log-file", str(own_log), f"--log-min-severity={word}", "--no-safe-logging") as proxy:
        assert visit(proxy.methods["obfs3"]) == HELLO
        assert {line.split()[0] for line in messages(own_log)} == severities


def test_without_a_log_nothing_is_logged(orport: str, own_log: Path) -> None:
    """--no-log overrides everything: no file, no LOG line, nothing on standard error."""
    options = ["--no-log", "--log-file", str(own_log), "--log-min-severity", "debug", "--max-connections", "10000000"]
    with bridge(orport, *options) as proxy:
        connect(proxy)
        proxy.child.stop()
    assert not own_log.exists()
    assert told_tor(proxy) == []
    assert proxy.child.stderr == ""


def test_by_hand_it_says_the_same_on_standard_error(orport: str) -> None:
    """Unless a file is named; every line has the same format."""
    with program.obfsproxy("--no-stats", "--log-min-severity", "info", "obfs3", "--dest", orport, "server",
                           "127.0.0.1:0") as server:  # fmt: skip
        assert visit(server.address, source=canary.address()) == HELLO
        server.child.stop()
    lines = server.child.stderr.splitlines()
    assert all(LINE.fullmatch(line) for line in lines)
    assert [line.endswith(SERVED) for line in lines].count(True) == 1
    assert server.child.stdout == ""


def test_by_hand_a_file_takes_the_place_of_standard_error(orport: str, own_log: Path) -> None:
    """Not both at once."""
    words = ["--no-stats", "--log-file", str(own_log), "obfs3", "--dest", orport, "server", "127.0.0.1:0"]
    with managed.start({}, [*program.ARGV, *words]) as child:
        assert wait_until(lambda: own_log.exists() and "Starting" in own_log.read_text())
        child.stop()
        assert (child.stdout, child.stderr) == ("", "")


def test_the_log_is_for_its_owner_alone_whatever_the_umask(orport: str, own_log: Path) -> None:
    """When it is created, and when it is created again."""
    with bridge(orport, "--log-file", str(own_log), "--log-min-severity=info", under=managed.UNDER_ANY_UMASK) as proxy:
        assert own_log.stat().st_mode & 0o7777 == 0o600
        own_log.rename(own_log.with_suffix(".1"))
        connect(proxy)
        assert own_log.stat().st_mode & 0o7777 == 0o600


def test_a_log_that_others_can_read_is_taken_from_them(orport: str, own_log: Path) -> None:
    """One that exists at the start, and one whose mode somebody changes: with one warning each, in tor's log too."""
    own_log.touch()
    own_log.chmod(0o644)
    with bridge(orport, "--log-file", str(own_log)) as proxy:
        assert own_log.stat().st_mode & 0o7777 == 0o600
        connect(proxy)
        own_log.chmod(0o640)
        proxy.child.send_signal(signal.SIGHUP)
        assert wait_until(lambda: own_log.stat().st_mode & 0o7777 == 0o600)
        assert wait_until(lambda: sum("was open to others" in line for line in told_tor(proxy)) == 2)
        warnings = [line for line in messages(own_log) if line.startswith("[warn]")]
    assert [re.findall(r"\(0...\)", line)[0] for line in warnings] == ["(0644)", "(0640)"]


def test_a_log_that_logrotate_created_for_others_holds_no_line_before_it_is_private(orport: str, own_log: Path) -> None:
    """The line of a client is the first in it; the warning waits, or tor's log would have that client's moment."""
    with bridge(orport, "--log-file", str(own_log), "--log-min-severity", "info") as proxy:
        connect(proxy)
        own_log.rename(own_log.with_suffix(".1"))
        own_log.touch()
        own_log.chmod(0o640)
        connect(proxy)
        assert own_log.stat().st_mode & 0o7777 == 0o600
        assert messages(own_log) == [SERVED]
        assert not any("was open to others" in line for line in told_tor(proxy))
        proxy.child.send_signal(signal.SIGHUP)
        assert wait_until(lambda: "was open to others (0640)" in own_log.read_text())


def test_a_log_with_a_second_name_gets_no_line(orport: str, own_log: Path) -> None:
    """Clients are served, tor's log has the reason once, and without that name it goes on."""
    second = own_log.with_name("second")
    with bridge(orport, "--log-file", str(own_log), "--log-min-severity", "info") as proxy:
        connect(proxy)
        second.hardlink_to(own_log)
        proxy.child.send_signal(signal.SIGHUP)
        assert wait_until(lambda: any("has a second name" in line for line in told_tor(proxy)))
        connect(proxy)
        assert clients(own_log) == [SERVED]
        second.unlink()
        connect(proxy)
        assert clients(own_log) == [SERVED, SERVED]
        assert sum("has a second name" in line for line in told_tor(proxy)) == 1


def test_a_log_that_is_rotated_by_rename_is_followed(orport: str, own_log: Path) -> None:
    """The next line is in the new file, and no line is lost."""
    rotated = own_log.with_suffix(".1")
    with bridge(orport, "--log-file", str(own_log), "--log-min-severity", "info") as proxy:
        connect(proxy)
        own_log.rename(rotated)
        connect(proxy)
        assert clients(rotated) == [SERVED]
        assert messages(own_log) == [SERVED]


def test_a_log_that_is_rotated_by_copying_is_followed(orport: str, own_log: Path) -> None:
    """After truncation the next line is at the start of the file, with no hole before it."""
    with bridge(orport, "--log-file", str(own_log), "--log-min-severity", "info") as proxy:
        connect(proxy)
        own_log.write_bytes(b"")
        connect(proxy)
        assert messages(own_log) == [SERVED]


def test_sighup_opens_the_log_anew(orport: str, own_log: Path) -> None:
    """Before the next line is written, as logrotate's postrotate needs it."""
    with bridge(orport, "--log-file", str(own_log)) as proxy:
        connect(proxy)
        own_log.rename(own_log.with_suffix(".1"))
        proxy.child.send_signal(signal.SIGHUP)
        assert wait_until(own_log.exists)
        connect(proxy)
        assert own_log.read_bytes() == b""


def test_a_log_on_a_full_disk_disturbs_nobody(orport: str) -> None:
    """With /dev/full clients are served, tor gets its lines, and the program ends in order."""
    with bridge(orport, "--log-file", "/dev/full", "--log-min-severity", "debug") as proxy:
        connect(proxy, 20)
        assert proxy.child.stop() == 0
    assert told_tor(proxy)[-1] == 'LOG SEVERITY=notice MESSAGE="Exiting."'
    assert proxy.child.stderr == ""


def test_a_log_whose_folder_vanishes_disturbs_no_client(orport: str, own_log: Path) -> None:
    """Clients are served; when the folder exists again, so does the log."""
    with bridge(orport, "--log-file", str(own_log), "--log-min-severity", "info") as proxy:
        connect(proxy)
        shutil.rmtree(own_log.parent)
        connect(proxy, 3)
        own_log.parent.mkdir()
        connect(proxy)
        assert messages(own_log) == [SERVED]
        assert proxy.child.stop() == 0
    assert proxy.child.stderr == ""


def test_notices_and_warnings_are_in_tors_log(orport: str) -> None:
    """As LOG lines with tor's names of severities."""
    with bridge(orport, "--max-connections", "10000000") as proxy:
        proxy.child.wait_for_line("stdout", "Starting")
    warning, start = [line for line in told_tor(proxy) if METRICS not in line][:2]
    assert re.fullmatch('LOG SEVERITY=warning MESSAGE="ulimit -n allows [0-9]+ connections at once, .*"', warning)
    assert re.fullmatch(r'LOG SEVERITY=notice MESSAGE="Starting \(obfsproxy version: .*\)\."', start)


def test_that_safe_logging_is_off_is_in_tors_log(orport: str, own_log: Path) -> None:
    """An operator who has forgotten it looks there."""
    with bridge(orport, "--log-file", str(own_log), "--no-safe-logging") as proxy:
        assert any("safe logging is off" in line for line in told_tor(proxy))


@pytest.mark.parametrize("safety", [[], ["--no-safe-logging"]])
def test_a_client_is_never_in_tors_log(orport: str, own_log: Path, safety: list[str]) -> None:
    """Neither a served one nor a failed one, whatever the operator asks for."""
    options = ["--log-min-severity", "debug", "--log-file", str(own_log), *safety]
    with bridge(orport, *options) as proxy:
        assert visit(proxy.methods["obfs3"]) == HELLO
        proxy.child.stop()
    with serve(echo) as gone:
        pass
    with bridge(gone, *options) as proxy_of_none:
        assert visit(proxy_of_none.methods["obfs3"]) == b""
        proxy_of_none.child.stop()
    assert len(clients(own_log)) == 2
    for line in told_tor(proxy) + told_tor(proxy_of_none):
        assert "outbound" not in line
        assert "failed" not in line


def test_whatever_a_name_holds_a_line_stays_a_line(tmp_path: Path, orport: str, own_log: Path) -> None:
    """A folder's name with a line end, a quote and non-ASCII letters, in the log and in tor's."""
    log = tmp_path / 'a\n"ü\x1b\\x' / "clients.log"
    argv = managed.ours("--log-file", str(own_log), "--data-dir", str(log.parent), *managed.countries(tmp_path))
    with managed.server(tmp_path, parse_endpoint(orport), argv=argv) as proxy:
        proxy.child.wait_for_line("stdout", "Starting")
    assert log.exists()
    assert all(LINE.fullmatch(line) for line in own_log.read_text().splitlines())
    assert '/a\\n"ü\\x1b\\x/clients.log' in messages(own_log)[0]
    assert all(re.fullmatch(r'LOG SEVERITY=(notice|warning) MESSAGE="[ !#-~]*"', line) for line in told_tor(proxy))
    assert r"\042\303\274" in told_tor(proxy)[0]
