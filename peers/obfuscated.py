"""A client of an obfuscated bridge on a plain blocking socket, from a chosen loopback address.

It runs the program's own sans-IO handshake; the tests hold that against other programs' clients.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Self

from obfstats.wire.handshake import InboundReady, OutboundReady, Side
from obfstats.wire.machine import Compute, Failed, Send

if TYPE_CHECKING:
    from types import TracebackType

    from cryptography.hazmat.primitives.ciphers import CipherContext

    from obfstats.wire.handshake import Transport
    from obfstats.wire.machine import Event

_CHUNK = 1 << 16


class ObfuscatedClient:
    """A connection through an obfuscated bridge; used like a socket, and as a context manager."""

    def __init__(
        self, transport: Transport, bridge: tuple[str, int], source: str | None = None, timeout: float = 30.0
    ) -> None:
        """Connect, and run the handshake until data can be sent.

        Args:
            transport: which transport to speak.
            bridge: where it listens.
            source: the loopback address to connect from; None for the kernel's choice.
            timeout: seconds for each step.

        Raises:
            OSError: if the bridge cannot be reached, hangs up or takes too long.
        """
        self._encryptor: CipherContext | None = None
        self._decryptor: CipherContext | None = None
        self._early = b""
        self._handshake = transport.handshake(Side.INITIATOR, os.urandom)
        self.socket = socket.create_connection(bridge, timeout, (source, 0) if source else None)
        try:
            self._obey(self._handshake.start())
            while self._encryptor is None:
                self._shake()
        except BaseException:
            self.socket.close()
            raise

    def encrypt(self, data: bytes) -> bytes:
        """Encipher what is written to `socket` other than by `sendall`."""
        if self._encryptor is None:
            raise ConnectionError("not connected")
        return self._encryptor.update(data)

    def sendall(self, data: bytes) -> None:
        """Send data, enciphered."""
        self.write(self.encrypt(data))

    def write(self, data: bytes) -> None:
        """Send bytes as they are; every byte that this client sends passes here."""
        self.socket.sendall(data)

    def recv(self, size: int = _CHUNK) -> bytes:
        """Give deciphered bytes from the destination; nothing at its end."""
        while self._decryptor is None:
            self._shake()
        if self._early:
            early, self._early = self._early, b""
            return early
        return self._decryptor.update(self.socket.recv(size))

    def receive_all(self) -> bytes:
        """Give all bytes up to the end."""
        received = bytearray()
        while chunk := self.recv():
            received += chunk
        return bytes(received)

    def end_sending(self) -> None:
        """Close this direction only."""
        self.socket.shutdown(socket.SHUT_WR)

    def send_and_end(self, data: bytes) -> None:
        """Send data, and close this direction."""
        self.sendall(data)
        self.end_sending()

    def close(self) -> None:
        """Close both directions."""
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _shake(self) -> None:
        data = self.socket.recv(_CHUNK)
        if not data:
            raise ConnectionError("the bridge hung up during the handshake")
        self._obey(self._handshake.receive(data))

    def _obey(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case Send(data):
                    self.write(data)
                case Compute(job):
                    self._obey(self._handshake.computed(job()))
                case OutboundReady(encryptor):
                    self._encryptor = encryptor
                case InboundReady(decryptor, early=early):
                    self._decryptor, self._early = decryptor, decryptor.update(early)
                case Failed(reason):
                    raise ConnectionError(reason)
