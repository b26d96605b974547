"""Connections through a proxy that tor names (TOR_PT_PROXY) or the operator (`--proxy`)."""

from __future__ import annotations

import asyncio
import os
import socket
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pytest

from obfstats.proxy.driver import MachineDriver
from obfstats.proxy.outbound import Proxied, open_first
from obfstats.proxy.relay import RelayEnd, Scratch
from obfstats.wire.endpoint import Endpoint, parse_endpoint
from obfstats.wire.handshake import InboundReady, Side
from obfstats.wire.transports import make_transport
from obfstats.wire.upstream import parse_upstream
from peers import managed, program, socks, upstream
from peers.destinations import echo, serve, speak_first
from peers.upstream import SCHEMES, Asked, Manner
from tests.proxy.test_interop import fetch_megabyte
from tests.proxy.visiting import HELLO, SECONDS, greet, refuse_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from peers.managed import Managed
    from peers.upstream import Scheme, Upstream

NAME = "bridge.example"


class Credentials(NamedTuple):
    """A username and a password, in the URI and as they must arrive."""

    scheme: Scheme
    username: str
    password: str | None
    arrives: tuple[str, str | None]


CREDENTIALS = [
    Credentials("socks5", "me", "pass:w@rd%20%25", ("me", "pass:w@rd %")),
    Credentials("socks5", "m" * 255, "p" * 255, ("m" * 255, "p" * 255)),
    Credentials("socks4a", "me", None, ("me", None)),
    Credentials("http", "me", "pass:w@rd%20%25", ("me", "pass:w@rd %")),
    Credentials("http", "me", None, ("me", "")),
    Credentials("http", "jos%C3%A9", "%E2%82%AC", ("josé", "€")),
]


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    """A bridge of ours in front of an ORPort that echoes."""
    state = tmp_path_factory.mktemp("bridge")
    with serve(echo) as address, managed.server(state, parse_endpoint(address)) as proxy:
        yield proxy


class Way(NamedTuple):
    """A client of ours, and its proxy from TOR_PT_PROXY."""

    proxy: Upstream
    client: Managed

    def reach(self, destination: tuple[str, int], name: str = "obfs3") -> socket.socket:
        """Connect through both."""
        return socks.connect(self.client.methods[name], destination)


@pytest.fixture(scope="module", params=SCHEMES)
def one_way(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, bridge: Managed) -> Iterator[Way]:
    """One of each kind for all tests that do not harm it; one name leads to the bridge."""
    state = tmp_path_factory.mktemp("client")
    with upstream.serve(request.param, {NAME: bridge.methods["obfs3"]}) as proxy, behind(state, proxy) as client:
        yield Way(proxy, client)


@pytest.fixture
def way(one_way: Way) -> Way:
    """The same, reset."""
    one_way.proxy.asked.clear()
    one_way.proxy.manner = Manner.PLAIN
    return one_way


def behind(
    state: Path, proxy: Upstream, username: str | None = None, password: str | None = None
) -> AbstractContextManager[Managed]:
    """Run a client with a proxy in TOR_PT_PROXY."""
    environment = {"TOR_PT_PROXY": proxy.uri(username, password)}
    return managed.client(state, transports=["dummy", "obfs3"], environment=environment)


def failure(way: Way, destination: tuple[str, int]) -> int | None:
    """Fail to connect; return the SOCKS reply."""
    with pytest.raises(socks.SocksError) as raised:
        way.reach(destination)
    return raised.value.reply


def test_a_megabyte_goes_through_a_proxy_of_each_kind(way: Way, bridge: Managed) -> None:
    """It is asked for the bridge's address, once."""
    sent, received = fetch_megabyte(way.reach(bridge.methods["obfs3"]))
    assert received == sent
    assert way.proxy.asked == [Asked(*bridge.methods["obfs3"])]


def test_the_proxy_is_accepted_before_the_methods(tmp_path: Path) -> None:
    """PROXY DONE, then the CMETHOD lines."""
    with upstream.serve("socks5") as proxy, behind(tmp_path, proxy, "me", "hunter2") as client:
        words = [line.split()[0] for line in client.said()]
        assert words[:4] == ["VERSION", "PROXY", "CMETHOD", "CMETHOD"]
        assert client.said()[1] == "PROXY DONE"


