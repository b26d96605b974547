"""Forwarding a client to tor: through its extended ORPort, or through its plain one where there is no other.

The extended ORPort learns the client's address and transport, so that tor counts the client itself (proposal 196 and
ext-orport-spec). Rules:

- No byte of the client's goes to tor before tor has sent OKAY.
- The cookie is read for every connection: a restarted tor has a new one. Reading does not change its access time, which
  would be a client's moment.
- Tor gets EXTENDED_DEADLINE seconds for all of it; it has no time-out of its own.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from obfstats.proxy.driver import MachineDriver
from obfstats.proxy.outbound import Direct, UnreachableError, open_first
from obfstats.wire.extorport import COOKIE_FILE_LENGTH, CookieError, ExtOrPortClient, Granted, parse_cookie

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from obfstats.formats.address import ClientAddress
    from obfstats.proxy.relay import RelayEnd
    from obfstats.wire.endpoint import Endpoint
    from obfstats.wire.machine import Random

EXTENDED_DEADLINE = 5.0
"""Seconds from the connection to tor's OKAY."""

HUNG_UP = "the extended ORPort hung up"

# Not blocking: a pipe at the cookie's path must not stop the loop.
_COOKIE_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


class AbandonedError(UnreachableError):
    """The client disconnected while tor was asked: no failure."""


@dataclass(frozen=True, slots=True)
class OrPortTarget:
    """Tor's extended ORPort, or its plain ORPort or any other destination, which is told nothing.

    Attributes:
        addresses: where it listens, to be tried in this order.
        cookie_file: the extended ORPort's cookie; None where it is the plain one.
        random: returns that many random bytes.
        connector: opens the connections.
    """

    addresses: Sequence[Endpoint]
    cookie_file: Path | None
    random: Random
    connector: Direct = field(default_factory=Direct)

    def introduce(self, transport: str | None, user_address: bytes | None) -> ExtOrPortClient | None:
        """Return the machine that introduces a client; None where tor is told nothing.

        Args:
            transport: the name of the transport it uses; None to send none.
            user_address: its address and port as tor takes them; None to send none.

        Raises:
            UnreachableError: there is no cookie.
        """
        if self.cookie_file is None:
            return None
        cookie = _read_cookie(self.cookie_file)
        return ExtOrPortClient(cookie, self.random, transport=transport, user_address=user_address)

    async def connect(self, end: RelayEnd, client: ClientAddress, transport: str) -> None:
        """Forward a client. Its connection to tor is attached to `end` then, and may have been read.

        Args:
            end: the relay's end towards tor, with its cipher.
            client: the client.
            transport: the name of the transport that it uses.

        Raises:
            UnreachableError: tor does not accept the client.
            AbandonedError: the client disconnected meanwhile.
        """
        machine = self.introduce(transport, client.host_and_port.encode("ascii"))
        if machine is None:
            connection = await open_first(partial(self.connector.open, end), self.addresses)
            if connection.is_closing():
                raise UnreachableError("the destination hung up")
            return
        introduction = MachineDriver(machine, end)
        try:
            async with asyncio.timeout(EXTENDED_DEADLINE):
                connection = await open_first(partial(self.connector.open, introduction), self.addresses)
                granted = await introduction.result(Granted)
        except TimeoutError:
            raise UnreachableError("the extended ORPort took too long") from None
        if introduction.failure is not None:
            raise UnreachableError(introduction.failure)
        if granted is None and not introduction.is_hung_up:
            raise AbandonedError("the client disconnected")
        if granted is None or connection.is_closing():
            raise UnreachableError(HUNG_UP)
        introduction.hand_over()


def _read_cookie(path: Path) -> bytes:
    """Read tor's cookie.

    Raises:
        UnreachableError: there is none.
    """
    try:
        try:
            descriptor = os.open(path, _COOKIE_FLAGS | os.O_NOATIME)
        except PermissionError:
            # Only a file's owner may keep its access time.
            descriptor = os.open(path, _COOKIE_FLAGS)
        try:
            return parse_cookie(os.read(descriptor, COOKIE_FILE_LENGTH + 1))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UnreachableError(f"the extended ORPort's cookie cannot be read: {error.strerror}") from None
    except CookieError:
        raise UnreachableError("the extended ORPort's cookie file holds no cookie") from None
