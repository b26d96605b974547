"""A wrap lives as long as its tor and as its program; nothing is left of them, and clients are counted again."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from obfstats.formats.logline import parse_line
from peers.child import STOP_SECONDS
from peers.network import OBFS4PROXY
from peers.processes import Held, command_line, family
from tests import canary
from tests.e2e.visitors import (
    countries_seen,
    is_answer,
    statistics_log,
    stay,
    visit,
    visit_with,
    wait_until_served,
    wrapping,
)

if TYPE_CHECKING:
    from pathlib import Path

    from peers.managed import Managed
    from peers.network import Network
    from peers.tors import Bridge

HOSTS = {"obfs2": "127.0.0.1", "obfs3": "::1", "obfs4": "127.0.0.1"}


def transports_processes(bridge: Bridge) -> tuple[int, int]:
    """Give the wrap's process and that of the program in it."""
    _, wrap, program = family(bridge.child.pid)
    assert " wrap " in command_line(wrap)
    assert command_line(program) == OBFS4PROXY[0]
    return wrap, program


def folders(bridge: Bridge) -> list[str]:
    """The private folders of wraps, of those that run and of those that were killed."""
    return [path.name for path in (bridge.folder / "pt_state").glob("wrap-*")]


def countries(bridge: Bridge) -> list[str]:
    """The countries in the statistics log, every line of which must be whole."""
    lines = statistics_log(bridge).read_bytes().splitlines(keepends=True)
    assert all(line.endswith(b"\n") for line in lines)
    return [parse_line(line).country for line in lines]


def come(bridge: Bridge, visitor: Managed, country: str) -> None:
    """Come from three addresses of a country, by the transports that listen for IPv4."""
    assert is_answer(visit(bridge, "obfs2", canary.address(country)))
    assert is_answer(visit_with(visitor, bridge, "obfs4", canary.address(country)))
    assert is_answer(visit_with(visitor, bridge, "obfs4", canary.address(country)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_a_wrapped_bridge_comes_back_after_its_tor_was_ended(
    network: Network, geoip: Path, visitor: Managed, number: signal.Signals
) -> None:
    """Nothing is left of the first tor, its wrap and its program; the second ones serve and count."""
    command = wrapping("--geoip", str(geoip), "--stats-buffer", "1")
    name = f"wrapback{number.name.lower()}"
    with network.bridge(name, command, HOSTS, countries=geoip) as bridge:
        bridge.address("obfs4")
        transports_processes(bridge)
        come(bridge, visitor, "de")
        assert countries_seen(bridge) == "de=8"
        assert bridge.end(number) == []
    assert folders(bridge) == []
    with network.bridge(name, command, HOSTS, countries=geoip) as bridge:
        come(bridge, visitor, "tr")
        assert countries_seen(bridge) == "tr=8"
        assert len(folders(bridge)) == 1
    assert folders(bridge) == []
    # What the buffer held at an end is lost, as it must be.
    assert countries(bridge) == ["de", "de", "tr", "tr"]


def test_tor_starts_a_killed_wrap_or_program_again(network: Network, geoip: Path, visitor: Managed) -> None:
    """First the program is killed, then the wrap: the other one ends, open connections end, and others are served."""
    command = wrapping("--geoip", str(geoip), "--stats-buffer", "1")
    with network.bridge("wrapkilled", command, HOSTS, countries=geoip) as bridge:
        bridge.address("obfs4")
        come(bridge, visitor, "de")
        for killed, country in ((1, "tr"), (0, "ir")):
            processes = transports_processes(bridge)
            with stay(bridge, "obfs3") as open_one:
                with Held(processes) as held:
                    os.kill(processes[killed], signal.SIGKILL)
                    assert held.left(STOP_SECONDS) == []
                # It is told by an end or by a reset, and does not wait until it has lost patience.
                with suppress(ConnectionError):
                    open_one.receive_all()
            for name in HOSTS:
                wait_until_served(bridge, name)
            come(bridge, visitor, country)
            assert len(folders(bridge)) == 1
            assert set(processes).isdisjoint(transports_processes(bridge))
        assert countries_seen(bridge) == "??=8,de=8,ir=8,tr=8"
    assert folders(bridge) == []
    # Of each of the three lives the last client's line is lost: in the first two that is the one who stayed.
    assert countries(bridge) == ["de", "de", "de", "tr", "tr", "tr", "ir", "ir"]
