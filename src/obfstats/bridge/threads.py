"""Work that may take a second or more, on a thread of its own, so that no connection waits for it."""

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


async def run_in_thread(name: str, work: Callable[[], _Result]) -> _Result:
    """Run a function on a thread that does not keep the program from ending (those of asyncio do).

    Args:
        name: the thread's name.
        work: the function; what it raises is raised here.

    Raises:
        OSError: if no thread can be started, or memory is short.
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
        # When the work is done the loop may be closed, because the program ends.
        with contextlib.suppress(RuntimeError):
            try:
                result = work()
            except MemoryError:
                loop.call_soon_threadsafe(fail, OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)))
            except Exception as error:  # noqa: BLE001 - it is raised where the work is awaited
                loop.call_soon_threadsafe(fail, error)
            else:
                loop.call_soon_threadsafe(succeed, result)

    try:
        threading.Thread(target=run, name=name, daemon=True).start()
    except (RuntimeError, MemoryError):
        raise OSError(errno.EAGAIN, "no thread can be started") from None
    return await done
