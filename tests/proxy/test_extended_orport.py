"""Tor's extended ORPort: what it is sent, what waits for its OKAY, and clients that it does not accept."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from obfstats.proxy.orport import EXTENDED_DEADLINE
from obfstats.wire.endpoint import Endpoint, parse_endpoint
from obfstats.wire.transports import make_transport
from peers import extended, managed
from peers.destinations import digest, echo, serve
from peers.extended import OrPortConduct, Visit
from peers.obfuscated import ObfuscatedClient
from tests import canary
from tests.proxy.visiting import HELLO, countries, visit, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from peers.extended import ExtendedOrPort
    from peers.managed import Managed

ALL = ("dummy", *managed.TRANSPORTS)


def connect(proxy: Managed, name: str = "obfs3", source: str | None = None) -> ObfuscatedClient:
    """Connect as a client that stays."""
    return ObfuscatedClient(make_transport(name), proxy.methods[name], source)


def origin(client: ObfuscatedClient) -> str:
    """Return a client's address and port, as tor should get them."""
    return str(Endpoint(*client.socket.getsockname()[:2]))


class Counting(NamedTuple):
    """A bridge that counts: each client's line is written when the next one arrives.

    Attributes:
        tor: the stub behind it.
        proxy: the program.
        log: its statistics log.
    """

    tor: ExtendedOrPort
    proxy: Managed
    log: Path


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counting]:
    """One bridge for all tests that do not harm it, on both families."""
    folder = tmp_path_factory.mktemp("bridge")
    argv, binds = managed.ours(*managed.counting(folder / "log")), {"obfs2": "[::1]:0"}
    with (
        extended.orport(folder) as tor,
        managed.server(folder, tor, argv=argv, transports=ALL, binds=binds) as proxy,
    ):
        yield Counting(tor, proxy, folder / "log")


@pytest.mark.parametrize("name", ALL)
def test_tor_gets_the_clients_address_and_transport(counting: Counting, name: str) -> None:
    """USERADDR with the client's own port, IPv6 in brackets; TRANSPORT as tor named it."""
    with connect(counting.proxy, name, None if name == "obfs2" else canary.address()) as client:
        client.sendall(HELLO)
        assert client.recv() == HELLO
        assert counting.tor.visits[-1] == Visit(origin(client), name)
        assert counting.tor.refused == []


def test_a_client_of_ipv4_on_a_listener_of_ipv6_is_one_of_ipv4(tmp_path: Path) -> None:
    """The kernel shows it as ::ffff:127.0.0.1; tor and the statistics get the address itself."""
    log = tmp_path / "log"
    argv = managed.ours("--stats-columns", "family", *managed.counting(log))
    bind = {"obfs3": "[::ffff:127.0.0.1]:0"}
    with (
        extended.orport(tmp_path) as tor,
        managed.server(tmp_path, tor, argv=argv, transports=["obfs3"], binds=bind) as proxy,
    ):
        _, port = proxy.methods["obfs3"]
        source = canary.address("tr")
        for _ in range(2):
            assert visit(("127.0.0.1", port), source=source) == HELLO
        assert [parse_endpoint(told.address or "").host for told in tor.visits] == [source, source]
        assert log.read_text().split()[2::2] == ["tr", "v4"]


def test_no_byte_of_the_clients_arrives_before_tors_okay(tmp_path: Path) -> None:
    """A client that does not wait and a slow tor: others are served meanwhile, and then this client too."""
    sent = bytes(range(256)) * 300
    with (
        extended.orport(tmp_path, OrPortConduct.LATE) as tor,
        managed.server(tmp_path, tor) as proxy,
        connect(proxy) as client,
    ):
        client.sendall(sent)
        tor.wait_for(1)
        for name in managed.TRANSPORTS:
            assert visit(proxy.methods[name], name) == HELLO
        tor.go.set()
        client.end_sending()
        assert client.receive_all() == sent
        assert tor.refused == []


@pytest.mark.parametrize("name", ALL)
def test_what_tor_sends_with_its_okay_reaches_the_client(tmp_path: Path, name: str) -> None:
    """In one packet with OKAY: it is for the client, obfuscated like everything else."""
    with (
        extended.orport(tmp_path, greeting=b"220 welcome\r\n") as tor,
        managed.server(tmp_path, tor, transports=[name]) as proxy,
        connect(proxy, name) as client,
    ):
        client.sendall(HELLO)
        client.end_sending()
        assert client.receive_all() == b"220 welcome\r\n" + HELLO


def test_a_half_close_is_kept_through_it(tmp_path: Path) -> None:
    """A client that has ended its direction before tor's OKAY still gets its answer."""
    with (
        extended.orport(tmp_path, OrPortConduct.LATE, handle=digest) as tor,
        managed.server(tmp_path, tor) as proxy,
        connect(proxy) as client,
    ):
        client.send_and_end(HELLO * 10_000)
        tor.wait_for(1)
        tor.go.set()
        assert len(client.receive_all()) == 32


@pytest.mark.parametrize("conduct", extended.UNWILLING)
def test_a_client_that_tor_does_not_accept_is_closed_and_not_counted(
    counting: Counting, conduct: OrPortConduct
) -> None:
    """A fault costs only its own client; those before and after it are served and counted."""
    proxy, before = counting.proxy, len(countries(counting.log))
    counting.tor.expect(OrPortConduct.HONEST, conduct)
    origins = ["de", "tr", "de", "ir"]
    answers = [visit(proxy.methods["obfs3"], source=canary.address(country)) for country in origins]
    assert answers == [HELLO, b"", HELLO, HELLO]
    assert countries(counting.log)[-2:] == ["de", "de"]
    assert "tr" not in countries(counting.log)[before:]


