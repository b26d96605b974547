"""The bridge's side: undoes the obfuscation, passes clients on to tor, and counts them (ticket 5047, steps 2 to 5).

A client counts when its handshake is done and tor has taken it (design, decision 7). A probe that does not speak the
protocol is read into nowhere until a random deadline, and never counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from obfstats.proxy.orport import AbandonedError, OrPort
from obfstats.proxy.outbound import UnreachableError
from obfstats.proxy.service import Service, Surroundings, adopt, hand_over
from obfstats.wire.handshake import Side

if TYPE_CHECKING:
    import socket

    from obfstats.proxy.relay import RelayEnd
    from obfstats.record import Recorder
    from obfstats.wire.endpoint import Endpoint
    from obfstats.wire.handshake import Transport


class Server(Service):
    """One transport of a bridge's."""

    def __init__(
        self,
        around: Surroundings,
        transport: Transport,
        orport: OrPort,
        destination: Endpoint,
        recorder: Recorder | None,
    ) -> None:
        """Begin.

        Args:
            around: what comes in from outside.
            transport: the transport, its options checked.
            orport: where clients are passed on to.
            destination: the same in words, for the log.
            recorder: who counts, or None.
        """
        super().__init__(around, transport.name)
        self._transport = transport
        self._orport = orport
        self._destination = around.show(destination)
        self._recorder = recorder

    async def _connect(self, accepted: socket.socket, peer: Endpoint, near: RelayEnd, far: RelayEnd) -> bool:
        shaking = self._shaking(self._transport, Side.RESPONDER, near)
        obfuscated = await adopt(shaking, accepted)
        if obfuscated is None:
            return False
        with self._around.gate.handshake(peer.host, obfuscated.abort), self._deadline(obfuscated):
            encryptor, inbound = await shaking.outbound, await shaking.inbound
        if encryptor is None or inbound is None or obfuscated.is_closing():
            return False
        near.cipher = inbound[0]
        far.cipher = encryptor
        try:
            clear = await self._orport.connect(far, peer, self.name)
        except AbandonedError:
            return False
        except UnreachableError as error:
            self._outcomes.failed(peer, self._destination, error.reason)
            return False
        # Before anything else can happen to the connection: tor has counted it by now.
        if self._recorder is not None:
            self._recorder.record(peer.host, self.name)
        if obfuscated.is_closing():
            return False
        self._outcomes.succeeded(peer, self.name, self._destination)
        hand_over(shaking, obfuscated, near, clear)
        return True
