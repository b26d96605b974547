"""UniformDH: a Diffie-Hellman exchange whose public keys look like 192 random bytes (obfs3 specification).

The group is number 5 of RFC 3526, section 2: a 1536-bit prime p with generator 2. Two things make it uniform:

- 2 generates only the squares modulo p, half of all numbers. Because p = 3 modulo 4, p - X is no square when X is one,
  so X or p - X by a fair coin is any number below p. And p begins with 64 one bits, so a number below p differs
  visibly from 1536 random bits once in 2^64 keys.
- Every exponent is even, so the peer need not know the coin: (p - X)^x = (-1)^x X^x = X^x. Both ends compute the same
  secret whichever of the two was sent.

Exponents are short: 256 bits, of which 254 are random (the lowest is 0, the highest is 1, so that none is zero and all
take the same time). RFC 3526, section 8, estimates the group's strength at 90 to 120 bits and asks for exponents of
180 to 240 bits; longer ones cost six times as much and add nothing. That X looks uniform to an observer rests on the
usual assumption for short exponents: that finding a 254-bit logarithm in this group is hard.

Any 192 bytes are a peer's key, as in every other obfs3 program: 0, 1, p - 1 and numbers from p on are reduced modulo p
and used. A peer that sends 0 or 1 makes a secret that everyone knows, which hurts that peer alone: obfs3 authenticates
no one, so an attacker who could insert such a key could as well relay between two keys of their own. Refusing it would
protect nothing and show a prober which program answers.

The time of an exponentiation depends on no bit of the exponent, except with gmpy2 before 2.2 (Debian 12), which lacks
powmod_sec. There each exponent is used twice, so a remote observer gets two timings, too few to recover it.

No exponentiation belongs on an event loop: one takes 0.2 ms. gmpy2 from 2.2 on lets other threads run meanwhile, where
its context says so, and contexts belong to a thread, so the context is entered here, around each computation.
"""

from __future__ import annotations

from typing import Final

import gmpy2

KEY_LENGTH = 192
"""Bytes of a public key and of a shared secret."""

SEED_LENGTH = 32
"""Random bytes that one key pair is derived from."""

_GENERATOR = gmpy2.mpz(2)
_PRIME = gmpy2.mpz(
    "0xFFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B"
    "302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE6"
    "49286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB9ED529077096966D"
    "670C354E4ABC9804F1746C08CA237327FFFFFFFFFFFFFFFF"
)
_POWMOD: Final = getattr(gmpy2, "powmod_sec", gmpy2.powmod)
_HIGHEST_BIT = 1 << (8 * SEED_LENGTH - 1)


class KeyPair:
    """One side's key pair, for one connection.

    Attributes:
        public: the 192 bytes to send.
    """

    __slots__ = ("_exponent", "public")

    def __init__(self, seed: bytes) -> None:
        """Compute the pair of a seed: one exponentiation, nothing random.

        Args:
            seed: 32 random bytes. Their lowest bit is the coin, the rest is the exponent.
        """
        number = int.from_bytes(seed, "big")
        self._exponent = gmpy2.mpz((number | _HIGHEST_BIT) & ~1)
        power = _power(_GENERATOR, self._exponent)
        self.public = _to_bytes(_PRIME - power if number & 1 else power)

    def shared_secret(self, peer_public: bytes) -> bytes:
        """Compute the 192 bytes that both ends share: one exponentiation.

        Args:
            peer_public: the peer's public key, any 192 bytes.
        """
        return _to_bytes(_power(gmpy2.mpz(int.from_bytes(peer_public, "big")), self._exponent))


def _power(base: gmpy2.mpz, exponent: gmpy2.mpz) -> gmpy2.mpz:
    """Raise `base` modulo p, while other threads run."""
    with gmpy2.context(allow_release_gil=True):
        return _POWMOD(base, exponent, _PRIME)


def _to_bytes(number: gmpy2.mpz) -> bytes:
    return int(number).to_bytes(KEY_LENGTH, "big")
