"""obfs2, "the Twobfuscator": its handshake, for both sides. An observer can decrypt the traffic; obfs3 fixes that.

Source: obfs2-protocol-spec.txt of the Python obfsproxy, checked against obfs4proxy.

    H                   SHA-256
    MAC(s, x)           H(s | x | s); with a shared secret H applied 100,000 times to s | x | H(SECRET) | s
    E(mac)[...]         AES-128-CTR, the MAC's first 16 bytes are the key, its last 16 the counter
    initiator sends     INIT_SEED[16] | E(MAC("Initiator obfuscation padding", INIT_SEED))[head | padding]
    responder sends     RESP_SEED[16] | E(MAC("Responder obfuscation padding", RESP_SEED))[head | padding]
    head                0x2BF5CA7E and the padding's length, 0 to 8192, both as 4 bytes, big endian
    then                E(MAC("Initiator obfuscated data", INIT_SEED | RESP_SEED)) one way,
                        E(MAC("Responder obfuscated data", INIT_SEED | RESP_SEED)) the other, each from its beginning

The specification derives the responder's padding key from the initiator's seed. No program does: obfs4proxy and the
Python obfsproxy take the responder's own seed, and so does this one.

What this side does, and when:

- The initiator sends its message unasked. The responder is silent until the initiator's head is right.
- A wrong head ends the handshake. So does a wrong shared secret, which looks the same.
- The peer's padding is counted and dropped as it arrives, never deciphered.
- With a shared secret each MAC takes tens of milliseconds, so MACs are jobs then: one for the head that has to be
  checked, the rest only for a peer that passed. Without one they are computed at once, in microseconds.
"""

from __future__ import annotations

import struct
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeAlias

from obfstats.wire.handshake import InboundReady, OutboundReady, Side, draw_padding, make_cipher
from obfstats.wire.machine import Compute, Machine, ProtocolError, Send, read_exactly

if TYPE_CHECKING:
    from collections.abc import Generator

    from obfstats.wire.machine import Event, Random, Script

    MacInput: TypeAlias = tuple[str, bytes]

MAGIC_VALUE = 0x2BF5CA7E
SEED_LENGTH = 16
MAX_PADDING = 8192
HASH_ITERATIONS = 100_000

_HEAD = struct.Struct(">II")


class Obfs2:
    """The obfs2 transport.

    Args:
        shared_secret: what both ends must know beforehand, or None; any bytes.
    """

    def __init__(self, shared_secret: bytes | None = None) -> None:
        self.name = "obfs2"
        self._secret_hash = None if shared_secret is None else sha256(shared_secret).digest()

    def handshake(self, side: Side, random: Random) -> Machine:
        """Begin one connection's handshake."""
        return Machine(partial(_shake_hands, self._secret_hash, side, random))


def _shake_hands(secret_hash: bytes | None, side: Side, random: Random, held: bytearray) -> Script:
    seed = random(SEED_LENGTH)
    if side is Side.INITIATOR:
        (own_padding_mac,) = yield from _derive(secret_hash, _padding_input(side, seed))
        yield _greeting(seed, own_padding_mac, random)

    peer_seed = yield from read_exactly(held, SEED_LENGTH)
    head = yield from read_exactly(held, _HEAD.size)
    (peer_padding_mac,) = yield from _derive(secret_hash, _padding_input(side.peer, peer_seed))
    magic, padding_left = _HEAD.unpack(make_cipher(peer_padding_mac).update(head))
    if magic != MAGIC_VALUE:
        raise ProtocolError("not the magic value")
    if padding_left > MAX_PADDING:
        raise ProtocolError("a longer padding than there can be")

    seeds = seed + peer_seed if side is Side.INITIATOR else peer_seed + seed
    inputs = [(f"{each.value} obfuscated data", seeds) for each in (side, side.peer)]
    if side is Side.RESPONDER:
        inputs.append(_padding_input(side, seed))
    outbound_mac, inbound_mac, *padding_macs = yield from _derive(secret_hash, *inputs)
    if side is Side.RESPONDER:
        yield _greeting(seed, padding_macs[0], random)
    yield OutboundReady(make_cipher(outbound_mac))

    while padding_left > len(held):
        padding_left -= len(held)
        held.clear()
        yield None
    yield InboundReady(make_cipher(inbound_mac), early=bytes(held[padding_left:]))


def _greeting(seed: bytes, padding_mac: bytes, random: Random) -> Send:
    """Make a side's message."""
    padding = draw_padding(random, MAX_PADDING)
    return Send(seed + make_cipher(padding_mac).update(_HEAD.pack(MAGIC_VALUE, len(padding)) + padding))


def _padding_input(side: Side, seed: bytes) -> MacInput:
    return f"{side.value} obfuscation padding", seed


def _derive(secret_hash: bytes | None, *inputs: MacInput) -> Generator[Event, Any, list[bytes]]:
    """Compute the MAC of every label and its data, as a job where that is costly."""
    job = partial(_macs, secret_hash, inputs)
    if secret_hash is None:
        return job()
    macs: list[bytes] = yield Compute(job)
    return macs


def _macs(secret_hash: bytes | None, inputs: tuple[MacInput, ...]) -> list[bytes]:
    return [_mac(secret_hash, label.encode("ascii"), data) for label, data in inputs]


def _mac(secret_hash: bytes | None, label: bytes, data: bytes) -> bytes:
    if secret_hash is None:
        return sha256(label + data + label).digest()
    digest = label + data + secret_hash + label
    for _ in range(HASH_ITERATIONS):
        digest = sha256(digest).digest()
    return digest
