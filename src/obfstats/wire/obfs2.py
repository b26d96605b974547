"""obfs2, "the Twobfuscator": its handshake, for both sides. Whoever sees it can read along; obfs3 came to mend that.

Source: obfs2-protocol-spec.txt of the Python obfsproxy, held against obfs4proxy.

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

- The initiator sends its message unasked. The responder is silent until the initiator's head is the right one.
- A wrong head ends the handshake. So does a wrong shared secret, which looks the same.
- The peer's padding is counted off and dropped as it comes, never deciphered.
- With a shared secret each MAC takes tens of milliseconds, so MACs are jobs then: one for the head that has to be
  checked, the rest only for a peer that passed. Without one they are computed on the spot, in microseconds.
"""

from __future__ import annotations

import struct
from enum import Enum, auto
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, TypeAlias

from obfstats.wire.handshake import Compute, Failed, InboundReady, OutboundReady, Send, Side
from obfstats.wire.primitives import MAX_HELD, cipher_of, padding

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import CipherContext

    from obfstats.wire.handshake import Event, Handshake, Random

    MacInput: TypeAlias = tuple[str, bytes]

MAGIC_VALUE = 0x2BF5CA7E
SEED_LENGTH = 16
MAX_PADDING = 8192
HASH_ITERATIONS = 100_000

_HEAD = struct.Struct(">II")
_PADDING_LABEL = "obfuscation padding"
_DATA_LABEL = "obfuscated data"


class Obfs2:
    """The obfs2 transport.

    Args:
        shared_secret: what both ends must know beforehand, or None; any bytes.
    """

    def __init__(self, shared_secret: bytes | None = None) -> None:
        self.name = "obfs2"
        self._secret_hash = None if shared_secret is None else sha256(shared_secret).digest()

    def handshake(self, side: Side, random: Random) -> Handshake:
        """Begin one connection's handshake."""
        return _Obfs2Handshake(side, random, self._secret_hash)


class _Phase(Enum):
    """What the machine waits for."""

    OWN_PADDING_KEY = auto()
    PEER_HEAD = auto()
    PEER_PADDING_KEY = auto()
    DATA_KEYS = auto()
    PEER_PADDING = auto()
    NOTHING = auto()


_COMPUTING = (_Phase.OWN_PADDING_KEY, _Phase.PEER_PADDING_KEY, _Phase.DATA_KEYS)


