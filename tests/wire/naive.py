"""A second implementation of obfs2 and obfs3, as short and slow as their specifications, to test ours against."""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


def _floor_of_pi_times_power_of_two(bits: int) -> int:
    """Compute pi by Machin's formula, in whole numbers, with 64 bits to spare."""
    one = 1 << (bits + 64)

    def arctangent_of_inverse(number: int) -> int:
        total, power, divisor = 0, one // number, 1
        while power:
            total += power // divisor if divisor % 4 == 1 else -(power // divisor)
            power //= number * number
            divisor += 2
        return total

    return (4 * (4 * arctangent_of_inverse(5) - arctangent_of_inverse(239))) >> 64


# RFC 3526, section 2, gives the prime as this formula.
PRIME = 2**1536 - 2**1472 - 1 + 2**64 * (_floor_of_pi_times_power_of_two(1406) + 741804)


def public_key(exponent: int) -> bytes:
    """2 to the exponent."""
    return pow(2, exponent, PRIME).to_bytes(192, "big")


def shared_secret(public: bytes, exponent: int) -> bytes:
    """The peer's key to the exponent."""
    return pow(int.from_bytes(public, "big"), exponent, PRIME).to_bytes(192, "big")


def obfs3_magic(shared: bytes, side: str) -> bytes:
    """The magic before a side's data."""
    return hmac.new(shared, side.encode() + b" magic", hashlib.sha256).digest()


def obfs3_cipher(shared: bytes, side: str, data: bytes) -> bytes:
    """A side's stream from its beginning."""
    return aes_ctr(hmac.new(shared, side.encode() + b" obfuscated data", hashlib.sha256).digest(), data)


def obfs2_mac(label: bytes, data: bytes, secret: bytes | None = None) -> bytes:
    """MAC(label, data)."""
    if secret is None:
        return hashlib.sha256(label + data + label).digest()
    value = label + data + hashlib.sha256(secret).digest() + label
    for _ in range(100_000):
        value = hashlib.sha256(value).digest()
    return value


def obfs2_message(side: str, seed: bytes, head: bytes, secret: bytes | None = None) -> bytes:
    """A side's first message: its seed, then the head and the padding under the padding key."""
    return seed + aes_ctr(obfs2_mac(side.encode() + b" obfuscation padding", seed, secret), head)


def obfs2_cipher(side: str, seeds: bytes, data: bytes, secret: bytes | None = None) -> bytes:
    """A side's stream from its beginning."""
    return aes_ctr(obfs2_mac(side.encode() + b" obfuscated data", seeds, secret), data)


def aes_ctr(secret: bytes, data: bytes) -> bytes:
    """AES-128-CTR with key and counter in one secret of 32 bytes."""
    return Cipher(algorithms.AES(secret[:16]), modes.CTR(secret[16:])).encryptor().update(data)