@pytest.mark.parametrize("given", CREDENTIALS, ids=[f"{number}" for number in range(len(CREDENTIALS))])
def test_credentials_arrive_as_they_are_meant(tmp_path: Path, bridge: Managed, given: Credentials) -> None:
    """Percent-decoded, HTTP's in UTF-8; they go nowhere else."""
    place = bridge.methods["obfs3"]
    with (
        upstream.serve(given.scheme) as proxy,
        behind(tmp_path, proxy, given.username, given.password) as client,
    ):
        assert greet(socks.connect(client.methods["obfs3"], place)) == HELLO
        assert proxy.asked == [Asked(*place, *given.arrives)]
        assert given.password is None or given.password not in client.child.stdout + client.child.stderr


def test_a_name_is_forwarded_and_never_resolved_here(way: Way) -> None:
    """The proxy gets it as it is, and alone resolves it."""
    assert greet(way.reach((NAME, 443))) == HELLO
    assert way.proxy.asked == [Asked(NAME, 443)]


@pytest.mark.parametrize("one_way", ["socks5", "http"], indirect=True)
def test_a_bridge_on_ipv6_is_asked_for_by_its_address(way: Way) -> None:
    """In SOCKS5 as type 4, in HTTP in brackets."""
    with serve(echo, "::1") as address:
        place = parse_endpoint(address)
        assert greet(way.reach(place, "dummy")) == HELLO
    assert way.proxy.asked == [Asked(*place)]


def test_a_proxy_on_ipv6_is_reached(tmp_path: Path, bridge: Managed) -> None:
    """Its address is in brackets."""
    with upstream.serve("socks5", host="::1") as proxy, behind(tmp_path, proxy) as client:
        assert proxy.uri() == f"socks5://{Endpoint(*proxy.address)}"
        assert greet(socks.connect(client.methods["obfs3"], bridge.methods["obfs3"])) == HELLO


def test_an_answer_in_two_pieces_is_one_answer(way: Way, bridge: Managed) -> None:
    """Its second part is not taken for the bridge's bytes."""
    way.proxy.manner = Manner.IN_PIECES
    assert greet(way.reach(bridge.methods["obfs3"])) == HELLO


def test_what_the_destination_sends_with_the_answer_is_not_lost(way: Way) -> None:
    """obfs3 servers of other authors send first; here it is a greeting in clear."""
    way.proxy.manner = Manner.TOGETHER
    with serve(speak_first) as address, way.reach(parse_endpoint(address), "dummy") as connection:
        assert connection.recv(100) == b"220 welcome\r\n"


def test_a_proxy_that_refuses_is_a_failure(way: Way, bridge: Managed) -> None:
    """Only of this connection: the next one, which is not refused, is served."""
    way.proxy.manner = Manner.REFUSE
    assert failure(way, bridge.methods["obfs3"]) not in {0, None}
    way.proxy.manner = Manner.PLAIN
    assert greet(way.reach(bridge.methods["obfs3"])) == HELLO


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_next_address_is_asked_for_after_a_refusal(scheme: Scheme) -> None:
    """A connection that the proxy has refused leaves nothing behind that could end the next one."""

    async def main(addresses: list[Endpoint], proxy: Upstream) -> None:
        near, far = RelayEnd(Scratch()), RelayEnd(Scratch())
        near.join(far, lambda: None)
        handshake = MachineDriver(make_transport("dummy").handshake(Side.INITIATOR, os.urandom), far)
        way = Proxied(parse_upstream(proxy.uri()))
        transport = await open_first(partial(way.open, handshake), addresses)
        assert await handshake.result(InboundReady) is not None
        transport.abort()

    with serve(echo) as address, serve(echo) as refusing, upstream.serve(scheme) as proxy:
        served, refused = parse_endpoint(address), parse_endpoint(refusing)
        proxy.manner = Manner.REFUSE_FIRST
        asyncio.run(main([refused, served], proxy))
        assert [asked.port for asked in proxy.asked] == [refused.port, served.port]


