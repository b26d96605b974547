"""What obfs2 and obfs3 both build on: AES-128-CTR from a 32-byte secret, padding of a random length, one bound."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import CipherContext

    from obfstats.wire.handshake import Random

MAX_HELD = 1 << 20
"""Bytes a handshake keeps while a job of its own is computed: several of the largest reads there are.

Reading should pause meanwhile, so only a caller that goes on reading can get here.
"""

_KEY_LENGTH = 16


def cipher_of(secret: bytes) -> CipherContext:
    """Make the cipher of a 32-byte secret: its first half is the key, its second half the first counter block.

    In this mode enciphering and deciphering are the same.
    """
    return Cipher(algorithms.AES(secret[:_KEY_LENGTH]), modes.CTR(secret[_KEY_LENGTH:])).encryptor()


def padding(random: Random, longest: int) -> bytes:
    """Draw random bytes, from none to `longest`, each length as likely as the next (to one part in 2^50)."""
    length = (int.from_bytes(random(8), "big") * (longest + 1)) >> 64
    return random(length)
