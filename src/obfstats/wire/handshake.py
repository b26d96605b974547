"""The one shape of every transport's handshake, for both of its sides.

A handshake is a state machine. Whoever owns the socket calls `start` once, then `receive` with whatever arrived, and
does what the returned events say, in their order:

    Send(data)                        write these bytes to the peer
    Compute(job)                      call job() anywhere, on another thread for instance, then give what it returned
                                      to `computed`; until then reading from the peer should pause
    OutboundReady(encryptor)          from now on what is sent goes through this cipher
    InboundReady(decryptor, early)    the peer has proved that it holds the keys; `early` is what it sent already,
                                      deciphered; what arrives from now on goes through the cipher, not to `receive`
    Failed(reason)                    the peer does not speak this protocol; say nothing, close at a random moment

Rules that hold for every transport:

- `OutboundReady` and `InboundReady` come once each, `OutboundReady` first. A responder counts its peer as a client at
  `InboundReady` and not before: a probe that sends noise never gets there.
- A responder sends nothing before it has what it needs from the initiator, so silence answers silence.
- After `Failed`, and after `InboundReady`, the machine ignores what it is given. It holds a bounded number of bytes at
  any time: up to a mebibyte, or one read if that is longer, while a job runs, and less than 200 otherwise.
- Jobs are pure functions: they touch no machine, draw nothing, and may be called on any thread.
- Reasons are fixed texts: no byte of the peer's is ever in one.
- Randomness comes in as a function from a length to that many bytes, so that a handshake can be replayed.

The ciphers are `cryptography`'s: `update_into(data, buffer)` works in place on one buffer, which the relay relies on.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives.ciphers import CipherContext

    Random: TypeAlias = Callable[[int], bytes]


class Side(Enum):
    """Which end of the obfuscated connection a handshake plays."""

    INITIATOR = "Initiator"
    RESPONDER = "Responder"

    @property
    def peer(self) -> Side:
        """The other end."""
        return Side.RESPONDER if self is Side.INITIATOR else Side.INITIATOR


@dataclass(frozen=True, slots=True)
class Send:
    """Bytes to write to the peer."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Compute:
    """A costly pure function to call anywhere; its result goes to `computed`."""

    job: Callable[[], object]


@dataclass(frozen=True, slots=True)
class OutboundReady:
    """What is sent from now on goes through `encryptor`."""

    encryptor: CipherContext


@dataclass(frozen=True, slots=True)
class InboundReady:
    """The peer is one of ours: `early` is its first plaintext, the rest goes through `decryptor`."""

    decryptor: CipherContext
    early: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """The peer does not speak this protocol. `reason` is a fixed text."""

    reason: str


Event: TypeAlias = Send | Compute | OutboundReady | InboundReady | Failed


class Handshake(Protocol):
    """One connection's handshake, from its first byte to two ciphers."""

    def start(self) -> list[Event]:
        """Give what this side says unasked, or the job that has to be done before; call it once, first."""

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes of the peer's, cut anywhere."""

    def computed(self, result: object) -> list[Event]:
        """Take what the job of the last `Compute` returned."""


class Transport(Protocol):
    """A transport with its options checked, before any connection exists."""

    name: str

    def handshake(self, side: Side, random: Random) -> Handshake:
        """Begin one connection's handshake."""