@pytest.mark.parametrize("name", ["a..b", "x" * 64, "-"])
def test_an_invalid_name_is_a_failure(way: Way, name: str) -> None:
    """An answer in time, from us or from the proxy."""
    way.proxy.manner = Manner.REFUSE
    assert failure(way, (name, 443)) not in {0, None}


@pytest.mark.parametrize("name", ["a..b", "x" * 64])
def test_a_proxy_without_a_possible_name_is_a_failure(name: str, tmp_path: Path, bridge: Managed) -> None:
    """The answer is a failure, where an unexpected error would close its connection."""
    with managed.client(tmp_path, environment={"TOR_PT_PROXY": f"socks5://{name}:1080"}) as client:
        with pytest.raises(socks.SocksError) as raised:
            socks.connect(client.methods["obfs3"], bridge.methods["obfs3"])
        assert raised.value.reply == 1


def test_an_unreachable_proxy_is_a_failure(tmp_path: Path, bridge: Managed) -> None:
    """The client never connects without it."""
    with upstream.serve("socks5") as proxy:
        uri = proxy.uri()
    with managed.client(tmp_path, environment={"TOR_PT_PROXY": uri}) as client:
        with pytest.raises(socks.SocksError) as raised:
            socks.connect(client.methods["obfs3"], bridge.methods["obfs3"])
        assert raised.value.reply == 5


@pytest.mark.parametrize(
    "uri",
    [
        "127.0.0.1:1080",
        "ftp://me:hunter2@127.0.0.1:1080",
        "socks5://me@127.0.0.1:1080",
        "socks5://me:hunter2@127.0.0.1",
        "socks5://me:hunter2%@127.0.0.1:1080",
        "socks5://me:hunter2@127.0.0.1:0",
        "socks4a://me:hunter2@127.0.0.1:1080",
        "socks5://jos%C3%A9:hunter2@127.0.0.1:1080",
        "http://127.0.0.1:1080/hunter2",
        "socks5://me:" + "hunter2" * 50 + "@127.0.0.1:1080",
    ],
)
def test_an_unusable_proxy_is_reported_and_ends_the_program(tmp_path: Path, uri: str) -> None:
    """PROXY-ERROR without the password, exit status 1, no method: no connection is made without the proxy."""
    version, error = refuse_in({**managed.client_environment(tmp_path), "TOR_PT_PROXY": uri})
    assert version == "VERSION 1"
    assert error.startswith("PROXY-ERROR ")
    assert "hunter2" not in error


@pytest.mark.parametrize(("scheme", "role"), [("socks5", "client"), ("socks4a", "socks"), ("http", "client")])
def test_by_hand_the_command_line_names_the_proxy(bridge: Managed, scheme: Scheme, role: str) -> None:
    """Both roles that connect to bridges; the Python program's `--proxy`."""
    place = bridge.methods["obfs3"]
    secret = None if scheme == "socks4a" else "hunter2"
    with upstream.serve(scheme) as proxy:
        destination = ["--dest", str(Endpoint(*place))] if role == "client" else []
        words = ["--proxy", proxy.uri("me", secret), "obfs3", *destination, role, "127.0.0.1:0"]
        with program.obfsproxy(*words) as client:
            connection = (
                socket.create_connection(client.address, SECONDS)
                if role == "client"
                else socks.connect(client.address, place)
            )
            assert greet(connection) == HELLO
            assert "hunter2" not in client.child.stderr
        assert proxy.asked == [Asked(*place, "me", secret)]


def test_tors_proxy_overrides_the_command_lines(tmp_path: Path, bridge: Managed) -> None:
    """TOR_PT_PROXY is used; `--proxy` applies where tor names none."""
    place = bridge.methods["obfs3"]
    with upstream.serve("socks5") as named_by_tor, upstream.serve("http") as named_by_hand:
        argv = managed.ours("--proxy", named_by_hand.uri())
        for environment in ({}, {"TOR_PT_PROXY": named_by_tor.uri()}):
            with managed.client(tmp_path, argv=argv, environment=environment) as client:
                assert greet(socks.connect(client.methods["obfs3"], place)) == HELLO
        assert (len(named_by_hand.asked), len(named_by_tor.asked)) == (1, 1)
