"""Which clients count: all that tor has accepted, at that moment, and no others."""

from __future__ import annotations

import contextlib
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from obfstats.wire.endpoint import Endpoint, parse_endpoint
from peers import extended, managed, stand_in, wrapped
from peers.destinations import TIMEOUT, echo, serve
from peers.extended import OrPortConduct
from peers.stand_in import ServerConduct
from tests import canary
from tests.proxy.honest import Visitors, countries, is_served, lines
from tests.proxy.moved import DAY, Time
from tests.proxy.visiting import HELLO
from tests.wrap.tapping import tapped

if TYPE_CHECKING:
    from pathlib import Path

    from tests.wrap.bridges import Counting


def answer(connection: socket.socket) -> int | None:
    """Return the wrap's answer, and check that it closes after DENY; None where it just closes."""
    with connection:
        try:
            command = stand_in.verdict(connection)
            if command == stand_in.DENY:
                assert connection.recv(1) == b""
        except ConnectionError:
            return None
        return command


def test_every_client_is_a_line_with_its_country(counting: Counting) -> None:
    """Three countries and an unknown one; each address has its own hash."""
    for country in ("de", "tr", "ir", "??", "de"):
        counting.visitors.visit(country=country)
    assert countries(counting.log) == counting.visitors.expected_lines()


def test_a_client_that_comes_again_has_the_same_hash(tmp_path: Path) -> None:
    """From another port and by another transport: within a day it is one address."""
    log = tmp_path / "log"
    with extended.orport(tmp_path) as tor, wrapped.server(tmp_path, tor, *managed.counting(log)) as bridge:
        client = canary.address()
        for port, name in ((1, "snowflake"), (60000, "webtunnel"), (1, "snowflake")):
            bridge.entrance.enter(f"{client}:{port}", name).close()
    assert len(set(log.read_text().splitlines())) == 1
    assert len(log.read_text().splitlines()) == 2


@pytest.mark.parametrize("conduct", extended.UNWILLING)
def test_a_client_that_tor_does_not_accept_is_denied_and_not_counted(
    counting: Counting, conduct: OrPortConduct
) -> None:
    """The program gets DENY, as if from tor; clients before and after it are served and counted."""
    counting.tor.expect(OrPortConduct.HONEST, conduct)
    counting.visitors.visit()
    assert answer(counting.bridge.entrance.ask(f"{canary.address('ir')}:5678")) == stand_in.DENY
    counting.visitors.visit(2)
    assert countries(counting.log) == counting.visitors.expected_lines()


def test_a_client_counts_at_tors_okay(tmp_path: Path) -> None:
    """Not when it connects, and not at DONE."""
    log = tmp_path / "log"
    with (
        extended.orport(tmp_path, OrPortConduct.HONEST, OrPortConduct.LATE) as tor,
        wrapped.server(tmp_path, tor, *managed.counting(log)) as bridge,
    ):
        visitors = Visitors(bridge.methods[wrapped.NAME], "dummy")
        visitors.visit()
        with visitors.send_hello("tr") as client:
            tor.wait_for(2)
            # The next client that counts would have written the line of the one before it.
            assert countries(log) == Counter()
            tor.go.set()
            assert client.recv() == HELLO
            assert countries(log) == {"de": 1}


def test_a_client_that_disconnects_before_tors_okay_is_not_counted(tmp_path: Path) -> None:
    """The wrap closes tor's connection too, before tor has answered."""
    log = tmp_path / "log"
    with extended.orport(tmp_path) as tor, socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(TIMEOUT)
        place = {"TOR_PT_EXTENDED_SERVER_PORT": str(Endpoint(*silent.getsockname()))}
        with wrapped.server(tmp_path, tor, *managed.counting(log), environment=place) as bridge:
            for _ in range(2):
                with bridge.entrance.ask(f"{canary.address('ir')}:5678"):
                    asked, _ = silent.accept()
                with asked:
                    asked.settimeout(TIMEOUT)
                    assert asked.recv(1) == b""
    assert log.read_bytes() == b""


def test_with_a_plain_orport_a_client_counts_when_it_is_connected(tmp_path: Path) -> None:
    """Tor is told nothing, and the statistics still have country and transport."""
    log = tmp_path / "log"
    with serve(echo) as address:
        options = ["--stats-columns", "transport", *managed.counting(log)]
        with wrapped.server(tmp_path, parse_endpoint(address), *options) as bridge:
            visitors = Visitors(bridge.methods[wrapped.NAME], "dummy")
            for country in ("de", "tr", "ir", "de"):
                visitors.visit(country=country)
    assert [(line.country, line.transport) for line in lines(log)] == [
        (country, wrapped.NAME) for country in ("de", "tr", "ir")
    ]


