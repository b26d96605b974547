"""Memory that must not reach a disk: pages of their own, locked, left out of core dumps, not inherited by a fork.

Such memory can be overwritten for good, because no copy of it is ever made: it never moves, and the kernel does not
swap it out where it has locked it.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref

_libc = ctypes.CDLL(None)
_libc.mlock.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_libc.mlock.restype = ctypes.c_int


class Pages:
    """A private mapping of whole pages.

    Attributes:
        memory: the mapping; zeros at first.
        view: all of it. Using it after `wipe`, or in a forked child, raises ValueError.
        address: its address.
        is_mapped: whether it is mapped: neither wiped nor in a forked child.
        locked: whether the kernel locked it and leaves it out of core dumps, so that it never reaches a disk
            (RLIMIT_MEMLOCK or a policy may forbid it).
    """

    def __init__(self, size: int) -> None:
        """Map the pages.

        Args:
            size: bytes; the kernel rounds them up to whole pages, which nothing else uses.
        """
        self.memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        self._is_inherited = not self._advise(mmap.MADV_DONTFORK)
        self.locked: bool = self._advise(mmap.MADV_DONTDUMP) and _libc.mlock(self.address, size) == 0
        self.view = memoryview(self.memory)
        self.is_mapped = True
        _living.add(self)

    def wipe(self) -> None:
        """Overwrite the pages with zeros and unmap them, once. In a forked child: do nothing."""
        if self.is_mapped:
            self.abandon()
            ctypes.memset(self.address, 0, len(self.memory))
            self.memory.close()

    def leave_to_parent(self) -> None:
        """In a forked child: end all use."""
        if self._is_inherited:
            self.wipe()
        else:
            self.abandon()

    def abandon(self) -> None:
        """End all use without touching the memory: in a forked child nothing is mapped at the address."""
        self.is_mapped = False
        self.view.release()

    def _advise(self, advice: int) -> bool:
        """Tell the kernel how to treat the pages; return whether it accepts that."""
        try:
            self.memory.madvise(advice)
        except OSError:
            return False
        return True


def _leave_all_to_parent() -> None:
    for pages in _living:
        pages.leave_to_parent()


_living: weakref.WeakSet[Pages] = weakref.WeakSet()
os.register_at_fork(after_in_child=_leave_all_to_parent)
