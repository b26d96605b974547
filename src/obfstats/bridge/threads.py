"""Work that may take a second or more, on a thread of its own, so that no connection waits for it."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_Result = TypeVar("_Result")


async def run_in_thread(name: str, work: Callable[[], _Result]) -> _Result:
    """Run a function on a thread that does not keep the program from ending (those of an executor do).

    Args:
        name: the thread's name.
        work: the function; what it raises is raised here.

    Raises:
        OSError: if no thread can be started, or memory is short.
    """
    future: Future[_Result] = Future()
    # A running future cannot be cancelled: the thread finishes its work in any case.
    future.set_running_or_notify_cancel()

    def run() -> None:
        try:
            future.set_result(work())
        except MemoryError:
            future.set_exception(OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)))
        except Exception as error:  # noqa: BLE001 - it is raised where the work is awaited
            future.set_exception(error)

    try:
        threading.Thread(target=run, name=name, daemon=True).start()
    except (RuntimeError, MemoryError):
        raise OSError(errno.EAGAIN, "no thread can be started") from None
    return await asyncio.wrap_future(future)
