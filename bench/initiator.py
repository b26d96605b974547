"""An obfs3 initiator that costs next to nothing, so that the server under test is what a measurement measures.

Two liberties make it cheap, and neither can be seen from the server:

- Its private exponent is 65538, so that its public key is a constant and the shared secret takes 17 squarings. The
  constant looks as random as any key, and what the server computes does not depend on it.
- Behind the handshake it may send any bytes: the server deciphers them to noise and passes noise on.

A handshake is whole when it has proved everything in both directions: the token that this side enciphered came out of
the server in clear, and its echo came back enciphered, behind the server's magic.
"""

from __future__ import annotations

import hmac
from enum import Enum, auto

import gmpy2
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

TOKEN_LENGTH = 32
"""Bytes that make the round trip; they name the connection."""

_PRIME = gmpy2.mpz(
    # RFC 3526, section 2.
    "0xFFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B"
    "302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE6"
    "49286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB9ED529077096966D"
    "670C354E4ABC9804F1746C08CA237327FFFFFFFFFFFFFFFF"
)
_EXPONENT = 65538
_KEY_LENGTH = 192
_MAGIC_LENGTH = 32
_PADDING = bytes(2048)
"""Each of the two pieces of padding, as long as they are on average."""

GREETING: bytes = gmpy2.powmod(2, _EXPONENT, _PRIME).to_bytes(_KEY_LENGTH, "big") + _PADDING
"""What an initiator says unasked."""


class BrokenError(Exception):
    """The server did not do what obfs3 says."""


class _Phase(Enum):
    KEY = auto()
    ECHO = auto()


class Initiator:
    """One connection's handshake, from the server's first byte on.

    Attributes:
        token: what this connection sends and expects back.
    """

    __slots__ = ("_held", "_phase", "_secret", "token")

    def __init__(self, token: bytes) -> None:
        self.token = token
        self._phase = _Phase.KEY
        self._held = b""
        self._secret = b""

    def receive(self, data: bytes) -> bytes | None:
        """Take bytes of the server's; give what to send in answer, or None once the handshake is whole.

        Raises:
            BrokenError: if what came back is not the token.
        """
        self._held += data
        if self._phase is _Phase.KEY:
            if len(self._held) < _KEY_LENGTH:
                return b""
            key, self._held = self._held[:_KEY_LENGTH], self._held[_KEY_LENGTH:]
            power = gmpy2.powmod(gmpy2.mpz.from_bytes(key, "big"), _EXPONENT, _PRIME)
            self._secret = power.to_bytes(_KEY_LENGTH, "big")
            self._phase = _Phase.ECHO
            return _PADDING + self._keyed("Initiator magic") + self._cipher("Initiator", self.token)
        magic, _, echo = self._held.partition(self._keyed("Responder magic"))
        if len(echo) < TOKEN_LENGTH:
            return b""
        if self._cipher("Responder", echo) != self.token:
            raise BrokenError(
                f"the server gave back {len(echo)} bytes that are not the token, behind {len(magic)} others"
            )
        return None

    def _keyed(self, purpose: str) -> bytes:
        return hmac.digest(self._secret, purpose.encode("ascii"), "sha256")

    def _cipher(self, side: str, data: bytes) -> bytes:
        """Apply the beginning of one direction's stream."""
        key = self._keyed(f"{side} obfuscated data")
        return Cipher(algorithms.AES(key[:16]), modes.CTR(key[16:])).encryptor().update(data)
