"""What a test knows of a bridge that counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

    from peers.extended import ExtendedOrPort
    from peers.wrapped import Wrapped
    from tests.proxy.honest import Visitors


class Counting(NamedTuple):
    """A bridge that counts: each client's line is written when the next one comes.

    Attributes:
        tor: the stub behind it.
        bridge: the wrap with the stand-in.
        log: its statistics log.
        visitors: all that came to it and were served.
    """

    tor: ExtendedOrPort
    bridge: Wrapped
    log: Path
    visitors: Visitors
