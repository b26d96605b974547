"""S, the secret string that keys an interval's hashes (ticket 5047, steps 1 and 6).

    H(address, S) = the first 20 bytes of SHA-256(address || S)

Anyone who has S can try all addresses against the log's hashes, so the day's privacy is S's:

- S exists in one place: a page of its own that is locked into memory, left out of core dumps and not inherited by
  a forked child. The kernel writes the random bytes into that page; no Python object ever holds them.
- An address has 4 or 16 bytes and S has 32, so the message and its padding fill one 64-byte block of SHA-256. There is
  no intermediate state that depends on S alone. Length extension needs the full digest and does not help to try
  addresses.
- OpenSSL computes the hash, and clears its context when it frees it. Python's own SHA-256 leaves S whole in freed
  memory, and keyed BLAKE2b half of it on CPython 3.14 and later; so a Secret needs OpenSSL's SHA-256.
- Renewing overwrites S in place. Wiping overwrites it with zeros, then unmaps the page; afterwards nothing can be
  hashed, so no hash under zeros is ever written.

OpenSSL leaves parts of the last hash's message schedule, which is computed from S, in two places. Both are overwritten
when S is renewed or wiped:

- In vector registers, which the dynamic linker and signals save on the stack. Hashing another address, under the new S
  or under zeros, overwrites the registers.
- On the stack, with the round constants added, where the processor has no SHA extensions. A large argument that is
  passed by value overwrites the stack below.

tests/record/test_secret.py searches the memory of a living process for S and for message schedules, with each of
OpenSSL's implementations for x86-64. Without the first step it finds up to 8 words of a schedule on the stack, without
the second up to 39 pairs of words (CPython 3.11 to 3.13, OpenSSL 3.0). With both it finds nothing, on CPython 3.11 to
3.15 with OpenSSL 3.0 to 3.6.
"""

from __future__ import annotations

import ctypes
import errno
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from obfstats.record.errors import RecordError
from obfstats.record.pages import Pages

if TYPE_CHECKING:
    from collections.abc import Callable

HASH_SIZE = 20
"""Bytes of a client's hash: the log's 40 hex digits."""

_STACK_SIZE = 1 << 15
"""Bytes of stack that are overwritten: many times what a hash uses, and a small part of any thread's stack."""

_NEW_STATE = sha256()

_libc = ctypes.CDLL(None, use_errno=True)
_libc.getrandom.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint)
_libc.getrandom.restype = ctypes.c_ssize_t


def fill_from_kernel(address: int, size: int) -> None:
    """Have the kernel write `size` random bytes to memory at `address`.

    Raises:
        OSError: if the kernel writes fewer.
    """
    if _libc.getrandom(address, size, 0) == size:
        return
    # Kernels before 3.17 and some policies leave only the device. It is read into the same memory, too.
    with Path("/dev/urandom").open("rb", buffering=0) as device:
        if device.readinto((ctypes.c_char * size).from_address(address)) != size:
            raise OSError(errno.EIO, "the kernel gives no random bytes")


class Secret:
    """S in its page.

    Attributes:
        locked: whether the kernel locked the page and leaves it out of core dumps (RLIMIT_MEMLOCK or a policy may
            forbid it).
    """

    SIZE = 32
    """Bytes of S."""

    def __init__(self, fill: Callable[[int, int], None] = fill_from_kernel) -> None:
        """Map the page and draw S.

        Args:
            fill: writes that many random bytes to that address.

        Raises:
            RecordError: if OpenSSL's SHA-256 is missing.
        """
        if sha256.__module__ != "_hashlib":
            raise RecordError("this Python has no SHA-256 of OpenSSL's; install one that is built with OpenSSL")
        self._fill = fill
        self._page = Pages(self.SIZE)
        self._key = self._page.view
        self.locked = self._page.locked
        self.renew()

    def hash_address(self, packed: bytes) -> bytes:
        """Hash a client's address.

        Args:
            packed: the address, 4 or 16 bytes.

        Returns:
            20 bytes: equal for equal addresses until `renew`.

        Raises:
            ValueError: after `wipe`, or in a forked child.
        """
        # Copying a new state costs less than making one.
        state = _NEW_STATE.copy()
        state.update(packed)
        state.update(self._key)
        return state.digest()[:HASH_SIZE]

    def renew(self) -> None:
        """Overwrite S with a new one, in place, and what is left of the old one.

        Raises:
            ValueError: after `wipe`.
        """
        if not self._page.is_mapped:
            raise ValueError("this secret has been wiped")
        self._fill(self._page.address, self.SIZE)
        self._overwrite_remains()

    def wipe(self) -> None:
        """Overwrite S with zeros, and what is left of it, then unmap its page. Calling it again does nothing."""
        if self._page.is_mapped:
            ctypes.memset(self._page.address, 0, self.SIZE)
            self._overwrite_remains()
            self._page.wipe()

    def _overwrite_remains(self) -> None:
        # Registers first: calling anything may copy them to the stack.
        self.hash_address(bytes(4))
        _passes_on_stack(_zeros)


class _Zeros(ctypes.Structure):
    """An argument so large that it is passed by value on the stack."""

    _fields_ = (("content", ctypes.c_char * _STACK_SIZE),)


# A function without parameters may be given arguments: the caller removes them from the stack (System V ABI).
_passes_on_stack = ctypes.CDLL(None)["getpid"]
_passes_on_stack.argtypes = (_Zeros,)
_passes_on_stack.restype = ctypes.c_int
_zeros = _Zeros()
