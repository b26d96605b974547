"""A test in a network of its own; skipped where this user may not make one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from peers.missing import need
from peers.namespaces import in_own_network

if TYPE_CHECKING:
    from collections.abc import Callable


def in_own_network_if_allowed(story: Callable[[], None]) -> None:
    """Run a function in a network of its own; its programs and threads are in it, too."""
    need("iproute2", "ip")
    try:
        in_own_network(story)
    except PermissionError:
        pytest.skip("only root can make a network of its own")
