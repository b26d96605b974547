"""A file arrives complete through a wrapped program: by each transport, over each family, with and without ExtORPort.

The program is another author's, at both ends. The bridge without an extended ORPort tells its tor nothing of its
clients; our statistics see them all the same.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from obfstats.formats.logline import parse_line
from peers import managed, web
from peers.geoip import geoip_text
from peers.missing import need
from peers.network import OBFS4PROXY
from peers.processes import command_line, family, listeners
from peers.tors import telling
from tests import canary
from tests.e2e.visitors import is_answer, statistics_log, visit, visit_with, wrapping

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import TypeAlias

    from peers.network import Network
    from peers.tors import Bridge, Client

    Clients: TypeAlias = dict[tuple[str, str], tuple[Bridge, Client]]

FILE = os.urandom(300_000)

BRIDGES = {
    "wrapone": {"obfs2": "127.0.0.1", "obfs3": "::1", "obfs4": "127.0.0.1"},
    "wraptwo": {"obfs2": "::1", "obfs3": "127.0.0.1", "obfs4": "::1"},
    "wrapplain": {"obfs3": "127.0.0.1", "obfs4": "127.0.0.1"},
}
"""Three bridges, and where each one's transports listen; the last one has no extended ORPort."""

PLAIN = "wrapplain"

WRAPPED_CLIENT = (PLAIN, "obfs4")
"""The way whose client is wrapped too, as by an operator who wraps whatever he has."""

WAYS = [
    ("wrapone", "obfs2"), ("wrapone", "obfs3"), ("wrapone", "obfs4"),
    ("wraptwo", "obfs2"), ("wraptwo", "obfs3"), ("wraptwo", "obfs4"),
    WRAPPED_CLIENT,
]  # fmt: skip
"""A client each, which uses one bridge by one transport."""


@pytest.fixture(scope="module")
def countries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GeoIP file that gives the canaries' networks their countries."""
    path = tmp_path_factory.mktemp("countries") / "geoip"
    path.write_text(geoip_text())
    return path


@pytest.fixture(scope="module")
def clients(network: Network, countries: Path) -> Iterator[Clients]:
    """The bridges, and a tor client for each way, all of them at once."""
    need("obfs4proxy", "obfs4proxy")
    command = wrapping("--geoip", str(countries), "--stats-buffer", "1", "--stats-columns", "transport,family")
    with ExitStack() as stack:
        network.wait()
        bridges = {
            name: stack.enter_context(network.bridge(name, command, hosts, countries=countries, extended=name != PLAIN))
            for name, hosts in BRIDGES.items()
        }
        for bridge in bridges.values():
            bridge.wait_for("The current consensus contains exit nodes")
        yield {
            (name, transport): (
                bridges[name],
                stack.enter_context(
                    network.client(
                        f"{name}{transport}",
                        wrapping() if (name, transport) == WRAPPED_CLIENT else OBFS4PROXY,
                        bridges[name].line(transport),
                    )
                ),
            )
            for name, transport in WAYS
        }


@pytest.fixture(scope="module")
def destination() -> Iterator[tuple[str, int]]:
    """A web server that the exit connects to."""
    with web.serve(FILE) as address:
        yield address


@pytest.mark.parametrize(
    "way",
    WAYS,
    ids=[f"{name}-{transport}-{BRIDGES[name][transport]}" for name, transport in WAYS],
)
def test_a_file_comes_whole_through_a_wrapped_program(
    clients: Clients, destination: tuple[str, int], way: tuple[str, str]
) -> None:
    """The wrapped program's listener is this tor's only way out, and what arrives is what was there."""
    bridge, client = clients[way]
    with telling(bridge, client):
        assert web.fetch_digest(client.socks(), destination) == hashlib.sha256(FILE).hexdigest()


def test_a_wrapped_client_is_the_program_itself(clients: Clients) -> None:
    """In a client's torrc a wrap leaves nothing of itself: no process, no listener, no file."""
    bridge, client = clients[WRAPPED_CLIENT]
    with telling(bridge, client):
        client.socks()
    assert [command_line(pid) for pid in family(client.child.pid)][1:] == [OBFS4PROXY[0]]
    assert [path.name for path in (client.folder / "pt_state").glob("*") if "obfs4" not in path.name] == []


def test_without_an_extended_orport_our_statistics_see_every_country(clients: Clients, tmp_path: Path) -> None:
    """Tor sees 127.0.0.1 as the address of all; the log knows the countries, transports and families."""
    bridge, client = clients[WRAPPED_CLIENT]
    with (
        telling(bridge, client),
        managed.client(tmp_path / "visitor", argv=OBFS4PROXY, transports=["obfs4"]) as visitor,
    ):
        client.socks()
        assert is_answer(visit(bridge, "obfs3", canary.address("de")))
        assert is_answer(visit_with(visitor, bridge, "obfs4", canary.address("tr")))
        # The buffer holds the last one back.
        assert is_answer(visit(bridge, "obfs3", canary.address("ir")))
        assert "CountrySummary=??=8 " in bridge.ask("status/clients-seen")
    lines = [parse_line(line) for line in statistics_log(bridge).read_bytes().splitlines()]
    # The first is the tor client's.
    assert (lines[0].country, lines[0].transport, lines[0].family) == ("??", "obfs4", "v4")
    known = [(line.country, line.transport, line.family) for line in lines if line.country != "??"]
    assert known == [("de", "obfs3", "v4"), ("tr", "obfs4", "v4")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into a process that is not dumpable")
def test_wraps_listen_on_loopback_only(clients: Clients) -> None:
    """A wrapped bridge is three processes, and none of them can be reached from outside."""
    found = set()
    for bridge in {id(bridge): bridge for bridge, _ in clients.values()}.values():
        processes = list(family(bridge.child.pid))
        assert len(processes) == 3, [command_line(pid) for pid in processes]
        found |= listeners(processes)
    assert found == {"127.0.0.1", "::1"}
