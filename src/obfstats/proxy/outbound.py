"""Connections to bridges and ORPorts: direct ones, or through a proxy (TOR_PT_PROXY, `--proxy`).

- Connections are made from the local address that tor asks for (TOR_PT_OUTBOUND_BIND_ADDRESS_V4 and _V6; pt-spec:
  except those to loopback).
- A source address has as many connections to tor as there are ephemeral ports. Where `--max-connections` needs more,
  they are made from several addresses in 127.0.0.0/8, as Snowflake's `orport-srcaddr` does: tor 0.4.9 accepts them all.
- A destination's name is never resolved here: that would tell the machine's resolver, and its operator, about a bridge.
  A proxy gets the name as it is.
- What a bridge sends together with the proxy's answer is kept, however the answer is cut. HTTP CONNECT is h11's (RFC
  9110, section 9.3.6). Credentials are in no error.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import itertools
import socket
from abc import ABC, abstractmethod
from base64 import b64encode
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from obfstats.formats.address import pack_address
from obfstats.proxy.driver import MachineDriver
from obfstats.proxy.relay import RelayEnd
from obfstats.wire.machine import Machine, ProtocolError, Send
from obfstats.wire.socks5 import Reply
from obfstats.wire.socks_proxy import ProxyAnswer, connect_by_socks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from obfstats.wire.endpoint import Endpoint
    from obfstats.wire.machine import Script
    from obfstats.wire.upstream import Upstream

DIAL_TIMEOUT = 10.0
"""Seconds for a destination to accept a connection."""

PROXY_TIMEOUT = 30.0
"""Seconds for a proxy to accept a connection and to connect in turn."""

_IP_BIND_ADDRESS_NO_PORT = 24
"""Linux's number; the module socket has a name for it from Python 3.12 on."""

_REFUSED = "the proxy refused"
_REPLIES = {
    errno.ECONNREFUSED: Reply.CONNECTION_REFUSED,
    errno.ENETUNREACH: Reply.NETWORK_UNREACHABLE,
    errno.EHOSTUNREACH: Reply.HOST_UNREACHABLE,
    errno.ETIMEDOUT: Reply.TTL_EXPIRED,
}


class UnreachableError(Exception):
    """A destination did not accept a connection.

    Attributes:
        reason: a text that holds no address.
        reply: the same for a SOCKS client.
    """

    def __init__(self, reason: str, reply: Reply = Reply.GENERAL_FAILURE) -> None:
        super().__init__(reason)
        self.reason = reason
        self.reply = reply


@dataclass(frozen=True, slots=True)
class LocalAddresses:
    """The local addresses that connections are made from.

    Attributes:
        v4: the local IPv4 address; None for the kernel's choice.
        v6: the same for IPv6.
    """

    v4: str | None = None
    v6: str | None = None

    def bind_address_for(self, host: str) -> tuple[str, int] | None:
        """Return the address and port to bind before connecting to a host; None for the kernel's choice."""
        if (self.v4, self.v6) == (None, None) or not _is_address(host):
            # The family of a proxy's name is not known yet.
            return None
        address = ipaddress.ip_address(host.partition("%")[0])
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        # To a mapped address the kernel requires a mapped local one.
        local = self.v6 if ":" in host else self.v4
        return None if local is None or mapped is not None or address.is_loopback else (local, 0)


class LoopbackSources:
    """Loopback addresses that connections to tor are made from, in turn."""

    def __init__(self, number: int) -> None:
        """Use that many addresses, from 127.0.0.1 on."""
        first = int(ipaddress.IPv4Address("127.0.0.1"))
        self._hosts = itertools.cycle([str(ipaddress.IPv4Address(first + index)) for index in range(number)])

    def open_socket(self, host: str) -> socket.socket | None:
        """Return a socket that is bound to the next address; None if a host is not reached from loopback addresses.

        Raises:
            OSError: there is no such address, or too many descriptors.
        """
        if not host.startswith("127.") or not _is_address(host):
            return None
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        with contextlib.suppress(OSError):
            # The port is chosen when the destination is known, so that one in TIME_WAIT can be used again.
            bound.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        try:
            bound.bind((next(self._hosts), 0))
        except OSError:
            bound.close()
            raise
        return bound


