"""The client's side: takes connections in clear and passes them on obfuscated. It counts nothing.

`Forwarder` passes everything on to one destination (the old programs' mode `client`); `SocksClient` asks each
connection where to, as tor wants it, and takes a bridge line's arguments with it (pt-spec, per-connection arguments).
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from obfstats.proxy.outbound import UnreachableError, open_first
from obfstats.proxy.service import Service, Surroundings, adopt, hand_over
from obfstats.proxy.socks import Asking
from obfstats.wire.handshake import Side
from obfstats.wire.transports import TransportError, make_transport_with

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Mapping, Sequence

    from cryptography.hazmat.primitives.ciphers import CipherContext

    from obfstats.proxy.outbound import WayOut
    from obfstats.proxy.relay import RelayEnd
    from obfstats.proxy.shaking import Shaking
    from obfstats.wire.endpoint import Endpoint
    from obfstats.wire.handshake import Transport
    from obfstats.wire.socks5 import Request


class Forwarder(Service):
    """Everything to one destination."""

    def __init__(
        self,
        around: Surroundings,
        transport: Transport,
        way: WayOut,
        destination: Endpoint,
        addresses: Sequence[Endpoint],
    ) -> None:
        """Begin.

        Args:
            around: what comes in from outside.
            transport: the transport, its options checked.
            way: how connections are opened.
            destination: where everything is passed on to, as the operator wrote it.
            addresses: its addresses, to be tried in this order.
        """
        super().__init__(around, transport.name)
        self._transport = transport
        self._way = way
        self._destination = around.show(destination)
        self._addresses = addresses

    async def _connect(self, accepted: socket.socket, peer: Endpoint, near: RelayEnd, far: RelayEnd) -> bool:
        with contextlib.ExitStack() as unless_adopted:
            unless_adopted.callback(accepted.close)
            shaking = self._shaking(self._transport, Side.INITIATOR, far)
            try:
                obfuscated = await open_first(self._way, shaking, self._addresses)
            except UnreachableError as error:
                self._outcomes.failed(peer, self._destination, error.reason)
                return False
            with self._deadline(obfuscated):
                encryptor = await shaking.outbound
            if encryptor is None:
                return False
            near.cipher = encryptor
            unless_adopted.pop_all()
        # Only now is the accepted socket read: what came early waited in the kernel.
        clear = await adopt(near, accepted)
        if clear is None or obfuscated.is_closing():
            return False
        self._outcomes.succeeded(peer, self.name, self._destination)
        inbound = await shaking.inbound
        if inbound is None:
            return False
        far.cipher = inbound[0]
        hand_over(shaking, obfuscated, far, clear)
        return True


class SocksClient(Service):
    """Each connection says where to."""

    def __init__(self, around: Surroundings, name: str, way: WayOut, options: Mapping[str, str]) -> None:
        """Begin.

        Args:
            around: what comes in from outside.
            name: the transport's.
            way: how connections are opened.
            options: what the transport gets where a connection does not say otherwise.
        """
        super().__init__(around, name)
        self._way = way
        self._options = options

    async def _connect(self, accepted: socket.socket, peer: Endpoint, near: RelayEnd, far: RelayEnd) -> bool:
        asking = Asking(near)
        clear = await adopt(asking, accepted)
        if clear is None:
            return False
        with self._deadline(clear):
            request = await asking.request
        if request is None:
            return False
        destination = self._around.show(request.endpoint)
        try:
            shaking, obfuscated, encryptor = await self._reach(request, far)
        except UnreachableError as error:
            self._outcomes.failed(peer, destination, error.reason)
            return asking.refuse(error.reply)
        if clear.is_closing():
            return False
        near.cipher = encryptor
        self._outcomes.succeeded(peer, self.name, destination)
        asking.accept(clear, obfuscated)
        inbound = await shaking.inbound
        if inbound is None or clear.is_closing():
            return False
        far.cipher = inbound[0]
        hand_over(shaking, obfuscated, far, clear)
        return True

    async def _reach(self, request: Request, far: RelayEnd) -> tuple[Shaking, asyncio.Transport, CipherContext]:
        """Connect to the bridge, and shake hands as far as it goes without the first data.

        Raises:
            UnreachableError: if that does not work.
        """
        try:
            transport = make_transport_with(self.name, {**self._options, **request.arguments})
        except TransportError:
            # Not its own words: they are the client's, and would be counted by themselves.
            raise UnreachableError("the bridge line's arguments do not fit the transport") from None
        shaking = self._shaking(transport, Side.INITIATOR, far)
        obfuscated = await self._way.open(shaking, request.endpoint)
        with self._deadline(obfuscated):
            encryptor = await shaking.outbound
        if encryptor is None:
            raise UnreachableError("no handshake")
        return shaking, obfuscated, encryptor
