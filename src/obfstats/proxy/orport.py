"""Passing a client on to tor: through its extended ORPort, or through its plain one where there is no other.

The extended ORPort learns the client's address and transport, so that tor counts the client itself (proposal 196 and
ext-orport-spec). Rules:

- Nothing of the client's goes to tor before tor has said OKAY.
- The cookie is read for every connection: a tor that was started anew has another one.
- Tor gets EXTENDED_DEADLINE seconds for all of it; it has no time-out of its own.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from obfstats.proxy.opening import Opening
from obfstats.proxy.outbound import Direct, UnreachableError, open_first
from obfstats.wire import extorport
from obfstats.wire.machine import Failed, Send

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from obfstats.proxy.relay import RelayEnd
    from obfstats.wire.endpoint import Endpoint
    from obfstats.wire.machine import Random

EXTENDED_DEADLINE = 5.0
"""Seconds from the connection to tor's OKAY."""

HUNG_UP = "the extended ORPort hung up"

_CHUNK = 1 << 12
_COOKIE_FILE_LENGTH = 64


class AbandonedError(UnreachableError):
    """The client went away while tor was asked: nobody's failure."""


class OrPort(ABC):
    """Where clients are passed on to."""

    @abstractmethod
    async def connect(self, end: RelayEnd, client: Endpoint, transport: str) -> asyncio.Transport:
        """Pass one client on.

        Args:
            end: the relay's end that speaks to tor; its cipher is in place.
            client: the client's address and port.
            transport: the name of the transport that it came by.

        Returns:
            the connection, under `end`. Tor may be heard already.

        Raises:
            UnreachableError: if tor does not take it.
            AbandonedError: if the client went away meanwhile.
        """


class PlainOrPort(OrPort):
    """An ORPort, or any destination, that is told nothing."""

    def __init__(self, destinations: Sequence[Endpoint]) -> None:
        self._destinations = destinations

    async def connect(self, end: RelayEnd, client: Endpoint, transport: str) -> asyncio.Transport:  # noqa: ARG002
        """Connect."""
        return await open_first(Direct(), end, self._destinations)


class ExtendedOrPort(OrPort):
    """Tor's extended ORPort."""

    def __init__(self, destinations: Sequence[Endpoint], cookie_file: Path, random: Random) -> None:
        self._destinations = destinations
        self._cookie_file = cookie_file
        self._random = random

    async def connect(self, end: RelayEnd, client: Endpoint, transport: str) -> asyncio.Transport:
        """Connect, prove who we are, name the client, and wait for OKAY."""
        try:
            address = extorport.user_address(*client)
        except ValueError:
            raise UnreachableError("tor cannot be told of this client") from None
        speech = extorport.ExtOrPortClient(
            read_cookie(self._cookie_file), self._random, transport=transport, address=address
        )
        try:
            async with asyncio.timeout(EXTENDED_DEADLINE):
                asking = _Asking(speech, end)
                connection = await open_first(Direct(), asking, self._destinations)
                early = await asking.answer
        except TimeoutError:
            raise UnreachableError("the extended ORPort took too long") from None
        if early is None:
            raise AbandonedError("the client went away")
        if isinstance(early, str):
            raise UnreachableError(early)
        if connection.is_closing():
            raise UnreachableError(HUNG_UP)
        connection.set_protocol(end)
        if early and end.cipher is not None:
            end.pass_on(end.cipher.update(early))
        connection.resume_reading()
        return connection


def read_cookie(path: Path) -> bytes:
    """Read tor's cookie.

    Raises:
        UnreachableError: there is none.
    """
    try:
        # A pipe in the cookie's place would hold everybody up.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return extorport.parse_cookie(os.read(descriptor, _COOKIE_FILE_LENGTH + 1))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UnreachableError(f"the extended ORPort's cookie cannot be read: {error.strerror}") from None
    except extorport.CookieError:
        raise UnreachableError("the extended ORPort's cookie file holds no cookie") from None


class _Asking(Opening):
    """The connection to the extended ORPort until tor's answer.

    Attributes:
        answer: becomes what tor said behind its OKAY, or a reason why there is none; None where the relay has closed
            the connection, because its other end was lost.
    """

    __slots__ = ("_buffer", "_speech", "answer")

    def __init__(self, speech: extorport.ExtOrPortClient, end: RelayEnd) -> None:
        super().__init__(end)
        self._speech = speech
        self._buffer = bytearray(_CHUNK)
        self.answer: asyncio.Future[bytes | str | None] = asyncio.get_running_loop().create_future()

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002
        """Lend a small buffer: tor says little."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Go on with the exchange."""
        if self._transport is None or self.answer.done():
            return
        for event in self._speech.receive(bytes(self._buffer[:nbytes])):
            match event:
                case Send(data):
                    self._transport.write(data)
                case extorport.Granted(early=early):
                    self._transport.pause_reading()
                    self.answer.set_result(early)
                case Failed(reason):
                    self.answer.set_result(reason)

    def eof_received(self) -> bool:
        """Hang up as well."""
        self._hang_up()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Let whoever waits know."""
        if exc is not None:
            self._hang_up()
        if not self.answer.done():
            self.answer.set_result(None)
        super().connection_lost(exc)

    def _hang_up(self) -> None:
        if not self.answer.done():
            self.answer.set_result(HUNG_UP)
