"""What the handshakes of all transports have in common, for both sides.

A handshake is a machine (`machine` has the rules) whose results are two ciphers:

    OutboundReady(encryptor)            from now on what is sent goes through this cipher
    InboundReady(decryptor, early)      the last event: the peer has proved that it holds the keys; `early` and all that
                                        arrives from now on goes through this cipher

Rules that hold for every transport:

- Each of the two comes once, `OutboundReady` first. A responder counts its peer as a client at `InboundReady` and not
  before: a probe that sends noise never gets there.
- A responder sends nothing before it has what it needs from the initiator, so silence answers silence.
- `Failed` must not show at a responder's side: send nothing, and close at a random moment.

The ciphers are `cryptography`'s: `update_into(data, buffer)` works in place on one buffer, which the relay relies on.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from obfstats.wire.machine import Event, Finished

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import CipherContext

    from obfstats.wire.machine import Machine, Random

_KEY_LENGTH = 16


class Side(Enum):
    """Which end of the obfuscated connection a handshake plays."""

    INITIATOR = "Initiator"
    RESPONDER = "Responder"

    @property
    def peer(self) -> Side:
        """The other end."""
        return Side.RESPONDER if self is Side.INITIATOR else Side.INITIATOR


@dataclass(frozen=True, slots=True)
class OutboundReady(Event):
    """What is sent from now on goes through `encryptor`."""

    encryptor: CipherContext


@dataclass(frozen=True, slots=True)
class InboundReady(Finished):
    """The peer holds the keys: `early` and everything after it goes through `decryptor`."""

    decryptor: CipherContext


class Transport(Protocol):
    """A transport with its options checked, before any connection exists."""

    name: str

    def handshake(self, side: Side, random: Random) -> Machine:
        """Begin one connection's handshake."""


def make_cipher(secret: bytes) -> CipherContext:
    """Make AES-128-CTR of a 32-byte secret: its first half is the key, its second half the first counter block.

    In this mode enciphering and deciphering are the same.
    """
    return Cipher(algorithms.AES(secret[:_KEY_LENGTH]), modes.CTR(secret[_KEY_LENGTH:])).encryptor()


def draw_padding(random: Random, longest: int) -> bytes:
    """Draw 0 to `longest` random bytes, each length with the same probability (to one part in 2^50)."""
    length = (int.from_bytes(random(8), "big") * (longest + 1)) >> 64
    return random(length)
