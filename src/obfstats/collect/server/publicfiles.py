"""The public archive's files over HTTP, so that one program is enough for a trial. No listing, no hidden names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Scope


class PublicFiles(StaticFiles):
    """Regular files below one folder, by GET and HEAD. Starlette refuses a path or a link that leads out of it."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with a file.

        Raises:
            HTTPException: 404 if there is none; a hidden one is a file that is being written.
        """
        if any(part.startswith(".") for part in path.split("/")):
            raise HTTPException(404)
        try:
            return await super().get_response(path, scope)
        except HTTPException as error:
            # Starlette answers 401 where the file may not be read.
            raise error if error.status_code != 401 else HTTPException(404) from None
