"""Overwriting what a library left behind on the stack.

CPython's BLAKE2 works out a digest on a copy of the hash's state, on the stack, and leaves it there; the key is in it
until something else is written over it. Where that is depends on compiler and program. So when S is wiped, the stack
below is written over as well.
"""

from __future__ import annotations

import ctypes

_SIZE = 1 << 15
"""Bytes: many times what one call of a hash reaches down, and a small part of any thread's stack."""


class _Noughts(ctypes.Structure):
    """An argument so large that it is passed on the stack, by value."""

    _fields_ = (("content", ctypes.c_char * _SIZE),)


# A function that takes nothing may be given something: who calls it clears the stack (System V ABI).
_called = ctypes.CDLL(None)["getpid"]
_called.argtypes = (_Noughts,)
_called.restype = ctypes.c_int
_noughts = _Noughts()


def wipe_stack_below() -> None:
    """Write noughts over the part of this thread's stack that is not in use any more."""
    _called(_noughts)
