"""A program under a policy that refuses some system calls: an old kernel's ENOSYS, or a policy's EPERM.

    refusing(["mlock", "prctl"], errno.EPERM)       the words that precede a command line

As a program, this installs the filter and becomes the command. What the command starts is under the filter, too.

Source: seccomp(2), and the kernel's tables of system calls.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

NUMBERS = {
    "x86_64": {"epoll_create1": 291, "getrandom": 318, "madvise": 28, "mlock": 149, "pidfd_open": 434, "prctl": 157,
               "prlimit64": 302, "sched_getaffinity": 204, "setrlimit": 302, "splice": 275},
    "aarch64": {"epoll_create1": 20, "getrandom": 278, "madvise": 233, "mlock": 228, "pidfd_open": 434, "prctl": 167,
                "prlimit64": 261, "sched_getaffinity": 123, "setrlimit": 261, "splice": 76},
}.get(platform.machine(), {})  # fmt: skip
"""The calls that may be refused here, by name; none on an architecture that is not known. What a C library makes of
setrlimit and getrlimit is one call, prlimit64: `setrlimit` refuses it only where it sets something."""

_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38
_SECCOMP_MODE_FILTER = 2
_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER, _THIRD_ARGUMENT = 0, 32
_ALLOW, _ERRNO = 0x7FFF_0000, 0x0005_0000


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refusing(names: Iterable[str], error: int) -> tuple[str, ...]:
    """Give what precedes a command line so that calls are refused.

    Args:
        names: keys of NUMBERS.
        error: what they fail with.
    """
    return sys.executable, str(Path(__file__)), ",".join(names), str(error)


def _install_filter(name: str, error: int) -> None:
    """Have the kernel refuse one call from now on."""
    steps = [(_LOAD, 0, 0, _NUMBER), (_JUMP_IF_EQUAL, 1, 0, NUMBERS[name]), (_RETURN, 0, 0, _ALLOW)]
    if name == "setrlimit":
        steps += [(_LOAD, 0, 0, _THIRD_ARGUMENT), (_JUMP_IF_EQUAL, 0, 1, 0), (_RETURN, 0, 0, _ALLOW)]
    steps += [(_RETURN, 0, 0, _ERRNO | error)]
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(_Program(len(steps), code)))


def _prctl(option: int, *arguments: object) -> None:
    padded = (*arguments, 0, 0, 0, 0)[:4]
    words = (ctypes.c_ulong(word) if isinstance(word, int) else word for word in padded)
    if ctypes.CDLL(None, use_errno=True).prctl(option, *words):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _main() -> None:
    names, error, *command = sys.argv[1:]
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    # prctl last: it installs the others.
    for name in sorted(names.split(","), key="prctl".__eq__):
        _install_filter(name, int(error))
    os.execvp(command[0], command)


if __name__ == "__main__":
    _main()
