"""The transport `dummy`: no handshake, no obfuscation, bytes as they are.

It shows that tor, this program and the network between two ends work, before obfuscation joins in, and it is what
obfuscation's cost is measured against. It hides nothing and asks nothing of its peer, so whoever connects is a client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers import CipherContext

from obfstats.wire.handshake import InboundReady, OutboundReady

if TYPE_CHECKING:
    from cryptography.utils import Buffer

    from obfstats.wire.handshake import Event, Handshake, Random, Side


class Plain(CipherContext):
    """A cipher that leaves every byte as it is."""

    def update(self, data: Buffer) -> bytes:
        """Give the same bytes."""
        return bytes(data)

    def update_into(self, data: Buffer, buf: Buffer) -> int:
        """Copy the bytes, where there is anything to copy; give their number.

        Raises:
            ValueError: the buffer is shorter than the data.
        """
        length = memoryview(data).nbytes
        if buf is not data:
            target = memoryview(buf)
            if target.nbytes < length:
                raise ValueError("the buffer is shorter than the data")
            target[:length] = data
        return length

    def finalize(self) -> bytes:
        """Give nothing: nothing was held back."""
        return b""

    def reset_nonce(self, nonce: bytes) -> None:
        """Do nothing: there is no nonce."""


PLAIN = Plain()
"""The one there needs to be: it holds no state."""


class Dummy:
    """The dummy transport. It has no options."""

    def __init__(self) -> None:
        self.name = "dummy"

    def handshake(self, side: Side, random: Random) -> Handshake:  # noqa: ARG002
        """Begin one connection, whose both directions are open at once."""
        return _DummyHandshake()


class _DummyHandshake:
    """One connection's absent handshake."""

    __slots__ = ()

    def start(self) -> list[Event]:
        return [OutboundReady(PLAIN), InboundReady(PLAIN, b"")]

    def receive(self, data: bytes) -> list[Event]:  # noqa: ARG002
        return []

    def computed(self, result: object) -> list[Event]:  # noqa: ARG002
        return []
