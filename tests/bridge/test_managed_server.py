"""The program as a bridge's tor runs it (pt-spec): its answers, its services, its files, its end."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from obfstats.wire import lines
from obfstats.wire.endpoint import Endpoint, parse_endpoint
from obfstats.wire.transports import make_transport
from peers import extended, managed
from peers.child import START_SECONDS
from peers.destinations import echo, serve
from peers.network import Ports
from peers.obfuscated import ObfuscatedClient
from tests import canary
from tests.bridge.unusable import unusable_logs
from tests.proxy.visiting import HELLO, countries, refuse_in, visit, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

NOWHERE = ("127.0.0.1", 9)
"""An ORPort for tests in which no client comes."""

LINES_BEFORE_DONE = r"VERSION 1|SMETHOD \S+ \S+:[0-9]+|SMETHOD-ERROR \S+ .+|LOG SEVERITY=\w+ MESSAGE=\"[^\"]*\""
LINES_BEHIND_DONE = r"(LOG SEVERITY=(error|warning|notice) MESSAGE|STATUS \S+( \S+)*)=\"[^\"]*\".*"


@pytest.fixture
def orport() -> Iterator[tuple[str, int]]:
    """An ORPort that echoes."""
    with serve(echo) as address:
        yield parse_endpoint(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_transport_is_said_with_the_port_that_the_kernel_chose(
    tmp_path: Path, orport: tuple[str, int], host: str
) -> None:
    """One SMETHOD line for each, IPv6 in brackets, and clients are served there."""
    binds = {name: str(Endpoint(host, 0)) for name in managed.TRANSPORTS}
    with managed.server(tmp_path, orport, binds=binds) as proxy:
        said = [line for line in proxy.said() if line.startswith("SMETHOD ")]
        assert said == [f"SMETHOD {name} {Endpoint(*proxy.methods[name])}" for name in managed.TRANSPORTS]
        for name in managed.TRANSPORTS:
            assert visit(proxy.methods[name], name) == HELLO


def test_a_port_that_tor_names_is_the_one_it_gets(tmp_path: Path, orport: tuple[str, int]) -> None:
    """ServerTransportListenAddr, or the port that tor remembers."""
    with contextlib.closing(Ports()) as ports:
        place = ("127.0.0.1", ports.reserve())
        with managed.server(tmp_path, orport, transports=["obfs3"], binds={"obfs3": str(Endpoint(*place))}) as proxy:
            assert proxy.methods == {"obfs3": place}
            assert visit(place) == HELLO


def test_a_transport_that_nobody_knows_is_passed_over_without_a_word(tmp_path: Path, orport: tuple[str, int]) -> None:
    """The known one is served."""
    with managed.server(tmp_path, orport, transports=["obfs9", "obfs3"]) as proxy:
        assert visit(proxy.methods["obfs3"]) == HELLO
        assert proxy.methods.keys() == {"obfs3"}
        assert "obfs9" not in proxy.child.stdout + proxy.child.stderr


def test_with_unknown_transports_alone_there_is_nothing_to_do(tmp_path: Path) -> None:
    """DONE, exit status 1, and nothing is created."""
    state = tmp_path / "pt_state"
    with managed.start(managed.server_environment(state, NOWHERE, transports=["obfs9"]), managed.ours()) as child:
        assert child.wait(START_SECONDS) == 1
        assert (child.stdout, child.stderr) == ("VERSION 1\nSMETHODS DONE\n", "")
    assert list(tmp_path.iterdir()) == []


def test_transports_that_were_retired_are_refused_with_what_to_use(tmp_path: Path, orport: tuple[str, int]) -> None:
    """For an old torrc: tor's log says what to use, the others are served."""
    retired = ["b64", "scramblesuit"]
    with managed.server(tmp_path, orport, transports=[*retired, "obfs3"], failing=retired) as proxy:
        assert all("lyrebird" in proxy.errors[name] for name in retired)
        assert visit(proxy.methods["obfs3"]) == HELLO


