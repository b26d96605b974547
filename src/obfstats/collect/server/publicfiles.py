"""The public archive's files over HTTP, so that one program is enough for a trial. No listing, no hidden names.

A publication replaces files by renaming. So a file is opened first, and measured and sent from there: an answer is one
version of it as a whole. That is what Starlette's own StaticFiles does not do.
"""

from __future__ import annotations

import errno
import os
import stat
from email.utils import formatdate
from pathlib import PurePath
from typing import IO, TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

_CHUNK_LENGTH = 256 * 1024
_TYPES = {".json": "application/json", ".xz": "application/x-xz"}
_OTHER_TYPE = "text/plain; charset=utf-8"
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO})


class PublicFiles:
    """Regular files below one folder, by GET and HEAD. Links are followed within it."""

    def __init__(self, root: Path) -> None:
        """Serve a folder."""
        self._root = root

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with a file.

        Raises:
            HTTPException: 404 if there is none; 405 for another method.
        """
        if scope["method"] not in {"GET", "HEAD"}:
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        file = await run_in_threadpool(self._open, scope["path"])
        if file is None:
            raise HTTPException(404)
        with file:
            facts = os.fstat(file.fileno())
            headers = {
                "content-type": _TYPES.get(PurePath(scope["path"]).suffix, _OTHER_TYPE),
                "content-length": str(facts.st_size),
                "last-modified": formatdate(facts.st_mtime, usegmt=True),
                "x-content-type-options": "nosniff",
            }
            body = scope["method"] == "GET"
            response = StreamingResponse(_read(file), headers=headers) if body else Response(headers=headers)
            await response(scope, receive, send)

    def _open(self, path: str) -> IO[bytes] | None:
        """Open the file of a URL's path; None if there is none that is public."""
        parts = path.split("/")[1:]
        # A hidden file is being written.
        if any(not part or part.startswith(".") or "\0" in part for part in parts):
            return None
        root = self._root.resolve()
        try:
            found = root.joinpath(*parts).resolve(strict=True)
            if not found.is_relative_to(root):
                return None
            descriptor = os.open(found, _FLAGS)
        except RuntimeError:  # a link to itself, up to Python 3.12
            return None
        except OSError as error:
            if error.errno in _NO_FILE:
                return None
            raise
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return None
        return os.fdopen(descriptor, "rb", buffering=0)


async def _read(file: IO[bytes]) -> AsyncIterator[bytes]:
    while chunk := await run_in_threadpool(file.read, _CHUNK_LENGTH):
        yield chunk
