"""Clients that tor counts: they shake hands by a transport and begin TLS, until tor itself has answered."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING

from demo.clients import ObfuscatedClient
from obfstats.wire.transports import make_transport
from tests.peers import program

if TYPE_CHECKING:
    from tests.peers.tors import Bridge

SECONDS = 30.0
"""How long a step may take."""

OURS = (*program.ARGV, "managed")
"""Our program as tor starts it, counting nothing but by its defaults."""


def counting(*options: str) -> tuple[str, ...]:
    """Our program as a bridge's tor starts it, with options of its own."""
    return (*program.ARGV, *options, "managed")


def visit(bridge: Bridge, name: str, source: str | None = None) -> bytes:
    """Come as a client, from an address; give what tor answered to the beginning of TLS.

    The bridge has then counted: tor reads nothing before it has said OKAY on the extended ORPort, and counts there.

    Raises:
        OSError: if the bridge hangs up or takes too long.
    """
    with ObfuscatedClient(make_transport(name), bridge.address(name), source, SECONDS) as client:
        client.sendall(_client_hello())
        return client.recv()


def probe(bridge: Bridge, name: str) -> None:
    """Connect and say nothing: nobody counts this, but the program wakes up."""
    with socket.create_connection(bridge.address(name), SECONDS) as connection:
        connection.shutdown(socket.SHUT_RDWR)


def is_answer(data: bytes) -> bool:
    """Tell whether this is what tor says first: a TLS record with a handshake in it."""
    return data[:2] == b"\x16\x03"


def _client_hello() -> bytes:
    """Make what a client says first in TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    return outgoing.read()
