"""What tor is sent about a client: byte for byte what the program has sent to the wrap."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, NamedTuple

import pytest

from obfstats.wire.endpoint import Endpoint
from peers import extended, stand_in, wrapped
from peers.destinations import TIMEOUT
from peers.stand_in import ServerConduct
from tests import canary
from tests.proxy.visiting import HELLO, visit
from tests.wrap.tapping import PROOF, tapped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from peers.extended import ExtendedOrPort
    from peers.wrapped import Wrapped
    from tests.wrap.tapping import Tap


class Listening(NamedTuple):
    """A bridge, and a tap between it and tor.

    Attributes:
        bridge: the wrap with the stand-in.
        tor: the stub.
        tap: that one.
    """

    bridge: Wrapped
    tor: ExtendedOrPort
    tap: Tap


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    """One bridge for all the tests."""
    folder = tmp_path_factory.mktemp("bridge")
    with extended.orport(folder) as tor, tapped(tor.address) as tap:
        between = {"TOR_PT_EXTENDED_SERVER_PORT": str(Endpoint(*tap.address))}
        with wrapped.server(folder, tor, "--no-stats", environment=between) as bridge:
            yield Listening(bridge, tor, tap)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("192.0.2.7:5678", None),
        ("192.0.2.7:1", None),
        ("192.0.2.7:60000", None),
        ("192.0.2.7:65535", None),
        ("[2001:db8::7]:5678", None),
        ("[2001:DB8:0:0::7]:1", None),
        ("2001:db8::7:5678", "[2001:db8::7]:5678"),
        ("[::ffff:192.0.2.7]:443", None),
        ("192.0.2.7", None),
        ("2001:db8::7", None),
    ],
)
def test_an_address_is_forwarded_as_it_was_sent(listening: Listening, address: str, told: str | None) -> None:
    """Both families, made-up ports, any spelling; an IPv6 address without brackets gets them."""
    with listening.bridge.entrance.enter(address, "obfs4") as connection:
        connection.sendall(HELLO)
        assert stand_in.read(connection, len(HELLO)) == HELLO
    expected = {(stand_in.USERADDR, (told or address).encode()), (stand_in.TRANSPORT, b"obfs4")}
    assert set(listening.tap.last()[:-1]) == expected
    assert listening.tap.last()[-1] == (stand_in.DONE, b"")
    assert listening.tor.refused == []


@pytest.mark.parametrize("transport", ["webtunnel", "_", "X9", "x" * 100, "v4"])
def test_a_transports_name_is_forwarded_as_it_was_sent(listening: Listening, transport: str) -> None:
    """Any name: tor knows which ones it has asked for."""
    with listening.bridge.entrance.enter("192.0.2.7:5678", transport):
        assert (stand_in.TRANSPORT, transport.encode()) in listening.tap.last()
    assert listening.tor.refused == []


def test_messages_that_were_left_out_stay_out(listening: Listening) -> None:
    """No address, no transport, or neither: tor counts as it does without a wrap."""
    for address, transport in ((None, "obfs4"), ("192.0.2.7:5678", None), (None, None)):
        with listening.bridge.entrance.enter(address, transport):
            said = {command for command, _ in listening.tap.last()}
        expected = {stand_in.USERADDR} if address else set()
        assert said == expected | ({stand_in.TRANSPORT} if transport else set()) | {stand_in.DONE}


@pytest.mark.parametrize(
    ("conduct", "port"), [(ServerConduct.HONEST, None), (ServerConduct.WEBTUNNEL, 60000), (ServerConduct.SNOWFLAKE, 1)]
)
def test_a_clients_own_address_reaches_tor(listening: Listening, conduct: ServerConduct, port: int | None) -> None:
    """From the client's socket to tor: with its port, or with the one that webtunnel and Snowflake make up."""
    listening.bridge.program.expect(conduct)
    place = (canary.address(), 0)
    with socket.create_connection(listening.bridge.methods[wrapped.NAME], TIMEOUT, place) as client:
        client.sendall(HELLO)
        assert stand_in.read(client, len(HELLO)) == HELLO
        own = client.getsockname()
    assert (stand_in.USERADDR, f"{own[0]}:{port or own[1]}".encode()) in listening.tap.last()


@pytest.mark.parametrize(
    "address",
    ["localhost:5678", "192.0.2.7:0", "@", "", "192.0.2.7:65536", "192.0.2.7:5678\0", "[192.0.2.7]:1"],
)
def test_what_tor_would_close_on_is_closed(listening: Listening, address: str) -> None:
    """A host name, port 0, a Unix socket, an empty text: tor is sent nothing, and the next client is served."""
    heard = len(listening.tap.heard)
    with pytest.raises(ConnectionError):
        listening.bridge.entrance.enter(address)
    assert all(len(kept) < PROOF for kept in listening.tap.heard[heard:])
    assert visit(listening.bridge.methods[wrapped.NAME], "dummy") == HELLO
    assert listening.tor.refused == []
