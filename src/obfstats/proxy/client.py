"""The client's side: accepts connections in clear and forwards them obfuscated. It counts nothing.

`Forwarder` forwards everything to one destination (the old programs' mode `client`). `SocksClient` asks each connection
for its destination, as tor requires, and takes a bridge line's arguments with it (pt-spec, per-connection arguments).
"""

from __future__ import annotations

import contextlib
from functools import partial
from typing import TYPE_CHECKING

from obfstats.proxy.driver import MachineDriver, run_on
from obfstats.proxy.outbound import UnreachableError, open_first
from obfstats.proxy.service import Context, Service, adopt
from obfstats.wire.handshake import InboundReady, OutboundReady, Side
from obfstats.wire.socks5 import Reply, Request, Socks5, write_reply
from obfstats.wire.transports import TransportError, make_transport_with

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Mapping, Sequence

    from cryptography.hazmat.primitives.ciphers import CipherContext

    from obfstats.formats.address import ClientAddress
    from obfstats.proxy.outbound import Connector
    from obfstats.proxy.relay import RelayEnd
    from obfstats.wire.endpoint import Endpoint
    from obfstats.wire.handshake import Transport


class Forwarder(Service):
    """Forwards everything to one destination."""

    def __init__(
        self,
        context: Context,
        transport: Transport,
        connector: Connector,
        destination: Endpoint,
        addresses: Sequence[Endpoint],
    ) -> None:
        """Set up.

        Args:
            context: shared by all services.
            transport: the transport, its options checked.
            connector: opens connections.
            destination: where everything is forwarded, as the operator wrote it.
            addresses: its addresses, to be tried in this order.
        """
        super().__init__(context, transport.name)
        self._transport = transport
        self._connector = connector
        self._destination = context.formatter.address(destination)
        self._addresses = addresses

    async def _connect(self, accepted: socket.socket, client: ClientAddress, near: RelayEnd, far: RelayEnd) -> bool:
        with contextlib.ExitStack() as unless_adopted:
            unless_adopted.callback(accepted.close)
            handshake = self._drive_handshake(self._transport, Side.INITIATOR, far, run_on(self._context.executor))
            try:
                obfuscated = await open_first(partial(self._connector.open, handshake), self._addresses)
            except UnreachableError as error:
                self._outcomes.log_failure(client, self._destination, error.reason)
                return False
            with self._deadline(obfuscated):
                outbound = await handshake.result(OutboundReady)
            if outbound is None:
                return False
            near.cipher = outbound.encryptor
            unless_adopted.pop_all()
        # The accepted socket is not read before: what the client sends early waits in the kernel.
        clear = await adopt(near, accepted)
        if clear is None or obfuscated.is_closing():
            return False
        self._outcomes.log_success(client, self.name, self._destination)
        return await _relay_inbound(handshake, far, clear)


class SocksClient(Service):
    """Forwards each connection to the destination that it asks for."""

    def __init__(self, context: Context, name: str, connector: Connector, options: Mapping[str, str]) -> None:
        """Set up.

        Args:
            context: shared by all services.
            name: the transport's.
            connector: opens connections.
            options: the transport's, where a connection's arguments do not override them.
        """
        super().__init__(context, name)
        self._connector = connector
        self._options = options

    async def _connect(self, accepted: socket.socket, client: ClientAddress, near: RelayEnd, far: RelayEnd) -> bool:
        socks = MachineDriver(Socks5(), near)
        clear = await adopt(socks, accepted)
        if clear is None:
            return False
        with self._deadline(clear):
            request = await socks.result(Request)
        if request is None:
            return False
        # If the bridge disconnects during the handshake, this is the answer, and this connection is closed.
        near.reply_if_other_end_lost = write_reply(Reply.GENERAL_FAILURE)
        destination = self._context.formatter.address(request.endpoint)
        try:
            handshake, encryptor = await self._reach(request, far)
        except UnreachableError as error:
            self._outcomes.log_failure(client, destination, error.reason)
            near.reply_if_other_end_lost = b""
            if not clear.is_closing():
                clear.write(write_reply(error.reply))
                clear.close()
            return False
        if clear.is_closing():
            return False
        near.cipher = encryptor
        self._outcomes.log_success(client, self.name, destination)
        near.reply_if_other_end_lost = b""
        clear.write(write_reply(Reply.SUCCEEDED))
        socks.hand_over()
        return await _relay_inbound(handshake, far, clear)

    async def _reach(self, request: Request, far: RelayEnd) -> tuple[MachineDriver, CipherContext]:
        """Connect to the bridge, and do the handshake up to the cipher for what is sent.

        Raises:
            UnreachableError: one of them fails.
        """
        try:
            transport = make_transport_with(self.name, {**self._options, **request.arguments})
        except TransportError:
            # Not this error's text: it depends on the client's words, and reasons are counted by their text.
            raise UnreachableError("the bridge line's arguments do not fit the transport") from None
        handshake = self._drive_handshake(transport, Side.INITIATOR, far, run_on(self._context.executor))
        obfuscated = await self._connector.open(handshake, request.endpoint)
        with self._deadline(obfuscated):
            outbound = await handshake.result(OutboundReady)
        if outbound is None:
            raise UnreachableError("no handshake")
        return handshake, outbound.encryptor


async def _relay_inbound(handshake: MachineDriver, far: RelayEnd, clear: asyncio.Transport) -> bool:
    """Relay the bridge's direction too, once its part of the handshake is complete; tell whether it is."""
    inbound = await handshake.result(InboundReady)
    if inbound is None or clear.is_closing():
        return False
    far.cipher = inbound.decryptor
    handshake.hand_over()
    return True
