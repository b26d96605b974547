"""Every form of command line that both old programs took: each starts, and serves (facts: torrc files, wrappers)."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from obfstats.wire.endpoint import Endpoint, parse_endpoint
from peers import extended, managed, program, socks
from peers.child import Child
from peers.destinations import echo, serve
from peers.extended import OrPortConduct
from peers.network import Ports
from tests import canary
from tests.proxy.visiting import HELLO, SECONDS, countries, greet, visit, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SECRET = "a secret"

MANAGED = [
    # The C program's, 2012.
    "--managed",
    "--log-file={folder}/said --managed",
    "--log-min-severity=info --log-file={folder}/said --managed",
    "--log-min-severity=Warn --managed",
    "--no-log --managed",
    "--no-safe-logging --managed",
    "--managed --log-file={folder}/said",
    # The Python program's, 2014.
    "managed",
    "--log-file {folder}/said managed",
    "--log-file={folder}/said --log-min-severity=info managed",
    "--log-min-severity=warning managed",
    "--data-dir {folder} --log-min-severity DEBUG managed",
    "--no-log --no-safe-logging managed",
]

SERVER = [
    # The C program's.
    "obfs2 --dest={dest} server {listen}",
    "obfs3 --dest={dest} server {listen}",
    "--log-file={folder}/said --log-min-severity=error obfs2 --dest={dest} server {listen}",
    "--no-log obfs3 --dest={dest} server {listen}",
    # The Python program's.
    "obfs2 --dest {dest} server {listen}",
    "--log-file {folder}/said --log-min-severity info --no-safe-logging obfs3 --dest {dest} server {listen}",
    "--data-dir {folder} obfs3 server {listen} --dest {dest}",
    "dummy --dest {dest} server {listen}",
]

WITH_SECRET = ["obfs2 --dest={dest} --shared-secret={secret}", "obfs2 --shared-secret {secret} --dest {dest}"]


@pytest.fixture
def orport() -> Iterator[str]:
    """An ORPort that echoes."""
    with serve(echo) as address:
        yield address


@pytest.fixture
def place() -> Iterator[tuple[str, int]]:
    """A free port, for a program that does not say where it listens."""
    with contextlib.closing(Ports()) as ports:
        yield "127.0.0.1", ports.reserve()


@contextlib.contextmanager
def running(words: Sequence[str], place: tuple[str, int], folder: Path) -> Iterator[Child]:
    """Run the program in external mode until the block ends; it listens when the block starts."""
    with Child([*program.ARGV, *words], environment={"XDG_STATE_HOME": str(folder)}) as child:
        assert wait_until(lambda: listens(place)), child.stderr
        yield child


def listens(place: tuple[str, int]) -> bool:
    """Return whether a program listens there."""
    try:
        with socket.create_connection(place, SECONDS):
            return True
    except ConnectionRefusedError:
        return False


def fill(form: str, **places: object) -> list[str]:
    """Fill in a command line; a secret may contain a blank."""
    return [word.format(secret=SECRET, **places) for word in form.split(" ")]


@pytest.mark.parametrize("form", MANAGED)
def test_a_line_of_an_old_torrc_serves(tmp_path: Path, orport: str, form: str) -> None:
    """Only the path of the program is changed in it."""
    argv = [*program.ARGV, *fill(form, folder=tmp_path)]
    # Statistics are new: an old line says nothing of them, and gets them.
    argv[len(program.ARGV) : len(program.ARGV)] = managed.countries(tmp_path)
    with managed.server(tmp_path, parse_endpoint(orport), argv=argv) as proxy:
        assert visit(proxy.methods["obfs3"]) == HELLO
        assert (tmp_path / "clients.log").exists()
        assert (tmp_path / "said").exists() == ("said" in form)


@pytest.mark.parametrize("form", SERVER)
def test_an_old_command_line_serves_bridges(tmp_path: Path, orport: str, place: tuple[str, int], form: str) -> None:
    """Started by hand or by a script."""
    words = fill(form, dest=orport, listen=Endpoint(*place), folder=tmp_path)
    name = next(word for word in words if word in {"dummy", "obfs2", "obfs3"})
    with running([*managed.countries(tmp_path), *words], place, tmp_path):
        assert visit(place, name) == HELLO


@pytest.mark.parametrize("form", WITH_SECRET)
def test_an_old_command_line_serves_both_ends(tmp_path: Path, orport: str, form: str) -> None:
    """A server, and a client that connects to it, with a shared secret."""
    with contextlib.closing(Ports()) as ports:
        far, near = (("127.0.0.1", ports.reserve()) for _ in range(2))
        server = [*fill(form, dest=orport), "server", str(Endpoint(*far))]
        client = [*fill(form, dest=Endpoint(*far)), "client", str(Endpoint(*near))]
        with running(["--no-stats", *server], far, tmp_path), running(client, near, tmp_path):
            assert greet(socket.create_connection(near, SECONDS)) == HELLO


@pytest.mark.parametrize("name", ["obfs2", "obfs3"])
def test_an_old_command_line_serves_programs_that_speak_socks(
    tmp_path: Path, orport: str, place: tuple[str, int], name: str
) -> None:
    """Each connection names its destination."""
    with (
        managed.server(tmp_path, parse_endpoint(orport)) as server,
        running([name, "socks", str(Endpoint(*place))], place, tmp_path),
    ):
        assert greet(socks.connect(place, server.methods[name])) == HELLO


def test_a_secret_for_socks_holds_where_a_connection_says_none(tmp_path: Path, orport: str) -> None:
    """The command line's secret holds unless the connection has its own."""
    environment = {"TOR_PT_SERVER_TRANSPORT_OPTIONS": "obfs2:shared-secret=one"}
    with managed.server(tmp_path, parse_endpoint(orport), environment=environment) as server:
        bridge = server.methods["obfs2"]
        with program.obfsproxy("obfs2", "--shared-secret", "one", "socks", "127.0.0.1:0") as client:
            assert greet(socks.connect(client.address, bridge)) == HELLO
        with program.obfsproxy("obfs2", "--shared-secret", "two", "socks", "127.0.0.1:0") as client:
            assert greet(socks.connect(client.address, bridge, "shared-secret=one")) == HELLO


