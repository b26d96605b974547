"""A naive obfs3 peer that talks with one of our ends."""

from __future__ import annotations

from obfstats.wire.handshake import Side
from obfstats.wire.obfs3 import Obfs3
from tests.wire import naive
from tests.wire.join import End, seeded

EXPONENT = 2 * 987654321**8


class Peer:
    """A naive obfs3 peer against one of our ends, whose first message it reads once."""

    def __init__(self, side: Side, end: End) -> None:
        self.side, self.end = side.value, end
        self.shared = b""

    def key(self) -> bytes:
        """Say the public key."""
        return naive.public_key(EXPONENT)

    def read_key(self) -> bytes:
        """Agree on the secret; give what came behind the key."""
        message = self.end.take_outbox()
        self.shared = naive.shared_secret(message[:192], EXPONENT)
        return message[192:]

    def magic(self) -> bytes:
        """Say the magic."""
        return naive.obfs3_magic(self.shared, self.side)

    def enciphered(self, data: bytes) -> bytes:
        """Say something."""
        return naive.obfs3_cipher(self.shared, self.side, data)


def responder_that_has_a_key() -> tuple[End, Peer]:
    """Our responder after a naive initiator's key, the secret known to both."""
    end = End(Obfs3(), Side.RESPONDER, seeded(1))
    peer = Peer(Side.INITIATOR, end)
    end.start()
    end.deliver(peer.key())
    peer.read_key()
    return end, peer