def test_a_client_without_an_address_counts_as_tor_counts_it(tmp_path: Path) -> None:
    """As 127.0.0.1 of an unknown country; without a transport's name, or with one that no line can have, as `<??>`."""
    log = tmp_path / "log"
    options = ["--stats-columns", "transport,family", *managed.counting(log)]
    with extended.orport(tmp_path) as tor, wrapped.server(tmp_path, tor, *options) as bridge:
        said = [(None, "snowflake"), ("127.0.0.1:1", None), (None, "v4"), (None, "x" * 33), ("[2001:db8::7]:1", "_")]
        for address, name in said:
            bridge.entrance.enter(address, name).close()
        bridge.entrance.enter(None).close()
    found = [line.split()[2:] for line in log.read_text().splitlines()]
    assert [(country, name, family) for country, _hash, name, family in found] == [
        ("??", "snowflake", "v4"),
        ("??", "<??>", "v4"),
        ("??", "<??>", "v4"),
        ("??", "<??>", "v4"),
        ("jp", "_", "v6"),
    ]
    assert len({line[1] for line in found}) == 2


@pytest.mark.parametrize(
    "conduct", [ServerConduct.WEBTUNNEL, ServerConduct.SNOWFLAKE, ServerConduct.NO_ADDRESS, ServerConduct.NO_TRANSPORT]
)
def test_other_transports_messages_are_served_and_counted(counting: Counting, conduct: ServerConduct) -> None:
    """With made-up ports, or without one of the messages."""
    before = countries(counting.log).total()
    counting.bridge.program.expect(conduct)
    with counting.visitors.send_hello() as client:
        assert client.recv() == HELLO
        counting.visitors.served.append("??" if conduct is ServerConduct.NO_ADDRESS else "de")
        assert is_served(client)
    counting.visitors.visit()
    assert countries(counting.log).total() - before in {1, 2}
    assert countries(counting.log) == counting.visitors.expected_lines()


def test_what_tor_sends_may_arrive_in_pieces(tmp_path: Path) -> None:
    """A byte at a time, each in its own packet, with bytes for the client right after OKAY."""
    log = tmp_path / "log"
    with extended.orport(tmp_path, greeting=b"220 welcome") as tor, tapped(tor.address, chunk=1) as tap:
        place = {"TOR_PT_EXTENDED_SERVER_PORT": str(Endpoint(*tap.address))}
        with wrapped.server(tmp_path, tor, *managed.counting(log), environment=place) as bridge:
            for _ in range(2):
                with bridge.entrance.enter(f"{canary.address('tr')}:5678") as connection:
                    assert stand_in.read(connection, 11) == b"220 welcome"
    assert countries(log) == {"tr": 1}


def test_tor_on_ipv6_is_reached(tmp_path: Path) -> None:
    """ExtORPort [::1]:auto."""
    with extended.orport(tmp_path, host="::1") as tor, wrapped.server(tmp_path, tor, "--no-stats") as bridge:
        Visitors(bridge.methods[wrapped.NAME], "dummy").visit()
        assert len(tor.visits) == 1


def test_many_at_once_are_all_counted(tmp_path: Path) -> None:
    """Twenty that connect again and again, while twenty more stay connected."""
    log = tmp_path / "log"
    with (
        extended.orport(tmp_path) as tor,
        wrapped.server(tmp_path, tor, *managed.counting(log)) as bridge,
        ThreadPoolExecutor(20) as crowd,
        contextlib.ExitStack() as stack,
    ):
        visitors = Visitors(bridge.methods[wrapped.NAME], "dummy")
        staying = [stack.enter_context(visitors.connect("tr")) for _ in range(20)]
        for done in [crowd.submit(visitors.visit, 5) for _ in range(20)]:
            done.result(TIMEOUT)
        assert all(is_served(client) for client in staying)
        assert countries(log).total() == len(visitors.served) - 1 == 119


def test_an_intervals_lines_are_written_when_it_has_ended(tmp_path: Path) -> None:
    """Few clients, so all lines are in the buffer: within ten minutes of the interval's end they are in the log."""
    time, log = Time(tmp_path), tmp_path / "log"
    options = managed.counting(log, buffer=100)
    with extended.orport(tmp_path) as tor:
        with wrapped.server(tmp_path, tor, *options, environment=time.environment) as bridge:
            visitors = Visitors(bridge.methods[wrapped.NAME], "dummy")
            for country in ("tr", "de", "tr", "ir"):
                visitors.visit(country=country)
            time.tick(visitors.visit)
            assert countries(log) == Counter()
            for seconds in (DAY, 601):
                time.clock.move(seconds)
                time.tick(visitors.visit, 2)
        assert countries(log) == {"tr": 2, "de": 2, "ir": 1}
        assert len({line.start for line in lines(log)}) == 1


def test_without_statistics_nothing_is_counted(tmp_path: Path) -> None:
    """--no-stats: clients are forwarded, and no file is made."""
    with extended.orport(tmp_path) as tor, wrapped.server(tmp_path, tor, "--no-stats") as bridge:
        Visitors(bridge.methods[wrapped.NAME], "dummy").visit(3)
        assert list(bridge.state.iterdir()) == bridge.folders()
        assert len(tor.visits) == 3
