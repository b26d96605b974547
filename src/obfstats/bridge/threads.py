"""Work that may take a second or more: on a thread of its own, so that nobody waits behind it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Result = TypeVar("_Result")


async def on_a_thread(name: str, work: Callable[[], _Result]) -> _Result:
    """Do something on a thread that does not keep the program from ending; whatever the work raises is raised.

    Args:
        name: the thread's.
        work: is done there.

    Raises:
        OSError: if there is no room for a thread, or for what the work needs.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_Result] = loop.create_future()

    def succeed(result: _Result) -> None:
        if not done.cancelled():
            done.set_result(result)

    def fail(error: Exception) -> None:
        if not done.cancelled():
            done.set_exception(error)

    def run() -> None:
        # The loop may be gone by the time that the work is done, and the program with it.
        with contextlib.suppress(RuntimeError):
            try:
                result = work()
            except MemoryError:
                loop.call_soon_threadsafe(fail, OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)))
            except Exception as error:  # noqa: BLE001 - it is raised where the work is waited for
                loop.call_soon_threadsafe(fail, error)
            else:
                loop.call_soon_threadsafe(succeed, result)

    try:
        threading.Thread(target=run, name=name, daemon=True).start()
    except (RuntimeError, MemoryError):
        raise OSError(errno.EAGAIN, "no thread can be started") from None
    return await done
