"""A bridge's service on a loop in a thread of this process; the test provides its context."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import threading
from typing import TYPE_CHECKING

import uvloop

from obfstats.bridge.daemon import make_context
from obfstats.proxy.limits import Limits
from obfstats.proxy.listener import Listener, listen
from obfstats.proxy.orport import OrPortTarget
from obfstats.proxy.privacy import LogFormatter
from obfstats.proxy.server import BridgeService
from obfstats.proxy.shares import KEY_LENGTH, NetworkShares
from obfstats.proxy.totals import Totals
from obfstats.wire.endpoint import Endpoint, parse_endpoint
from obfstats.wire.transports import make_transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from obfstats.record import Recorder

LOOPS: list[Callable[[], asyncio.AbstractEventLoop]] = [uvloop.new_event_loop, asyncio.new_event_loop]
"""Both loops that the program runs on."""


@contextlib.contextmanager
def server(
    destination: str,
    *,
    name: str = "obfs3",
    recorder: Recorder | None = None,
    limits: Limits | None = None,
    deadline: float = 30.0,
    totals: Totals | None = None,
    new_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop,
) -> Iterator[tuple[str, int]]:
    """Serve until the block ends; yields where it listens.

    Args:
        destination: HOST:PORT to forward to.
        name: the transport.
        recorder: counts clients.
        limits: how much at once; a hundred connections if None.
        deadline: seconds that every handshake has, in place of the random ones.
        totals: count what is relayed and refused.
        new_loop: makes the event loop.
    """
    listening = listen(Endpoint("127.0.0.1", 0))
    address = listening.getsockname()
    started, stop = threading.Event(), asyncio.Event()
    loop = new_loop()
    failures: list[BaseException] = []

    async def serve() -> None:
        loop.set_exception_handler(lambda _, context: failures.append(context.get("exception") or RuntimeError()))
        some = limits or Limits(connections=100)
        context = dataclasses.replace(
            make_context(some, LogFormatter(safe=True)),
            shares=NetworkShares(some.network, bytes(KEY_LENGTH), lambda low, _high: low),
            draw=lambda _low, _high: deadline,
            totals=totals or Totals(),
        )
        target = parse_endpoint(destination)
        service = BridgeService(
            context, make_transport(name), OrPortTarget([target], None, os.urandom), target, recorder
        )
        listener = Listener(listening, context.gate, service.handle)
        started.set()
        await stop.wait()
        listener.close()
        service.close_all()
        # Transports report their end at the loop's next turn.
        await asyncio.sleep(0)
        context.executor.shutdown()

    def run() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(serve())

    thread = threading.Thread(target=run)
    thread.start()
    try:
        started.wait(10)
        yield address
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
    assert failures == []
