"""Clients that tor counts: they complete a transport's handshake and begin TLS, until tor has answered."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING

from obfstats.wire.transports import make_transport
from peers import forwarder, program, socks
from peers.child import START_SECONDS, ChildError
from peers.hello import client_hello
from peers.network import OBFS4PROXY
from peers.obfuscated import ObfuscatedClient
from peers.program import OBFSTATS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from peers.managed import Managed
    from peers.tors import Bridge
    from peers.webtunnel import Website

SECONDS = 30.0
"""How long a step may take."""

_CHUNK = 1 << 16
_POLL = 0.05

OURS = (*program.ARGV, "managed")
"""Our program as tor starts it, counting nothing but by its defaults."""


def counting(*options: str) -> tuple[str, ...]:
    """Our program as a bridge's tor starts it, with options of its own."""
    return (*program.ARGV, *options, "managed")


def wrapping(*options: str, program: Sequence[str] = OBFS4PROXY) -> tuple[str, ...]:
    """Another author's program as a bridge's tor starts it with our counting before it."""
    return (OBFSTATS, "wrap", *options, "--", *program)


def visit(bridge: Bridge, name: str, source: str | None = None) -> bytes:
    """Connect as a client from an address; give tor's answer to the beginning of TLS.

    The bridge has then counted: tor reads nothing before it has sent OKAY on the extended ORPort, and counts there.

    Raises:
        OSError: if the bridge hangs up or takes too long.
    """
    with ObfuscatedClient(make_transport(name), bridge.address(name), source, SECONDS) as client:
        client.sendall(client_hello())
        return client.recv()


def visit_with(proxy: Managed, bridge: Bridge, name: str, source: str) -> bytes:
    """Connect as `visit` does, by another program's client; from an IPv4 address.

    Args:
        proxy: the program, which runs as a client's tor runs it.
        bridge: whom to visit.
        name: by which transport.
        source: the address to connect from.

    Raises:
        OSError: if the bridge hangs up or takes too long.
    """
    arguments = ";".join(bridge.arguments(name)) or None
    with forwarder.forward(source, bridge.address(name)) as place:
        return _ask(socks.connect(proxy.methods[name], place, arguments))


def visit_website(proxy: Managed, site: Website, source: str) -> bytes:
    """Connect as `visit_with` does, by webtunnel through a website."""
    with forwarder.forward(source, site.address) as place:
        return _ask(socks.connect(proxy.methods["webtunnel"], place, site.arguments(place)))


@contextlib.contextmanager
def stay(bridge: Bridge, name: str, source: str | None = None) -> Iterator[ObfuscatedClient]:
    """Connect as `visit` does, and stay connected until the block ends; gives the connection.

    Raises:
        OSError: if the bridge hangs up or takes too long.
    """
    with ObfuscatedClient(make_transport(name), bridge.address(name), source, SECONDS) as client:
        client.sendall(client_hello())
        assert is_answer(client.recv())
        yield client


def wait_until_served(bridge: Bridge, name: str) -> None:
    """Wait until a transport listens that had ended and that tor starts again.

    Raises:
        ChildError: if it does not.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError):
            probe(bridge, name)
            return
        time.sleep(_POLL)
    raise ChildError(f"{name} does not listen again")


def countries_seen(bridge: Bridge) -> str:
    """Give what tor has counted, by country."""
    return bridge.ask("status/clients-seen").partition("CountrySummary=")[2].partition(" ")[0]


def statistics_log(bridge: Bridge) -> Path:
    """Give our log, in the folder that tor gives to transports."""
    return bridge.folder / "pt_state" / "clients.log"


def probe(bridge: Bridge, name: str) -> None:
    """Connect and send nothing: this is not counted, but the program wakes up."""
    with socket.create_connection(bridge.address(name), SECONDS) as connection:
        connection.shutdown(socket.SHUT_RDWR)


def is_answer(data: bytes) -> bool:
    """Tell whether this is what tor sends first: a TLS record with a handshake in it."""
    return data[:2] == b"\x16\x03"


def _ask(connection: socket.socket) -> bytes:
    """Begin TLS; give tor's answer."""
    with connection:
        connection.sendall(client_hello())
        return connection.recv(_CHUNK)
