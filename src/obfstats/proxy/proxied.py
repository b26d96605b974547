"""The way out through a proxy: TOR_PT_PROXY, `--proxy` (pt-spec; RFC 1928, SOCKS4a, RFC 9110 section 9.3.6).

SOCKS is python-socks's, HTTP CONNECT h11's: that way what a bridge says together with the proxy's answer is kept,
however the answer is cut. A destination's name is passed on as it is. Credentials are in no error.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import TYPE_CHECKING, cast

from obfstats.proxy.outbound import LocalAddresses, UnreachableError, WayOut, kept_alive, reason_of
from obfstats.wire.socks5 import Reply

if TYPE_CHECKING:
    import h11

    from obfstats.wire.endpoint import Endpoint
    from obfstats.wire.upstream import Upstream

PROXY_TIMEOUT = 30.0
"""Seconds for the proxy to take a connection and to dial in turn."""

_CHUNK = 1 << 12
_REFUSED = "the proxy refused"


class Proxied(WayOut):
    """Through a proxy."""

    def __init__(self, upstream: Upstream, local: LocalAddresses | None = None) -> None:
        """Begin.

        Args:
            upstream: the proxy.
            local: where connections to it come from.
        """
        self._upstream = upstream
        self._local = (local or LocalAddresses()).towards(upstream.endpoint.host)

    async def open(self, protocol: asyncio.BufferedProtocol, destination: Endpoint) -> asyncio.Transport:
        """Ask the proxy for the destination."""
        try:
            async with asyncio.timeout(PROXY_TIMEOUT):
                opened = self._by_http if self._upstream.scheme == "http" else self._by_socks
                return kept_alive(await opened(protocol, destination))
        except TimeoutError:
            raise UnreachableError("the proxy timed out", Reply.TTL_EXPIRED) from None
        except OSError as error:
            reason, reply = reason_of(error)
            raise UnreachableError(f"the proxy cannot be reached: {reason}", reply) from None

    async def _by_socks(self, protocol: asyncio.BufferedProtocol, destination: Endpoint) -> asyncio.Transport:
        # Only whoever has such a proxy pays for the library that speaks to it.
        from python_socks import ProxyError, ProxyTimeoutError, ProxyType  # noqa: PLC0415
        from python_socks.async_.asyncio import Proxy  # noqa: PLC0415

        upstream = self._upstream
        kind = ProxyType.SOCKS5 if upstream.scheme == "socks5" else ProxyType.SOCKS4
        proxy = Proxy(kind, *upstream.endpoint, username=upstream.username, password=upstream.password, rdns=True)
        try:
            connected = await proxy.connect(*destination, timeout=PROXY_TIMEOUT, local_addr=self._local)
        except ProxyTimeoutError:
            raise TimeoutError from None
        except ProxyError as error:
            code = error.error_code if upstream.scheme == "socks5" else None
            reply = Reply(code) if code and code in set(Reply) else Reply.GENERAL_FAILURE
            raise UnreachableError(_REFUSED, reply) from None
        except UnicodeError:
            raise UnreachableError("the proxy cannot be told this name") from None
        try:
            transport, _ = await asyncio.get_running_loop().create_connection(lambda: protocol, sock=connected)
        except OSError:
            connected.close()
            raise
        return transport

    async def _by_http(self, protocol: asyncio.BufferedProtocol, destination: Endpoint) -> asyncio.Transport:
        asking = _Asking(self._upstream, destination)
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: asking, *self._upstream.endpoint, local_addr=self._local
        )
        try:
            early = await asking.answer
        except BaseException:
            transport.abort()
            raise
        if early is None or transport.is_closing():
            transport.abort()
            raise UnreachableError(_REFUSED)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        _feed(protocol, early)
        transport.resume_reading()
        return transport


class _Asking(asyncio.BufferedProtocol):
    """The connection to an HTTP proxy until its answer.

    Attributes:
        answer: becomes what came behind a yes; None for a no, and for what is no answer.
    """

    def __init__(self, upstream: Upstream, destination: Endpoint) -> None:
        # As above.
        import h11  # noqa: PLC0415

        self._h11 = h11
        self._conversation = h11.Connection(h11.CLIENT)
        target = str(destination).encode("ascii")
        headers = [(b"Host", target)]
        if upstream.username is not None:
            credentials = f"{upstream.username}:{upstream.password or ''}".encode()
            headers.append((b"Proxy-Authorization", b"Basic " + b64encode(credentials)))
        self._request = h11.Request(method=b"CONNECT", target=target, headers=headers)
        self._buffer = bytearray(_CHUNK)
        self._transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self._transport = cast("asyncio.Transport", transport)
        asked = self._conversation.send(self._request)
        self._transport.write((asked or b"") + (self._conversation.send(self._h11.EndOfMessage()) or b""))

    def get_buffer(self, sizehint: int) -> bytearray:  # noqa: ARG002
        """Lend a small buffer: proxies say little."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Read on in the answer."""
        if self.answer.done() or self._transport is None:
            return
        try:
            self._conversation.receive_data(bytes(self._buffer[:nbytes]))
            while (event := self._conversation.next_event()) is not self._h11.NEED_DATA:
                if isinstance(event, self._h11.Response):
                    self._answered(event)
                    return
        except self._h11.RemoteProtocolError:
            self.answer.set_result(None)

    def eof_received(self) -> bool:
        """Hang up as well."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Let whoever waits know."""
        self._transport = None
        if not self.answer.done():
            self.answer.set_result(None)

    def _answered(self, response: h11.Response) -> None:
        if self._transport is not None and 200 <= response.status_code < 300:
            self._transport.pause_reading()
            self.answer.set_result(self._conversation.trailing_data[0])
        else:
            self.answer.set_result(None)


def _feed(protocol: asyncio.BufferedProtocol, data: bytes) -> None:
    """Have a protocol read bytes that were read for it."""
    while data:
        buffer = memoryview(protocol.get_buffer(len(data)))
        part = data[: len(buffer)]
        buffer[: len(part)] = part
        protocol.buffer_updated(len(part))
        data = data[len(part) :]