def sources_for(connections: int, ports: int) -> LoopbackSources | None:
    """Return the addresses that so many connections to tor need; None where the kernel's own choice suffices.

    Args:
        connections: how many there may be at once.
        ports: how many ephemeral ports there are. A quarter is left for connections that have just ended (TIME_WAIT)
            and for other programs.
    """
    number = -(-connections // max(1, ports * 3 // 4))
    return LoopbackSources(number) if number > 1 else None


class Connector(ABC):
    """Opens connections."""

    @abstractmethod
    async def open(self, driver: MachineDriver, destination: Endpoint) -> asyncio.Transport:
        """Connect, and run a driver over the connection, which may be lost again by now.

        Raises:
            UnreachableError: the connection cannot be made.
        """


class Direct(Connector):
    """Connects to the destination itself."""

    def __init__(self, local: LocalAddresses | None = None, sources: LoopbackSources | None = None) -> None:
        """Set up.

        Args:
            local: the local addresses that connections are made from, except those to loopback.
            sources: those of connections to loopback; None for the kernel's choice.
        """
        self._local = local or LocalAddresses()
        self._sources = sources

    async def open(self, driver: asyncio.BufferedProtocol, destination: Endpoint) -> asyncio.Transport:
        """Connect to an address; a name is refused."""
        if not _is_address(destination.host):
            raise UnreachableError("it is a name and no address", Reply.ADDRESS_TYPE_NOT_SUPPORTED)
        local = self._local.bind_address_for(destination.host)
        try:
            async with asyncio.timeout(DIAL_TIMEOUT):
                bound = None if self._sources is None else self._sources.open_socket(destination.host)
                if bound is not None:
                    return _keep_alive(await _connect_bound(bound, driver, destination))
                transport, _ = await asyncio.get_running_loop().create_connection(
                    lambda: driver, *destination, local_addr=local
                )
        except TimeoutError:
            raise UnreachableError("timed out", Reply.TTL_EXPIRED) from None
        except OSError as error:
            raise UnreachableError(*reason_of(error)) from None
        return _keep_alive(transport)


class Proxied(Connector):
    """Connects through a proxy."""

    def __init__(self, upstream: Upstream, local: LocalAddresses | None = None) -> None:
        """Set up.

        Args:
            upstream: the proxy.
            local: the local addresses that connections to it are made from.
        """
        self._upstream = upstream
        self._local = (local or LocalAddresses()).bind_address_for(upstream.endpoint.host)

    async def open(self, driver: MachineDriver, destination: Endpoint) -> asyncio.Transport:
        """Ask the proxy for the destination."""
        try:
            async with asyncio.timeout(PROXY_TIMEOUT):
                return _keep_alive(await self._ask(driver, destination))
        except TimeoutError:
            raise UnreachableError("the proxy timed out", Reply.TTL_EXPIRED) from None
        except OSError as error:
            reason, reply = reason_of(error)
            raise UnreachableError(f"the proxy cannot be reached: {reason}", reply) from None
        except UnicodeError:
            raise UnreachableError("the proxy's name cannot be resolved") from None

    async def _ask(self, driver: MachineDriver, destination: Endpoint) -> asyncio.Transport:
        script = _connect_by_http if self._upstream.scheme == "http" else connect_by_socks
        # An end of its own: a connection that the proxy refuses never belongs to the relay.
        request = MachineDriver(Machine(partial(script, self._upstream, destination)), RelayEnd(driver.end.scratch))
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: request, *self._upstream.endpoint, local_addr=self._local
        )
        with contextlib.ExitStack() as unless_opened:
            unless_opened.callback(transport.abort)
            answer = await request.result(ProxyAnswer)
            if answer is None or answer.reply is not Reply.SUCCEEDED or transport.is_closing():
                raise UnreachableError(_REFUSED, (answer and answer.reply) or Reply.GENERAL_FAILURE)
            unless_opened.pop_all()
        request.hand_over_to(driver)
        return transport


async def _connect_bound(
    bound: socket.socket, driver: asyncio.BufferedProtocol, destination: Endpoint
) -> asyncio.Transport:
    """Connect a socket, and run a driver over the connection."""
    loop = asyncio.get_running_loop()
    with contextlib.ExitStack() as unless_connected:
        unless_connected.callback(bound.close)
        await loop.sock_connect(bound, destination)
        transport, _ = await loop.create_connection(lambda: driver, sock=bound)
        unless_connected.pop_all()
    return transport


async def open_first(
    connect: Callable[[Endpoint], Awaitable[asyncio.Transport]], destinations: Sequence[Endpoint]
) -> asyncio.Transport:
    """Connect to the first of several addresses that accepts the connection.

    Args:
        connect: connects to one address, or raises UnreachableError.
        destinations: the addresses, in this order.

    Raises:
        UnreachableError: the last one's, if none does.
    """
    failure = UnreachableError("there is no address to connect to")
    for destination in destinations:
        try:
            return await connect(destination)
        except UnreachableError as error:
            failure = error
    raise failure


def reason_of(error: OSError) -> tuple[str, Reply]:
    """Name why a connection failed; the error's own text may hold the address."""
    number = error.errno or 0
    words = errno.errorcode.get(number, type(error).__name__)
    return words, _REPLIES.get(number, Reply.GENERAL_FAILURE)


def _connect_by_http(upstream: Upstream, destination: Endpoint, held: bytearray) -> Script:
    """Ask an HTTP proxy for a destination: a script as in wire/machine.py.

    It is not in `wire`, which may not import h11.
    """
    # Imported here, so that a program without such a proxy does not load the library.
    import h11  # noqa: PLC0415

    target = str(destination).encode("ascii")
    headers = [(b"Host", target)]
    if upstream.username is not None:
        credentials = f"{upstream.username}:{upstream.password or ''}".encode()
        headers.append((b"Proxy-Authorization", b"Basic " + b64encode(credentials)))
    connection = h11.Connection(h11.CLIENT)
    request = connection.send(h11.Request(method=b"CONNECT", target=target, headers=headers)) or b""
    yield Send(request + (connection.send(h11.EndOfMessage()) or b""))
    response: object = h11.NEED_DATA
    try:
        while not isinstance(response, h11.Response):
            if response is h11.NEED_DATA:
                while not held:
                    yield None
                connection.receive_data(bytes(held))
                held.clear()
            response = connection.next_event()
    except h11.RemoteProtocolError:
        raise ProtocolError(_REFUSED) from None
    if not 200 <= response.status_code < 300:
        raise ProtocolError(_REFUSED)
    yield ProxyAnswer(early=connection.trailing_data[0])


def _keep_alive(transport: asyncio.Transport) -> asyncio.Transport:
    """Have the kernel detect when the peer has vanished; return the transport."""
    # A connection that is lost already has no socket any more: its protocol knows, and tells why.
    with contextlib.suppress(OSError):
        connected: socket.socket | None = transport.get_extra_info("socket")
        if connected is not None and not transport.is_closing():
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return transport


def _is_address(host: str) -> bool:
    """Tell an address from a name."""
    try:
        pack_address(host)
    except ValueError:
        return False
    return True