def test_a_port_in_use_costs_one_transport_only(tmp_path: Path, orport: tuple[str, int]) -> None:
    """An error line that names the address; the other transport is served."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = str(Endpoint(*taken.getsockname()))
        with managed.server(tmp_path, orport, binds={"obfs2": place}, failing=["obfs2"]) as proxy:
            assert proxy.errors["obfs2"] == f"cannot listen on {place}: Address already in use"
            assert visit(proxy.methods["obfs3"]) == HELLO


def test_two_transports_cannot_have_one_port(tmp_path: Path, orport: tuple[str, int]) -> None:
    """The first one gets it."""
    with contextlib.closing(Ports()) as ports:
        place = f"127.0.0.1:{ports.reserve()}"
        binds = {"obfs2": place, "obfs3": place}
        with managed.server(tmp_path, orport, binds=binds, failing=["obfs3"]) as proxy:
            assert visit(proxy.methods["obfs2"], "obfs2") == HELLO


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("obfs3", "obfs3:shared-secret=hunter2", "obfs3 does not take the option shared-secret"),
        ("obfs2", "obfs2:shared-secret=", "The option shared-secret of obfs2 is empty"),
        ("obfs2", "obfs2:shared_secret=hunter2", "obfs2 does not take the option 'shared_secret'"),
    ],
)
def test_an_option_that_is_wrong_is_told_without_its_value(
    tmp_path: Path, orport: tuple[str, int], name: str, options: str, sentence: str
) -> None:
    """It may be a secret; the other transport is served."""
    environment = {"TOR_PT_SERVER_TRANSPORT_OPTIONS": options}
    with managed.server(tmp_path, orport, failing=[name], environment=environment) as proxy:
        assert sentence in proxy.errors[name]
        assert "hunter2" not in proxy.child.stdout + proxy.child.stderr
        (other,) = proxy.methods
        assert visit(proxy.methods[other], other) == HELLO


def test_if_no_transport_can_be_served_it_ends(tmp_path: Path) -> None:
    """Every line, DONE, and exit status 1."""
    environment = managed.server_environment(tmp_path, NOWHERE, transports=["b64", "obfs3"])
    environment["TOR_PT_SERVER_TRANSPORT_OPTIONS"] = "obfs3:shared-secret=hunter2"
    with managed.start(environment) as child:
        assert child.wait(START_SECONDS) == 1
        words = [line.split()[0] for line in child.stdout.splitlines()]
    assert words == ["VERSION", "SMETHOD-ERROR", "SMETHOD-ERROR", "SMETHODS"]


def test_who_knows_the_secret_of_torrc_is_served_and_who_does_not_is_not(tmp_path: Path) -> None:
    """TOR_PT_SERVER_TRANSPORT_OPTIONS as tor escapes it; a client without the secret gets no byte, nor does tor."""
    environment = {"TOR_PT_SERVER_TRANSPORT_OPTIONS": r"obfs2:shared-secret=a\:b\;c\\d=ü"}
    with extended.orport(tmp_path) as tor, managed.server(tmp_path, tor, environment=environment) as proxy:
        with pytest.raises(TimeoutError):
            visit(proxy.methods["obfs2"], "obfs2", timeout=0.3)
        assert visit(proxy.methods["obfs2"], "obfs2", secret="a:b;c\\d=ü") == HELLO
        assert visit(proxy.methods["obfs3"]) == HELLO
        assert [told.transport for told in tor.visits] == ["obfs2", "obfs3"]


def test_every_line_it_says_is_one_of_the_specifications(tmp_path: Path, orport: tuple[str, int]) -> None:
    """Up to DONE versions, methods and messages; after it only messages and status."""
    argv = managed.ours("--log-min-severity", "debug", *managed.counting(tmp_path / "log"))
    with managed.server(tmp_path, orport, argv=argv, transports=["b64", "obfs3"], failing=["b64"]) as proxy:
        for _ in range(3):
            assert visit(proxy.methods["obfs3"]) == HELLO
        proxy.child.send_signal(signal.SIGHUP)
        proxy.child.wait_for_line("stdout", "from the next interval on")
        proxy.child.stop()
    assert proxy.child.stderr == ""
    done = proxy.said().index("SMETHODS DONE")
    before, behind = proxy.said()[:done], proxy.said()[done + 1 :]
    assert before[0] == "VERSION 1"
    assert [line for line in before if not re.fullmatch(LINES_BEFORE_DONE, line)] == []
    assert [line for line in behind if not re.fullmatch(LINES_BEHIND_DONE, line)] == []
    assert any(line.startswith("STATUS TYPE=version VERSION=") for line in behind)


@given(st.text(max_size=1000))
@example("\N{CJK UNIFIED IDEOGRAPH-754C}" * 500)
def test_no_message_makes_a_line_that_a_pipe_may_take_in_part(message: str) -> None:
    """A full pipe accepts a line whole or not at all, up to PIPE_BUF bytes (pipe(7))."""
    assert len(lines.log("warning", message)) + 1 <= select.PIPE_BUF


VERSIONS = [
    ("2", "VERSION-ERROR no-version"),
    ("", "VERSION-ERROR no-version"),
    (None, "ENV-ERROR TOR_PT_MANAGED_TRANSPORT_VER is not set"),
]

BROKEN = [
    ({"TOR_PT_STATE_LOCATION": None}, "TOR_PT_STATE_LOCATION"),
    ({"TOR_PT_STATE_LOCATION": ""}, "TOR_PT_STATE_LOCATION is not set"),
    ({"TOR_PT_SERVER_TRANSPORTS": None}, "neither of TOR_PT_SERVER_TRANSPORTS and"),
    ({"TOR_PT_SERVER_TRANSPORTS": ""}, "neither of TOR_PT_SERVER_TRANSPORTS and"),
    ({"TOR_PT_CLIENT_TRANSPORTS": "obfs3"}, "both of TOR_PT_SERVER_TRANSPORTS and"),
    ({"TOR_PT_SERVER_TRANSPORTS": "obfs3,,obfs2"}, "TOR_PT_SERVER_TRANSPORTS"),
    ({"TOR_PT_SERVER_TRANSPORTS": "obfs3,obfs3"}, "names a transport twice"),
    ({"TOR_PT_SERVER_BINDADDR": "obfs3"}, "TOR_PT_SERVER_BINDADDR"),
    ({"TOR_PT_SERVER_BINDADDR": "obfs3-localhost:0"}, "TOR_PT_SERVER_BINDADDR"),
    ({"TOR_PT_SERVER_BINDADDR": "obfs3-127.0.0.1:65536"}, "TOR_PT_SERVER_BINDADDR"),
    ({"TOR_PT_SERVER_TRANSPORT_OPTIONS": "obfs2:shared-secret"}, "TOR_PT_SERVER_TRANSPORT_OPTIONS"),
    ({"TOR_PT_SERVER_TRANSPORT_OPTIONS": r"obfs2:shared-secret=hun\ter2"}, "escapes nothing"),
    ({"TOR_PT_ORPORT": None}, "TOR_PT_ORPORT"),
    ({"TOR_PT_ORPORT": "localhost:9001"}, "TOR_PT_ORPORT"),
    ({"TOR_PT_ORPORT": "127.0.0.1:0"}, "TOR_PT_ORPORT"),
    ({"TOR_PT_EXTENDED_SERVER_PORT": "127.0.0.1:9"}, "TOR_PT_AUTH_COOKIE_FILE"),
    ({"TOR_PT_OUTBOUND_BIND_ADDRESS_V4": "::1"}, "TOR_PT_OUTBOUND_BIND_ADDRESS_V4"),
]


@pytest.mark.parametrize(("versions", "line"), VERSIONS)
def test_a_tor_that_speaks_another_version_is_told_so(tmp_path: Path, versions: str | None, line: str) -> None:
    """One line and exit status 1; nothing changed on disk."""
    told = managed.server_environment(tmp_path / "pt_state", NOWHERE)
    (said,) = refuse_in({**told, "TOR_PT_MANAGED_TRANSPORT_VER": versions})
    assert said.startswith(line)
    assert list(tmp_path.iterdir()) == []


def test_one_version_of_several_that_tor_speaks_is_enough(tmp_path: Path, orport: tuple[str, int]) -> None:
    """Version 1 is chosen."""
    with managed.server(tmp_path, orport, environment={"TOR_PT_MANAGED_TRANSPORT_VER": "1,2"}) as proxy:
        assert proxy.said()[0] == "VERSION 1"


@pytest.mark.parametrize(("change", "what"), BROKEN, ids=[str(number) for number in range(len(BROKEN))])
def test_a_broken_environment_is_one_error_line(tmp_path: Path, change: Mapping[str, str | None], what: str) -> None:
    """The specification's, with exit status 1, and no VERSION before it, or tor would not log it; no secret in it."""
    told = managed.server_environment(tmp_path / "pt_state", NOWHERE, transports=["obfs3"])
    (error,) = refuse_in({**told, **change})
    assert error.split()[0] == "ENV-ERROR"
    assert what in error
    assert "hun" not in error
    assert list(tmp_path.iterdir()) == []


