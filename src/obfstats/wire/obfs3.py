"""obfs3, "the Threebfuscator": its handshake, for both sides.

Source: obfs3-protocol-spec.txt of the Python obfsproxy, checked against obfs4proxy.

    each side sends     PUBKEY[192] | padding, 0 to 4097 bytes
    SHARED              the UniformDH secret, 192 bytes
    before its data     padding, 0 to 4097 bytes | HMAC-SHA256(SHARED, "Initiator magic")
    then                its data through AES-128-CTR, with the first 16 bytes of
                        HMAC-SHA256(SHARED, "Initiator obfuscated data") as key and the last 16 as counter

The responder's strings begin with "Responder" in place of "Initiator".
No padding tells its length: the receiver searches for the magic after the public key, and fails if it is not within
8194 bytes of padding and its own 32.

What this side does, and when:

- The initiator sends its key unasked, and its magic as soon as it has the responder's key.
- The responder is silent until it has the initiator's whole key, then sends its own. It sends its magic only after it
  has found the initiator's, so a probe that cannot do the key exchange never sees a second answer.
- A peer may hold its magic back until it has data to send (obfs4proxy does), so for the initiator `OutboundReady` and
  `InboundReady` can be far apart.
- Exponentiations are jobs: the initiator's two are one job each, because its first message needs the first of them; the
  responder's two are one job.
"""

from __future__ import annotations

import hmac
from functools import partial
from typing import TYPE_CHECKING, Any

from obfstats.wire.handshake import InboundReady, OutboundReady, Side, draw_padding, make_cipher
from obfstats.wire.machine import Compute, Machine, ProtocolError, Send, read_exactly
from obfstats.wire.uniformdh import KEY_LENGTH, SEED_LENGTH, KeyPair

if TYPE_CHECKING:
    from collections.abc import Generator

    from obfstats.wire.machine import Event, Random, Script

MAX_PADDING = 8194
"""Bytes between a public key and its side's magic, at most: two pieces of padding of up to half of this."""

MAGIC_LENGTH = 32

_MAX_SEARCHED = MAX_PADDING + MAGIC_LENGTH


class Obfs3:
    """The obfs3 transport. It has no options."""

    def __init__(self) -> None:
        self.name = "obfs3"

    def handshake(self, side: Side, random: Random) -> Machine:
        """Begin one connection's handshake."""
        return Machine(partial(_shake_hands, side, random))


def _shake_hands(side: Side, random: Random, held: bytearray) -> Script:
    secret: bytes
    if side is Side.INITIATOR:
        key_pair: KeyPair = yield Compute(partial(KeyPair, random(SEED_LENGTH)))
        yield _greeting(key_pair.public, random)
        peer_key = yield from read_exactly(held, KEY_LENGTH)
        secret = yield Compute(partial(key_pair.shared_secret, peer_key))
        yield from _open_outbound(side, random, secret)
        yield from _skip_to_magic(held, _derive(secret, side.peer, "magic"))
    else:
        peer_key = yield from read_exactly(held, KEY_LENGTH)
        public, secret = yield Compute(partial(_agree, random(SEED_LENGTH), peer_key))
        yield _greeting(public, random)
        yield from _skip_to_magic(held, _derive(secret, side.peer, "magic"))
        yield from _open_outbound(side, random, secret)
    yield InboundReady(make_cipher(_derive(secret, side.peer, "obfuscated data")), early=bytes(held))


def _greeting(public: bytes, random: Random) -> Send:
    """Make a side's first message."""
    return Send(public + draw_padding(random, MAX_PADDING // 2))


def _agree(seed: bytes, peer_key: bytes) -> tuple[bytes, bytes]:
    """Compute a public key and the shared secret."""
    key_pair = KeyPair(seed)
    return key_pair.public, key_pair.shared_secret(peer_key)


def _open_outbound(side: Side, random: Random, secret: bytes) -> list[Event]:
    """Send this side's magic; enciphered bytes follow it."""
    magic = _derive(secret, side, "magic")
    return [
        Send(draw_padding(random, MAX_PADDING // 2) + magic),
        OutboundReady(make_cipher(_derive(secret, side, "obfuscated data"))),
    ]


def _skip_to_magic(held: bytearray, magic: bytes) -> Generator[None, Any, None]:
    """Drop the peer's padding and its magic; of the padding no more is held than could be the magic's beginning."""
    dropped = 0
    while (offset := held.find(magic, 0, _MAX_SEARCHED - dropped)) < 0:
        if dropped + len(held) > _MAX_SEARCHED:
            raise ProtocolError("no magic within the longest padding")
        surplus = max(0, len(held) - (MAGIC_LENGTH - 1))
        del held[:surplus]
        dropped += surplus
        yield None
    del held[: offset + MAGIC_LENGTH]


def _derive(secret: bytes, side: Side, purpose: str) -> bytes:
    """Derive 32 bytes from the shared secret."""
    return hmac.digest(secret, f"{side.value} {purpose}".encode("ascii"), "sha256")
