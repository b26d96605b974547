"""S, the secret string that keys an interval's hashes (ticket 5047, steps 1 and 6).

Whoever has S can try all addresses against the log's hashes, so the day's privacy is S's:

- S exists in one place: a page of its own that is locked into memory, left out of core dumps and not inherited by
  a forked child. The kernel writes the random bytes into that page; no Python object ever holds them.
- Hashing is `hashlib.blake2b(packed, digest_size=20, key=secret.key)`, built anew for each address. Keeping a keyed
  hash object and copying it would be faster, but such an object is a second copy of S on the ordinary heap.
- What a hash leaves of S on the stack is written over when S is renewed or forgotten (stack.py).
- Renewing overwrites S in place. Forgetting overwrites it with zeros, then gives the page back; afterwards `key`
  raises, so that nothing can ever be hashed under zeros.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from typing import TYPE_CHECKING

from obfstats.record.pages import Pages
from obfstats.record.stack import wipe_stack_below

if TYPE_CHECKING:
    from collections.abc import Callable

_libc = ctypes.CDLL(None, use_errno=True)
_libc.getrandom.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint)
_libc.getrandom.restype = ctypes.c_ssize_t


def fill_from_kernel(address: int, size: int) -> None:
    """Have the kernel write `size` random bytes to memory at `address`.

    Raises:
        OSError: if the kernel gives fewer.
    """
    if _libc.getrandom(address, size, 0) != size:
        code = ctypes.get_errno()
        raise OSError(code, f"getrandom: {os.strerror(code)}")


class Secret:
    """S in its page.

    Attributes:
        locked: whether the kernel agreed to keep the page out of swap (RLIMIT_MEMLOCK may forbid it).
    """

    SIZE = 32
    """Bytes of S: the security level of BLAKE2b's keyed mode is the key's length, and 256 bits are plenty."""

    def __init__(self, fill: Callable[[int, int], None] = fill_from_kernel) -> None:
        """Map the page and draw S.

        Args:
            fill: writes that many random bytes to that address.
        """
        self._fill = fill
        self._page = Pages(mmap.PAGESIZE)
        self._key = memoryview(self._page.memory)[: self.SIZE]
        self.locked = self._page.locked
        self._forgotten = False
        self.renew()
        _living.add(self)

    @property
    def key(self) -> memoryview:
        """S itself, for keying a hash; the same view for the life of the object, whatever `renew` puts there.

        Using it after `forget` raises ValueError.
        """
        return self._key

    def renew(self) -> None:
        """Overwrite S with a new one, in place.

        Raises:
            ValueError: after `forget`.
        """
        if self._forgotten:
            raise ValueError("this secret has been forgotten")
        self._fill(self._page.address, self.SIZE)
        wipe_stack_below()

    def forget(self) -> None:
        """Overwrite S with zeros and give its page back. Calling it again does nothing."""
        if self._forgotten:
            return
        self._forgotten = True
        self._key.release()
        self._page.forget()
        wipe_stack_below()

    def abandon(self) -> None:
        """In a forked child, where the page is not mapped: never touch it, never hash with it."""
        self._forgotten = True
        self._key.release()


def _abandon_all() -> None:
    for secret in _living:
        secret.abandon()


_living: weakref.WeakSet[Secret] = weakref.WeakSet()
os.register_at_fork(after_in_child=_abandon_all)