@pytest.mark.parametrize("form", ["--ext-cookie-file={cookie}", "--ext-cookie-file {cookie}"])
@pytest.mark.parametrize("name", ["obfs2", "obfs3"])
def test_an_old_command_line_serves_the_extended_orport(
    tmp_path: Path, place: tuple[str, int], name: str, form: str
) -> None:
    """The Python program's `ext_server`: tor is told each client's address."""
    with extended.orport(tmp_path) as tor:
        option = fill(form, cookie=tor.cookie_file)
        words = [name, "--dest", str(Endpoint(*tor.address)), *option, "ext_server", str(Endpoint(*place))]
        with running(["--no-stats", *words], place, tmp_path):
            source = canary.address()
            assert visit(place, name, source=source) == HELLO
            (told,) = tor.visits
            assert (parse_endpoint(told.address or "").host, told.transport) == (source, name)


def test_by_hand_too_only_whom_tor_takes_is_counted(tmp_path: Path) -> None:
    """`ext_server` with a tor that refuses one client."""
    log = tmp_path / "log"
    with extended.orport(tmp_path, OrPortConduct.HONEST, OrPortConduct.CLOSE) as tor:
        words = ["obfs3", "--dest", str(Endpoint(*tor.address)), "--ext-cookie-file", str(tor.cookie_file)]
        with program.obfsproxy(*managed.counting(log), *words, "ext_server", "127.0.0.1:0") as bridge:
            origins = ["de", "tr", "ir", "de"]
            answers = [visit(bridge.address, source=canary.address(country)) for country in origins]
    assert answers == [HELLO, b"", HELLO, HELLO]
    assert countries(log) == ["de", "ir"]
