"""The extended ORPort's protocol by hand: what an honest end says to the other, whose nonce is known."""

from __future__ import annotations

import hmac
import struct
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from obfstats.wire.machine import Send
from tests.wire.join import memory_kept, seeded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from obfstats.wire.machine import Event as HandshakeEvent

COOKIE = bytes(range(100, 132))

Event_co = TypeVar("Event_co", covariant=True)
Event = TypeVar("Event")


class Machine(Protocol[Event_co]):
    """Either end, or a SOCKS server."""

    def receive(self, data: bytes) -> Sequence[Event_co]:
        """Take bytes."""


def hear(machine: Machine[Event], reads: Iterable[bytes]) -> list[Event]:
    """Give a machine one read after the other; give everything it answered."""
    return [event for read in reads for event in machine.receive(read)]


def sent(events: Iterable[object]) -> bytes:
    """Everything that a machine had written to its peer."""
    return b"".join(event.data for event in events if isinstance(event, Send))


def kept(machine: Machine[object], reads: Iterable[bytes]) -> int:
    """Bytes of memory that a machine keeps of reads to which it has no answer."""
    return memory_kept(cast("Callable[[bytes], list[HandshakeEvent]]", machine.receive), reads)


def message(command: int, body: bytes) -> bytes:
    """One message."""
    return struct.pack(">HH", command, len(body)) + body


DONE = message(0x0000, b"")
OKAY = message(0x1000, b"")
DENY = message(0x1001, b"")


def server_hash(client_nonce: bytes, server_nonce: bytes) -> bytes:
    """Tor's proof."""
    text = b"ExtORPort authentication server-to-client hash" + client_nonce + server_nonce
    return hmac.new(COOKIE, text, "sha256").digest()


def client_hash(client_nonce: bytes, server_nonce: bytes) -> bytes:
    """The transport's proof."""
    text = b"ExtORPort authentication client-to-server hash" + client_nonce + server_nonce
    return hmac.new(COOKIE, text, "sha256").digest()


def server_says(client_nonce: bytes, server_nonce: bytes = seeded(2)(32)) -> bytes:
    """All that tor says before the messages."""
    return b"\1\0" + server_hash(client_nonce, server_nonce) + server_nonce + b"\1"


def client_says(
    client_nonce: bytes,
    *,
    server_nonce: bytes,
    address: str | None = None,
    transport: str | None = "obfs3",
    messages: bytes | None = None,
) -> bytes:
    """All that a transport says, DONE included; or with these messages instead of its own."""
    if messages is None:
        messages = b"" if address is None else message(1, address.encode())
        messages += (b"" if transport is None else message(2, transport.encode())) + DONE
    return b"\1" + client_nonce + client_hash(client_nonce, server_nonce) + messages
