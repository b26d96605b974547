"""The shared network. Its fixtures wait for nothing that a test does not need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from peers import managed
from peers import network as networks
from peers.clocks import ProgramClock
from peers.missing import need

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[networks.Network]:
    """A network that has been started; what needs a consensus waits for it."""
    need("tor", "tor")
    need("tor", "tor-gencert")
    with networks.Network(tmp_path_factory.mktemp("tor")) as running:
        yield running


@pytest.fixture
def clock(tmp_path: Path) -> ProgramClock:
    """The clock of a bridge's tor and of our program; libfaketime does not move a program in Go."""
    need("faketime", "faketime")
    return ProgramClock(tmp_path / "clock")


@pytest.fixture
def visitor(tmp_path: Path) -> Iterator[managed.Managed]:
    """Another author's client program, for the transport of which we have none."""
    need("obfs4proxy", "obfs4proxy")
    with managed.client(tmp_path / "visitor", argv=networks.OBFS4PROXY, transports=["obfs4"]) as running:
        yield running