def test_without_any_of_tors_variables_it_says_who_should_start_it() -> None:
    """For an operator who runs it by hand."""
    with managed.start({}) as child:
        assert child.wait(START_SECONDS) == 1
        assert child.stdout.startswith("ENV-ERROR TOR_PT_MANAGED_TRANSPORT_VER is not set; let tor start this program")


def test_a_relative_state_folder_is_where_tor_means_it(tmp_path: Path, orport: tuple[str, int]) -> None:
    """Tor passes a relative DataDirectory on, and its working directory is the program's."""
    argv = ("env", "-C", str(tmp_path), *managed.ours(*managed.countries(tmp_path)))
    with managed.server(Path("data/pt_state"), orport, argv=argv) as proxy:
        assert visit(proxy.methods["obfs3"]) == HELLO
        assert (tmp_path / "data" / "pt_state" / "clients.log").is_file()


def test_what_it_keeps_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path, orport: tuple[str, int]) -> None:
    """The state folder and the one above it are created with 0700, the statistics log with 0600."""
    state = tmp_path / "data" / "pt_state"
    argv = (*managed.UNDER_ANY_UMASK, *managed.ours(*managed.countries(tmp_path)))
    with managed.server(state, orport, argv=argv) as proxy:
        assert visit(proxy.methods["obfs3"]) == HELLO
        assert [path.name for path in state.glob("[!.]*")] == ["clients.log"]
        assert [folder.stat().st_mode & 0o7777 for folder in (state, state.parent)] == [0o700, 0o700]
        assert (state / "clients.log").stat().st_mode & 0o7777 == 0o600


