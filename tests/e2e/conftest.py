"""The network and what is shared in it. Nothing here waits for what a test does not need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.peers import network as networks
from tests.peers.missing import need

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[networks.Network]:
    """A network that has been started; what needs a consensus waits for it."""
    need("tor", "tor")
    need("tor", "tor-gencert")
    with networks.Network(tmp_path_factory.mktemp("tor")) as running:
        yield running
