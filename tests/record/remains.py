"""What is left in a living process's memory."""

from __future__ import annotations

import errno
import mmap
import struct
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def mapped(pid: int, *, with_stack: bool = True) -> Iterator[bytes]:
    """Give the content of every mapping of a process that it can write to."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for mapping in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, *rest = mapping.split()
            if not rights.startswith("rw") or (rest[-1] == "[stack]" and not with_stack):
                continue
            start, end = (int(end, 16) for end in span.split("-"))
            while start < end:
                memory.seek(start)
                try:
                    content = memory.read(end - start)
                except OSError as error:
                    # The guard page of a thread's stack: glibc 2.43 (Debian testing) keeps it in the same mapping.
                    if error.errno != errno.EIO:
                        raise
                    content = b""
                yield content
                start += len(content) or mmap.PAGESIZE


def windows_of(secret: bytes) -> set[bytes]:
    """Give every 8 bytes of S."""
    return {secret[start : start + 8] for start in range(len(secret) - 7)}


def schedule_windows(packed: bytes, secret: bytes) -> set[bytes]:
    """Give what SHA-256 of an address and S computes that depends on S: two neighbouring words of the message schedule.

    As they are kept in registers and on the stack, least significant byte first: themselves, or with the round's
    constant added (FIPS 180-4, 6.2.2).
    """
    words = schedule(packed + secret)
    begin, end = len(packed) // 4, (len(packed) + len(secret)) // 4
    pairs = [first for first in range(0, 64, 2) if begin <= first < end - 1 or first >= 16]
    with_constant = [word + constant & 0xFFFFFFFF for word, constant in zip(words, ROUND_CONSTANTS, strict=True)]
    return {struct.pack("<2I", *kept[first : first + 2]) for kept in (words, with_constant) for first in pairs}


def schedule(message: bytes) -> list[int]:
    """Expand a message of one block to the 64 words of SHA-256's message schedule."""
    block = message + b"\x80" + bytes(55 - len(message)) + struct.pack(">Q", 8 * len(message))
    words = list(struct.unpack(">16I", block))
    for _ in range(48):
        early, late = words[-15], words[-2]
        sigma0 = _rotated(early, 7) ^ _rotated(early, 18) ^ early >> 3
        sigma1 = _rotated(late, 17) ^ _rotated(late, 19) ^ late >> 10
        words.append(words[-16] + sigma0 + words[-7] + sigma1 & 0xFFFFFFFF)
    return words


def _rotated(word: int, by: int) -> int:
    return (word >> by | word << 32 - by) & 0xFFFFFFFF


def _round_constant(prime: int) -> int:
    """Give the first 32 bits of the fraction of a prime's cube root."""
    root, power = 0, prime << 96
    for bit in reversed(range(36)):
        if (root | 1 << bit) ** 3 <= power:
            root |= 1 << bit
    return root & 0xFFFFFFFF


_PRIMES = [number for number in range(2, 312) if all(number % divisor for divisor in range(2, number))]
ROUND_CONSTANTS = [_round_constant(prime) for prime in _PRIMES]
