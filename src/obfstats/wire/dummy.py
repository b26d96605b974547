"""The transport `dummy`: no handshake, no obfuscation, bytes as they are.

It shows that tor, this program and the network between two ends work without obfuscation, and it is the baseline for
what obfuscation costs. It hides nothing and asks nothing of its peer, so every connection counts as a client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers import CipherContext

from obfstats.wire.handshake import InboundReady, OutboundReady
from obfstats.wire.machine import Machine

if TYPE_CHECKING:
    from cryptography.utils import Buffer

    from obfstats.wire.handshake import Side
    from obfstats.wire.machine import Random, Script


class Plain(CipherContext):
    """A cipher that leaves every byte as it is."""

    def update(self, data: Buffer) -> bytes:
        """Return the same bytes."""
        return bytes(data)

    def update_into(self, data: Buffer, buf: Buffer) -> int:
        """Copy the bytes unless both are the same buffer; return their number.

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
        """Return nothing: this cipher holds nothing back."""
        return b""

    def reset_nonce(self, nonce: bytes) -> None:
        """Do nothing: there is no nonce."""


PLAIN = Plain()
"""The only instance needed: it has no state."""


class Dummy:
    """The dummy transport. It has no options."""

    def __init__(self) -> None:
        self.name = "dummy"

    def handshake(self, side: Side, random: Random) -> Machine:  # noqa: ARG002
        """Begin one connection, both of whose directions are open at once."""
        return Machine(_open_both_directions)


def _open_both_directions(held: bytearray) -> Script:
    yield OutboundReady(PLAIN)
    yield InboundReady(PLAIN, early=bytes(held))