@pytest.mark.parametrize(
    ("options", "made"),
    [
        (["--data-dir", "{folder}/elsewhere"], ["elsewhere", "elsewhere/clients.log"]),
        (["--stats-log", "{folder}/visits"], ["visits"]),
        (["--no-stats"], []),
    ],
)
def test_the_operator_says_where_statistics_go(
    tmp_path: Path, orport: tuple[str, int], options: list[str], made: list[str]
) -> None:
    """Another folder, a file, or nowhere; the state folder is not touched then."""
    folder, files = tmp_path / "folder", tmp_path / "files"
    folder.mkdir()
    files.mkdir()
    words = [word.format(folder=folder) for word in options]
    with managed.server(folder / "pt_state", orport, argv=managed.ours(*words, *managed.countries(files))) as proxy:
        assert visit(proxy.methods["obfs3"]) == HELLO
        assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == made


@unusable_logs
def test_with_an_unusable_log_no_transport_is_served(
    tmp_path: Path, make: Callable[[Path], None], sentence: str
) -> None:
    """An error line for each that is known, with a sentence; exit status 1."""
    make(tmp_path / "clients.log")
    environment = managed.server_environment(tmp_path, NOWHERE, transports=["obfs2", "obfs9", "obfs3"])
    with managed.start(environment, managed.ours(*managed.countries(tmp_path))) as child:
        assert child.wait(START_SECONDS) == 1
        assert child.stderr == ""
        first, *errors, last = child.stdout.splitlines()
    assert (first, last) == ("VERSION 1", "SMETHODS DONE")
    assert [error.split()[:2] for error in errors] == [["SMETHOD-ERROR", "obfs2"], ["SMETHOD-ERROR", "obfs3"]]
    assert all(sentence in error for error in errors)


def test_a_log_that_logrotate_created_does_not_keep_the_bridge_down(tmp_path: Path, orport: tuple[str, int]) -> None:
    """Debian's `create 0640`: the transport is served, and the log is private from the start."""
    log = tmp_path / "clients.log"
    log.touch()
    log.chmod(0o640)
    with managed.server(tmp_path, orport, argv=managed.ours(*managed.countries(tmp_path))) as proxy:
        assert log.stat().st_mode & 0o7777 == 0o600
        assert visit(proxy.methods["obfs3"]) == HELLO


def test_a_second_program_does_not_get_the_first_ones_log(tmp_path: Path, orport: tuple[str, int]) -> None:
    """Two bridges with the same log: the second one's tor is told, the first one continues."""
    argv = managed.ours("--stats-log", str(tmp_path / "log"), *managed.countries(tmp_path))
    with managed.server(tmp_path, orport, argv=argv) as first:
        with managed.start(managed.server_environment(tmp_path, orport, transports=["obfs3"]), argv) as second:
            assert second.wait(START_SECONDS) == 1
            assert "is in use by another program; give each its own with --stats-log" in second.stdout
        assert visit(first.methods["obfs3"]) == HELLO


def test_the_end_of_standard_input_ends_it_where_tor_asks_for_that(tmp_path: Path, orport: tuple[str, int]) -> None:
    """Tor has ended: status 0, nothing flushed."""
    log = tmp_path / "log"
    with managed.server(tmp_path, orport, argv=managed.ours(*managed.counting(log, buffer=100))) as proxy:
        assert visit(proxy.methods["obfs3"], source=canary.address()) == HELLO
        proxy.child.close_stdin()
        assert proxy.child.wait() == 0
    assert log.read_bytes() == b""


