"""The way out: from this program to a bridge, or to an ORPort; directly here, through a proxy in `proxied`.

Connections come from the local address that tor asks for (TOR_PT_OUTBOUND_BIND_ADDRESS_V4 and _V6; pt-spec: not those
to loopback). A destination's name is never looked up here: who asks the machine's resolver for a bridge has told its
operator.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from obfstats.formats.address import pack_address
from obfstats.wire.socks5 import Reply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obfstats.wire.endpoint import Endpoint

DIAL_TIMEOUT = 10.0
"""Seconds for a destination to take a connection."""

_REPLIES = {
    errno.ECONNREFUSED: Reply.CONNECTION_REFUSED,
    errno.ENETUNREACH: Reply.NETWORK_UNREACHABLE,
    errno.EHOSTUNREACH: Reply.HOST_UNREACHABLE,
    errno.ETIMEDOUT: Reply.TTL_EXPIRED,
}


class UnreachableError(Exception):
    """A destination did not take a connection.

    Attributes:
        reason: why, in words that hold no address.
        reply: the same for a SOCKS client.
    """

    def __init__(self, reason: str, reply: Reply = Reply.GENERAL_FAILURE) -> None:
        super().__init__(reason)
        self.reason = reason
        self.reply = reply


@dataclass(frozen=True, slots=True)
class LocalAddresses:
    """Where connections come from.

    Attributes:
        v4: the local IPv4 address; None for the kernel's choice.
        v6: the same for IPv6.
    """

    v4: str | None = None
    v6: str | None = None

    def towards(self, host: str) -> tuple[str, int] | None:
        """Give the address and port to bind before a connection to a host, or None."""
        if (self.v4, self.v6) == (None, None) or not _is_address(host):
            # For a proxy's name: which family it will be is not known yet.
            return None
        address = ipaddress.ip_address(host.partition("%")[0])
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        # To a mapped address the kernel wants a mapped one, which nobody names.
        local = self.v6 if ":" in host else self.v4
        return None if local is None or mapped is not None or address.is_loopback else (local, 0)


class WayOut(ABC):
    """Opens connections."""

    @abstractmethod
    async def open(self, protocol: asyncio.BufferedProtocol, destination: Endpoint) -> asyncio.Transport:
        """Connect, and put the connection under a protocol.

        Raises:
            UnreachableError: if that does not work.
        """


class Direct(WayOut):
    """Straight to the destination."""

    def __init__(self, local: LocalAddresses | None = None) -> None:
        self._local = local or LocalAddresses()

    async def open(self, protocol: asyncio.BufferedProtocol, destination: Endpoint) -> asyncio.Transport:
        """Connect to an address; a name is refused."""
        if not _is_address(destination.host):
            raise UnreachableError("it is a name and no address", Reply.ADDRESS_TYPE_NOT_SUPPORTED)
        local = self._local.towards(destination.host)
        try:
            async with asyncio.timeout(DIAL_TIMEOUT):
                transport, _ = await asyncio.get_running_loop().create_connection(
                    lambda: protocol, *destination, local_addr=local
                )
        except TimeoutError:
            raise UnreachableError("timed out", Reply.TTL_EXPIRED) from None
        except OSError as error:
            raise UnreachableError(*reason_of(error)) from None
        return kept_alive(transport)


async def open_first(
    way: WayOut, protocol: asyncio.BufferedProtocol, destinations: Sequence[Endpoint]
) -> asyncio.Transport:
    """Connect to the first of several addresses that takes the connection.

    Raises:
        UnreachableError: the last one's, if none does.
    """
    failure = UnreachableError("there is no address to connect to")
    for destination in destinations:
        try:
            return await way.open(protocol, destination)
        except UnreachableError as error:
            failure = error
    raise failure


def kept_alive(transport: asyncio.Transport) -> asyncio.Transport:
    """Have the kernel find out when the other end is gone without a word; gives the transport.

    Raises:
        UnreachableError: the other end is gone already.
    """
    connected: socket.socket | None = transport.get_extra_info("socket")
    try:
        if connected is None or transport.is_closing():
            raise UnreachableError("hung up")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except OSError as error:
        transport.abort()
        raise UnreachableError(*reason_of(error)) from None
    return transport


def reason_of(error: OSError) -> tuple[str, Reply]:
    """Say why a connection failed; the error's own text may hold the address."""
    number = error.errno or 0
    words = errno.errorcode.get(number, type(error).__name__)
    return words, _REPLIES.get(number, Reply.GENERAL_FAILURE)


def _is_address(host: str) -> bool:
    """Tell an address from a name."""
    try:
        pack_address(host)
    except ValueError:
        return False
    return True
