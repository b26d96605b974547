"""obfs3, "the Threebfuscator": its handshake, for both sides.

Source: obfs3-protocol-spec.txt of the Python obfsproxy, held against obfs4proxy.

    each side sends     PUBKEY[192] | padding, 0 to 4097 bytes
    SHARED              the UniformDH secret, 192 bytes
    before its data     padding, 0 to 4097 bytes | HMAC-SHA256(SHARED, "Initiator magic")
    then                its data through AES-128-CTR, with the first 16 bytes of
                        HMAC-SHA256(SHARED, "Initiator obfuscated data") as key and the last 16 as counter

The responder's strings begin with "Responder" in place of "Initiator".
Neither padding says its length: the receiver looks for the magic behind the public key, and gives up when it is not
within 8194 bytes of padding and its own 32.

What this side does, and when:

- The initiator sends its key unasked, and its magic as soon as it has the responder's key.
- The responder is silent until it has the initiator's whole key, then sends its own. It sends its magic only after it
  has found the initiator's, so a probe that cannot do the key exchange never sees a second answer.
- A peer may hold its magic back until it has data to send (obfs4proxy does), so for the initiator `OutboundReady` and
  `InboundReady` can be far apart.
- Exponentiations are jobs: the initiator's two are one each, since its first message needs the first of them; the
  responder's two are one job.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING

from obfstats.wire.handshake import Compute, Failed, InboundReady, OutboundReady, Send, Side
from obfstats.wire.primitives import MAX_HELD, cipher_of, padding
from obfstats.wire.uniformdh import KEY_LENGTH, SEED_LENGTH, KeyPair

if TYPE_CHECKING:
    from obfstats.wire.handshake import Event, Handshake, Random

MAX_PADDING = 8194
"""Bytes between a public key and its side's magic, at most: two pieces of padding of up to half of this."""

MAGIC_LENGTH = 32

_SEARCHED = MAX_PADDING + MAGIC_LENGTH


class Obfs3:
    """The obfs3 transport. It has no options."""

    def __init__(self) -> None:
        self.name = "obfs3"

    def handshake(self, side: Side, random: Random) -> Handshake:
        """Begin one connection's handshake."""
        return _Obfs3Handshake(side, random)


class _Phase(Enum):
    """What the machine waits for."""

    OWN_KEY = auto()
    PEER_KEY = auto()
    SECRET = auto()
    PEER_MAGIC = auto()
    NOTHING = auto()


@dataclass(frozen=True, slots=True)
class _Agreement:
    """What both exponentiations give."""

    public: bytes
    secret: bytes


class _Obfs3Handshake:
    """One connection's obfs3 handshake."""

    __slots__ = ("_held", "_key_pair", "_passed", "_peer_magic", "_phase", "_random", "_secret", "_side")

    def __init__(self, side: Side, random: Random) -> None:
        self._side = side
        self._random = random
        self._phase = _Phase.PEER_KEY if side is Side.RESPONDER else _Phase.OWN_KEY
        self._key_pair: KeyPair | None = None
        self._secret = b""
        self._peer_magic = b""
        self._held = bytearray()
        self._passed = 0

    def start(self) -> list[Event]:
        if self._side is Side.RESPONDER:
            return []
        return [Compute(partial(KeyPair, self._random(SEED_LENGTH)))]

    def receive(self, data: bytes) -> list[Event]:
        if self._phase is _Phase.NOTHING:
            return []
        computing = self._phase in (_Phase.OWN_KEY, _Phase.SECRET)
        if computing and len(self._held) + len(data) > MAX_HELD:
            return self._fail("more bytes than fit arrived while the keys were computed")
        self._held += data
        if self._phase is _Phase.PEER_KEY:
            return self._take_peer_key()
        if self._phase is _Phase.PEER_MAGIC:
            return self._search_magic()
        return []

    def computed(self, result: object) -> list[Event]:
        if self._phase is _Phase.OWN_KEY and isinstance(result, KeyPair):
            self._key_pair = result
            self._phase = _Phase.PEER_KEY
            return [self._greeting(result.public), *self._take_peer_key()]
        if self._phase is _Phase.SECRET and isinstance(result, _Agreement):
            return self._take_agreement(result)
        return []

    def _take_peer_key(self) -> list[Event]:
        """Have the secret computed as soon as the peer's key is whole."""
        if len(self._held) < KEY_LENGTH:
            return []
        peer_key = bytes(self._held[:KEY_LENGTH])
        del self._held[:KEY_LENGTH]
        self._phase = _Phase.SECRET
        if self._key_pair is None:
            return [Compute(partial(_agree_from_seed, self._random(SEED_LENGTH), peer_key))]
        return [Compute(partial(_agree, self._key_pair, peer_key))]

    def _take_agreement(self, agreement: _Agreement) -> list[Event]:
        """Say what each side says next, and look for the peer's magic in what came meanwhile."""
        self._secret = agreement.secret
        self._peer_magic = self._keyed(self._side.peer, "magic")
        self._phase = _Phase.PEER_MAGIC
        if self._side is Side.RESPONDER:
            return [self._greeting(agreement.public), *self._search_magic()]
        return [*self._open_outbound(), *self._search_magic()]

    def _search_magic(self) -> list[Event]:
        """Look for the peer's magic among the bytes that were not looked at before."""
        place = self._held.find(self._peer_magic, 0, _SEARCHED - self._passed)
        if place >= 0:
            return self._finish(place + MAGIC_LENGTH)
        if self._passed + len(self._held) > _SEARCHED:
            return self._fail("no magic within the longest padding")
        # The last 31 bytes may be the beginning of the magic; what is before them can go.
        surplus = max(0, len(self._held) - (MAGIC_LENGTH - 1))
        del self._held[:surplus]
        self._passed += surplus
        return []

    def _finish(self, end_of_magic: int) -> list[Event]:
        """Open what is still closed."""
        events = self._open_outbound() if self._side is Side.RESPONDER else []
        decryptor = cipher_of(self._keyed(self._side.peer, "obfuscated data"))
        events.append(InboundReady(decryptor, decryptor.update(self._held[end_of_magic:])))
        self._forget()
        return events

    def _open_outbound(self) -> list[Event]:
        """Send this side's magic; enciphered bytes follow it."""
        magic = self._keyed(self._side, "magic")
        return [
            Send(padding(self._random, MAX_PADDING // 2) + magic),
            OutboundReady(cipher_of(self._keyed(self._side, "obfuscated data"))),
        ]

    def _greeting(self, public: bytes) -> Send:
        """Make this side's first message."""
        return Send(public + padding(self._random, MAX_PADDING // 2))

    def _keyed(self, side: Side, purpose: str) -> bytes:
        """Derive 32 bytes from the shared secret."""
        return hmac.digest(self._secret, f"{side.value} {purpose}".encode("ascii"), "sha256")

    def _fail(self, reason: str) -> list[Event]:
        self._forget()
        return [Failed(reason)]

    def _forget(self) -> None:
        """Drop keys and bytes: the machine is done."""
        self._phase = _Phase.NOTHING
        self._key_pair = None
        self._secret = self._peer_magic = b""
        self._held = bytearray()


def _agree(key_pair: KeyPair, peer_key: bytes) -> _Agreement:
    """Compute the shared secret."""
    return _Agreement(key_pair.public, key_pair.shared_secret(peer_key))


def _agree_from_seed(seed: bytes, peer_key: bytes) -> _Agreement:
    """Compute a key pair and the shared secret."""
    return _agree(KeyPair(seed), peer_key)
