"""The bridge's side: removes the obfuscation, forwards clients to tor, and counts them (ticket 5047, steps 2 to 5).

A client counts when its handshake is done and tor has accepted it (design, decision 7). A probe that does not speak the
protocol is never counted; what it sends is dropped until a random deadline. So is what a client sends whose network has
its share already.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from obfstats.proxy.listener import is_closed
from obfstats.proxy.orport import AbandonedError
from obfstats.proxy.outbound import UnreachableError
from obfstats.proxy.service import Context, Service, adopt
from obfstats.proxy.shares import OVER_SHARE
from obfstats.proxy.totals import Failure
from obfstats.wire.handshake import InboundReady, OutboundReady, Side

if TYPE_CHECKING:
    import socket

    from obfstats.formats.address import ClientAddress
    from obfstats.proxy.driver import MachineDriver
    from obfstats.proxy.handshakes import Handshake
    from obfstats.proxy.orport import OrPortTarget
    from obfstats.proxy.relay import RelayEnd
    from obfstats.record import Recorder
    from obfstats.wire.endpoint import Endpoint
    from obfstats.wire.handshake import Transport


class BridgeService(Service):
    """One transport of a bridge."""

    def __init__(
        self,
        context: Context,
        transport: Transport,
        orport: OrPortTarget,
        destination: Endpoint,
        recorder: Recorder | None,
    ) -> None:
        """Set up.

        Args:
            context: shared by all services.
            transport: the transport, its options checked.
            orport: where clients are forwarded.
            destination: the same as the operator wrote it, for the log.
            recorder: counts clients, or None.
        """
        super().__init__(context, transport.name)
        self._transport = transport
        self._orport = orport
        self._destination = context.formatter.address(destination)
        self._recorder = recorder

    async def _connect(self, accepted: socket.socket, client: ClientAddress, near: RelayEnd, far: RelayEnd) -> bool:
        far.never_half_closes = True
        handshakes = self._context.handshakes
        with handshakes.count(client, partial(is_closed, accepted)) as counted:
            handshake = self._drive_handshake(
                self._transport, Side.RESPONDER, near, partial(handshakes.run_job, counted)
            )
            obfuscated = counted.transport = await adopt(handshake, accepted)
            if obfuscated is None or counted.is_over:
                self._count_failure(handshake, counted)
                return False
            with self._deadline(obfuscated):
                outbound, inbound = await handshake.result(OutboundReady), await handshake.result(InboundReady)
                if outbound is not None and inbound is not None and not obfuscated.is_closing():
                    await self._take_share(handshake, client)
        if outbound is None or inbound is None or obfuscated.is_closing():
            self._count_failure(handshake, counted)
            return False
        near.cipher, far.cipher = inbound.decryptor, outbound.encryptor
        try:
            await self._orport.connect(far, client, self.name)
        except AbandonedError:
            return False
        except UnreachableError as error:
            self._outcomes.log_failure(client, self._destination, error.reason)
            self._context.totals.fail(Failure.ORPORT)
            return False
        # Before anything else can happen to the connection: tor has counted it by now.
        if self._recorder is not None:
            self._recorder.record_packed(client.packed, self.name)
        if obfuscated.is_closing():
            return False
        self._outcomes.log_success(client, self.name, self._destination)
        handshake.hand_over()
        return True

    def _count_failure(self, driver: MachineDriver, handshake: Handshake) -> None:
        """Count a handshake that was not done, or that was refused."""
        if handshake.is_shed:
            failure = Failure.SHED
        elif driver.failure is None:
            failure = Failure.UNFINISHED
        else:
            failure = Failure.NETWORK_SHARE if driver.failure == OVER_SHARE else Failure.PROTOCOL
        self._context.totals.fail(failure)

    async def _take_share(self, handshake: MachineDriver, client: ClientAddress) -> None:
        """Take a client's part of its network's share; if there is none left, return when its connection is closed."""
        release = self._context.shares.take(client)
        if release is None:
            self._outcomes.log_failure(client, self._destination, OVER_SHARE)
            await handshake.fail(OVER_SHARE)
        else:
            handshake.end.call_when_closed(release)