def test_a_client_that_tor_keeps_waiting_is_closed_and_not_counted(tmp_path: Path) -> None:
    """Silence from the start, and silence in place of OKAY: five seconds, in which others are served."""
    log = tmp_path / "log"
    with (
        extended.orport(tmp_path, OrPortConduct.SILENCE, OrPortConduct.LATE) as tor,
        managed.server(tmp_path, tor, argv=managed.ours(*managed.counting(log))) as proxy,
        connect(proxy, source=canary.address("tr")) as first,
    ):
        assert wait_until(lambda: tor.connections == 1)
        with connect(proxy, source=canary.address("tr")) as second:
            tor.wait_for(1)
            for country in ("de", "ir"):
                assert visit(proxy.methods["obfs3"], source=canary.address(country)) == HELLO
            for client in (first, second):
                client.socket.settimeout(3 * EXTENDED_DEADLINE)
                assert answer(client) == b""
        assert visit(proxy.methods["obfs3"], source=canary.address()) == HELLO
        assert countries(log) == ["de", "ir"]


def answer(client: ObfuscatedClient) -> bytes:
    """What a client receives before its connection is closed in any way."""
    try:
        return client.receive_all()
    except ConnectionError:
        return b""


def test_a_client_counts_at_tors_okay(tmp_path: Path) -> None:
    """Not at its handshake, and not at DONE."""
    log = tmp_path / "log"
    with (
        extended.orport(tmp_path, OrPortConduct.HONEST, OrPortConduct.LATE) as tor,
        managed.server(tmp_path, tor, argv=managed.ours(*managed.counting(log))) as proxy,
    ):
        assert visit(proxy.methods["obfs3"], source=canary.address("de")) == HELLO
        with connect(proxy, source=canary.address("tr")) as client:
            client.sendall(HELLO)
            tor.wait_for(2)
            # The next client that counts would have written the line of the one before it.
            assert countries(log) == []
            tor.go.set()
            assert client.recv() == HELLO
            assert countries(log) == ["de"]


def test_without_an_extended_orport_the_plain_one_is_told_nothing(tmp_path: Path) -> None:
    """TOR_PT_EXTENDED_SERVER_PORT is empty, as tor sets it: the client's bytes are the first ones."""
    with serve(echo) as address, managed.server(tmp_path, parse_endpoint(address)) as proxy:
        assert visit(proxy.methods["obfs3"]) == HELLO


def test_tor_on_ipv6_is_reached(tmp_path: Path) -> None:
    """ExtORPort [::1]:auto."""
    with extended.orport(tmp_path, host="::1") as tor, managed.server(tmp_path, tor) as proxy:
        assert visit(proxy.methods["obfs3"]) == HELLO
        assert len(tor.visits) == 1


def test_a_tor_that_ends_its_direction_with_its_okay_has_accepted_the_client(tmp_path: Path) -> None:
    """What it sends with it arrives, and the client counts, as it does for tor."""
    log = tmp_path / "log"
    argv = managed.ours(*managed.counting(log))
    with (
        extended.orport(tmp_path, greeting=b"bye", handle=lambda _: None) as tor,
        managed.server(tmp_path, tor, argv=argv) as proxy,
    ):
        for _ in range(2):
            with connect(proxy) as client:
                assert client.receive_all() == b"bye"
        assert len(tor.visits) == 2
        assert wait_until(lambda: log.exists() and len(log.read_text().splitlines()) == 1)


REASONS = [
    (OrPortConduct.WRONG_HASH, "the extended ORPort does not know the cookie"),
    (OrPortConduct.REFUSE, "the extended ORPort refused the cookie"),
    (OrPortConduct.DENY, "the extended ORPort denied the connection"),
    (OrPortConduct.CLOSE, "the extended ORPort hung up"),
    (OrPortConduct.HANG_UP, "the extended ORPort hung up"),
    (OrPortConduct.GARBAGE, "the extended ORPort's list of authentication types has no end"),
    (OrPortConduct.CHATTER, "the extended ORPort sent a message of more than 1,024 bytes"),
]


def test_the_operator_finds_every_reason_in_the_log(tmp_path: Path) -> None:
    """Tor itself never denies but closes: that is reported too."""
    said = tmp_path / "said"
    argv = managed.ours("--no-stats", "--log-file", str(said), "--log-min-severity", "info")
    with (
        extended.orport(tmp_path, *(conduct for conduct, _ in REASONS)) as tor,
        managed.server(tmp_path, tor, argv=argv) as proxy,
    ):
        assert [visit(proxy.methods["obfs3"]) for _ in REASONS] == [b""] * len(REASONS)
        proxy.child.stop()
    failures = [line.partition("] ")[2] for line in said.read_text().splitlines() if " failed: " in line]
    assert failures == [f"[scrubbed]: connection to [scrubbed] failed: {reason}" for _, reason in REASONS]


def test_no_client_address_goes_anywhere_else(tmp_path: Path) -> None:
    """Whatever tor does: not in tor's log, not in the program's at level debug, not in the statistics."""
    said = tmp_path / "said"
    argv = managed.ours("--log-file", str(said), "--log-min-severity", "debug", *managed.counting(tmp_path / "log"))
    conducts = [conduct for conduct in OrPortConduct if conduct is not OrPortConduct.SILENCE]
    with extended.orport(tmp_path, *conducts) as tor, managed.server(tmp_path, tor, argv=argv) as proxy:
        tor.go.set()
        source = canary.address()
        answers = [visit(proxy.methods["obfs3"], source=source) for _ in conducts]
        assert answers.count(HELLO) == 2
        proxy.child.stop()
    assert "[scrubbed]" in said.read_text()
    everything = b"".join(content for _, content in canary.files_below(tmp_path))
    assert source.encode() not in everything
    assert source not in proxy.child.stdout + proxy.child.stderr