@pytest.mark.parametrize("value", ["0", ""])
def test_the_end_of_standard_input_means_nothing_otherwise(tmp_path: Path, orport: tuple[str, int], value: str) -> None:
    """If tor, or a wrapper, gives none, clients are served."""
    with managed.server(tmp_path, orport, environment={"TOR_PT_EXIT_ON_STDIN_CLOSE": value}) as proxy:
        proxy.child.close_stdin()
        for _ in range(3):
            assert visit(proxy.methods["obfs3"]) == HELLO
        assert proxy.child.stop() == 0


def test_sigterm_ends_it_within_a_second_and_flushes_nothing(tmp_path: Path, orport: tuple[str, int]) -> None:
    """With clients connected and lines in the buffer (ticket 5047, step 6)."""
    log = tmp_path / "log"
    with (
        managed.server(tmp_path, orport, argv=managed.ours(*managed.counting(log, buffer=100))) as proxy,
        contextlib.ExitStack() as clients,
    ):
        for name in managed.TRANSPORTS:
            client = ObfuscatedClient(make_transport(name), proxy.methods[name], canary.address())
            clients.enter_context(client).sendall(HELLO)
            assert client.recv() == HELLO
        asked = time.monotonic()
        proxy.child.send_signal(signal.SIGTERM)
        assert proxy.child.wait() == 0
        took = time.monotonic() - asked
    assert log.read_bytes() == b""
    assert took < 1.0


class Deaf:
    """A tor that reads the answers up to DONE, and nothing more."""

    def __init__(self, state: Path, orport: tuple[str, int], *options: str) -> None:
        self.reading, self._writing = os.pipe()
        environment = managed.server_environment(state, orport, transports=["obfs3"])
        argv = managed.ours(*options)
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=self._writing, env={**os.environ, **environment}
        )
        os.close(self._writing)
        said = b""
        while not said.endswith(b"SMETHODS DONE\n"):
            # A line is one write, so none is read in part.
            said += os.read(self.reading, 1)
        match = re.search(rb"^SMETHOD obfs3 127\.0\.0\.1:([0-9]+)$", said, re.MULTILINE)
        assert match
        self.address = "127.0.0.1", int(match[1])

    def fill(self) -> None:
        """Fill the pipe."""
        # Opened anew: what is set for this end alone must not be set for the program's.
        writing = os.open(f"/proc/self/fd/{self.reading}", os.O_WRONLY | os.O_NONBLOCK)
        for size in (1 << 12, 1):
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(writing, b"\n" * size)
        os.close(writing)

    def leave(self) -> None:
        """Close tor's end."""
        os.close(self.reading)

    def end(self) -> float:
        """End the program by SIGTERM; return the seconds that it took."""
        asked = time.monotonic()
        self.process.terminate()
        assert self.process.wait(START_SECONDS) == 0
        return time.monotonic() - asked


@contextlib.contextmanager
def deaf(state: Path, orport: tuple[str, int], *options: str) -> Iterator[Deaf]:
    """Run the program with a Deaf tor."""
    tor = Deaf(state, orport, *options)
    try:
        yield tor
    finally:
        tor.process.kill()
        tor.process.communicate()
        with contextlib.suppress(OSError):
            tor.leave()


@pytest.mark.parametrize("behave", [Deaf.fill, Deaf.leave])
def test_a_tor_that_does_not_listen_holds_nobody_up(
    tmp_path: Path, orport: tuple[str, int], behave: Callable[[Deaf], None]
) -> None:
    """Standard output is full, or closed: clients are served and counted, and the program ends in time."""
    log, said = tmp_path / "log", tmp_path / "said"
    with deaf(tmp_path, orport, "--log-file", str(said), *managed.counting(log)) as tor:
        assert visit(tor.address, source=canary.address()) == HELLO
        behave(tor)
        tor.process.send_signal(signal.SIGHUP)
        # What goes to tor goes to the file before.
        assert wait_until(lambda: visit(tor.address) == HELLO and "from the next interval on" in said.read_text())
        assert visit(tor.address) == HELLO
        assert countries(log)[0] == "de"
        assert tor.end() < 1.0
    assert said.read_text().endswith("Exiting.\n")


def test_two_programs_of_one_tor_have_a_log_each(tmp_path: Path) -> None:
    """A torrc with a line for each transport and different options: one folder, two programs."""
    with serve(echo) as address:
        orport = parse_endpoint(address)
        with (
            managed.server(tmp_path, orport, argv=managed.ours(), transports=["obfs3"]) as first,
            managed.server(tmp_path, orport, argv=managed.ours("--stats-buffer", "9"), transports=["obfs2"]) as second,
        ):
            assert visit(first.methods["obfs3"]) == visit(second.methods["obfs2"], "obfs2") == HELLO
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == ["clients-obfs2.log", "clients.log"]
