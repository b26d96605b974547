"""The wrap's own cookie: what a transport must know to be let in, as a file that nobody else can read.

    STATE/wrap-XXXXXXXX/      0700, locked as long as the wrap lives
        cookie                0600, 64 bytes as tor writes them

A wrap that was killed cannot take its folder away; the next one does, and knows by the lock which are nobody's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from obfstats.wire.extorport import write_cookie

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "cookie"

_PREFIX = "wrap-"
_ATTEMPTS = 10


@contextlib.contextmanager
def kept(cookie: bytes, state: Path) -> Iterator[Path]:
    """Keep a cookie in a file until the block ends, and clear away what others have left.

    Args:
        cookie: 32 bytes.
        state: the folder that tor lets us write to; it is made if it is not there.

    Yields:
        the file.

    Raises:
        OSError: it cannot be made.
    """
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in state.glob(f"{_PREFIX}*"):
        _clear(left)
    folder, lock = _make_folder(state)
    try:
        path = folder / NAME
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            os.write(descriptor, write_cookie(cookie))
        finally:
            os.close(descriptor)
        yield path
    finally:
        _remove(folder)
        os.close(lock)


def _make_folder(state: Path) -> tuple[Path, int]:
    """Make a folder and lock it; gives it, and what holds the lock."""
    for _ in range(_ATTEMPTS):
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=state))
        # Another wrap that starts at this moment may take it for one that was left, and be faster.
        with contextlib.suppress(FileNotFoundError):
            lock = _lock(folder)
            if lock is not None and folder.exists():
                return folder, lock
            if lock is not None:
                os.close(lock)
    raise FileExistsError(0, "other programs clear it away", str(state))


def _clear(folder: Path) -> None:
    """Take a folder away, if nobody has it."""
    with contextlib.suppress(OSError):
        lock = _lock(folder)
        if lock is not None:
            _remove(folder)
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """Lock a folder; None where somebody has it.

    Raises:
        OSError: it is none, or is gone.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):
        (folder / NAME).unlink(missing_ok=True)
        folder.rmdir()