class _Obfs2Handshake:
    """One connection's obfs2 handshake."""

    __slots__ = (
        "_decryptor",
        "_held",
        "_padding_left",
        "_phase",
        "_random",
        "_secret_hash",
        "_seed",
        "_side",
    )

    def __init__(self, side: Side, random: Random, secret_hash: bytes | None) -> None:
        self._side = side
        self._random = random
        self._secret_hash = secret_hash
        self._phase = _Phase.PEER_HEAD
        self._seed = random(SEED_LENGTH)
        self._padding_left = 0
        self._decryptor: CipherContext | None = None
        self._held = bytearray()

    def start(self) -> list[Event]:
        if self._side is Side.RESPONDER:
            return []
        return self._derive(_Phase.OWN_PADDING_KEY, self._padding_input(self._side, self._seed))

    def receive(self, data: bytes) -> list[Event]:
        if self._phase is _Phase.NOTHING:
            return []
        if self._phase in _COMPUTING and len(self._held) + len(data) > MAX_HELD:
            return self._fail("more bytes than fit arrived while the keys were computed")
        self._held += data
        if self._phase is _Phase.PEER_HEAD:
            return self._take_head()
        if self._phase is _Phase.PEER_PADDING:
            return self._drop_padding()
        return []

    def computed(self, result: object) -> list[Event]:
        if self._phase not in _COMPUTING or not isinstance(result, list):
            return []
        if self._phase is _Phase.OWN_PADDING_KEY:
            self._phase = _Phase.PEER_HEAD
            return [self._greeting(result[0]), *self._take_head()]
        if self._phase is _Phase.PEER_PADDING_KEY:
            return self._check_head(result[0])
        return self._open_outbound(*result)

    def _take_head(self) -> list[Event]:
        """Have the key of the peer's head derived as soon as the head is whole."""
        if len(self._held) < SEED_LENGTH + _HEAD.size:
            return []
        peer_seed = bytes(self._held[:SEED_LENGTH])
        return self._derive(_Phase.PEER_PADDING_KEY, self._padding_input(self._side.peer, peer_seed))

    def _check_head(self, peer_padding_mac: bytes) -> list[Event]:
        """Go on to the data keys only with a peer whose head is right."""
        peer_seed = bytes(self._held[:SEED_LENGTH])
        head = cipher_of(peer_padding_mac).update(self._held[SEED_LENGTH : SEED_LENGTH + _HEAD.size])
        magic, self._padding_left = _HEAD.unpack(head)
        if magic != MAGIC_VALUE:
            return self._fail("not the magic value")
        if self._padding_left > MAX_PADDING:
            return self._fail("a longer padding than there can be")
        del self._held[: SEED_LENGTH + _HEAD.size]
        seeds = self._seed + peer_seed if self._side is Side.INITIATOR else peer_seed + self._seed
        inputs = [(f"{side.value} {_DATA_LABEL}", seeds) for side in (self._side, self._side.peer)]
        if self._side is Side.RESPONDER:
            inputs.append(self._padding_input(self._side, self._seed))
        return self._derive(_Phase.DATA_KEYS, *inputs)

    def _open_outbound(self, own_mac: bytes, peer_mac: bytes, own_padding_mac: bytes | None = None) -> list[Event]:
        """Open this side's direction; a responder says its message first."""
        self._phase = _Phase.PEER_PADDING
        self._decryptor = cipher_of(peer_mac)
        events: list[Event] = [] if own_padding_mac is None else [self._greeting(own_padding_mac)]
        return [*events, OutboundReady(cipher_of(own_mac)), *self._drop_padding()]

    def _drop_padding(self) -> list[Event]:
        """Count the peer's padding off; what is behind it is its data."""
        dropped = min(self._padding_left, len(self._held))
        del self._held[:dropped]
        self._padding_left -= dropped
        if self._padding_left or self._decryptor is None:
            return []
        opened = InboundReady(self._decryptor, self._decryptor.update(self._held))
        self._forget()
        return [opened]

    def _greeting(self, padding_mac: bytes) -> Send:
        """Make this side's message."""
        pad = padding(self._random, MAX_PADDING)
        return Send(self._seed + cipher_of(padding_mac).update(_HEAD.pack(MAGIC_VALUE, len(pad)) + pad))

    def _padding_input(self, side: Side, seed: bytes) -> MacInput:
        return f"{side.value} {_PADDING_LABEL}", seed

    def _derive(self, phase: _Phase, *inputs: MacInput) -> list[Event]:
        """Derive the MACs of these inputs: on the spot where they are cheap, elsewhere where they are not."""
        self._phase = phase
        job = partial(_macs, self._secret_hash, inputs)
        return self.computed(job()) if self._secret_hash is None else [Compute(job)]

    def _fail(self, reason: str) -> list[Event]:
        self._forget()
        return [Failed(reason)]

    def _forget(self) -> None:
        """Drop keys and bytes: the machine is done."""
        self._phase = _Phase.NOTHING
        self._seed = b""
        self._decryptor = None
        self._held = bytearray()


def _macs(secret_hash: bytes | None, inputs: tuple[MacInput, ...]) -> list[bytes]:
    """Compute the MAC of every label and its data."""
    return [_mac(secret_hash, label.encode("ascii"), data) for label, data in inputs]


def _mac(secret_hash: bytes | None, label: bytes, data: bytes) -> bytes:
    if secret_hash is None:
        return sha256(label + data + label).digest()
    digest = label + data + secret_hash + label
    for _ in range(HASH_ITERATIONS):
        digest = sha256(digest).digest()
    return digest
