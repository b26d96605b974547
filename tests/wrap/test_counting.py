"""Who is counted: every client whom tor has taken, at that moment, and nobody else."""

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
from peers.extended import Conduct
from peers.stand_in import Conduct as Program
from tests import canary
from tests.proxy.honest import Visitors, countries, is_served, lines
from tests.proxy.moved import DAY, Time
from tests.proxy.visiting import HELLO
from tests.wrap.tapping import tapped

if TYPE_CHECKING:
    from pathlib import Path

    from tests.wrap.bridges import Counting


def answer(connection: socket.socket) -> int | None:
    """Give the wrap's verdict, and see that it closes behind DENY; None where it just closes."""
    with connection:
        try:
            command = stand_in.verdict(connection)
            if command == stand_in.DENY:
                assert connection.recv(1) == b""
        except ConnectionError:
            return None
        return command


def test_every_client_is_a_line_with_its_country(counting: Counting) -> None:
    """Three countries and none, each address a hash of its own."""
    for country in ("de", "tr", "ir", "??", "de"):
        counting.visitors.come(country=country)
    assert countries(counting.log) == counting.visitors.counted()


def test_a_client_that_comes_again_has_the_same_hash(tmp_path: Path) -> None:
    """By another port and another transport: within a day it is one address."""
    log = tmp_path / "log"
    with extended.orport(tmp_path) as tor, wrapped.server(tmp_path, tor, *managed.counting(log)) as bridge:
        client = canary.address()
        for port, name in ((1, "snowflake"), (60000, "webtunnel"), (1, "snowflake")):
            bridge.entrance.enter(f"{client}:{port}", name).close()
    assert len(set(log.read_text().splitlines())) == 1
    assert len(log.read_text().splitlines()) == 2


@pytest.mark.parametrize("conduct", extended.UNWILLING)
def test_whom_tor_does_not_take_is_denied_and_not_counted(counting: Counting, conduct: Conduct) -> None:
    """The program hears DENY, as if tor had said it; those before and behind are served and counted."""
    counting.tor.expect(Conduct.HONEST, conduct)
    counting.visitors.come()
    assert answer(counting.bridge.entrance.ask(f"{canary.address('ir')}:5678")) == stand_in.DENY
    counting.visitors.come(2)
    assert countries(counting.log) == counting.visitors.counted()
    assert not any("internal error" in line for line in counting.bridge.said())


def test_a_client_counts_when_tor_has_said_okay(tmp_path: Path) -> None:
    """Not when it comes, and not with DONE."""
    log = tmp_path / "log"
    with (
        extended.orport(tmp_path, Conduct.HONEST, Conduct.LATE) as tor,
        wrapped.server(tmp_path, tor, *managed.counting(log)) as bridge,
    ):
        visitors = Visitors(bridge.methods[wrapped.NAME], "dummy")
        visitors.come()
        with visitors.ask("tr") as client:
            tor.wait_for(2)
            # The next client that counts would have written the line of the one before it.
            assert countries(log) == Counter()
            tor.go.set()
            assert client.recv() == HELLO
            assert countries(log) == {"de": 1}


def test_a_client_that_goes_while_tor_is_asked_is_not_counted(tmp_path: Path) -> None:
    """The wrap hangs up on tor as well, before tor has said a word."""
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
    """Nobody is told anything, and the statistics have country and transport all the same."""
    log = tmp_path / "log"
    with serve(echo) as address:
        options = ["--stats-columns", "transport", *managed.counting(log)]
        with wrapped.server(tmp_path, parse_endpoint(address), *options) as bridge:
            visitors = Visitors(bridge.methods[wrapped.NAME], "dummy")
            for country in ("de", "tr", "ir", "de"):
                visitors.come(country=country)
    assert [(line.country, line.transport) for line in lines(log)] == [
        (country, wrapped.NAME) for country in ("de", "tr", "ir")
    ]


def test_one_without_an_address_counts_as_tor_counts_it(tmp_path: Path) -> None:
    """As 127.0.0.1, of no country; without a transport's name, or with one that no line can have, by `<??>`."""
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


@pytest.mark.parametrize("conduct", [Program.WEBTUNNEL, Program.SNOWFLAKE, Program.NO_ADDRESS, Program.NO_TRANSPORT])
def test_the_ways_of_other_transports_are_served_and_counted(counting: Counting, conduct: Program) -> None:
    """Made-up ports, and less than there is to say."""
    before = countries(counting.log).total()
    counting.bridge.program.expect(conduct)
    with counting.visitors.ask() as client:
        assert client.recv() == HELLO
        counting.visitors.served.append("??" if conduct is Program.NO_ADDRESS else "de")
        assert is_served(client)
    counting.visitors.come()
    assert countries(counting.log).total() - before in {1, 2}
    assert countries(counting.log) == counting.visitors.counted()


def test_a_tor_whose_words_come_in_pieces_is_understood(tmp_path: Path) -> None:
    """A byte at a time, each in a packet of its own, with something to say at once behind its OKAY."""
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
        Visitors(bridge.methods[wrapped.NAME], "dummy").come()
        assert len(tor.visits) == 1


def test_many_at_once_are_all_counted(tmp_path: Path) -> None:
    """Twenty who come again and again, while twenty more stay."""
    log = tmp_path / "log"
    with (
        extended.orport(tmp_path) as tor,
        wrapped.server(tmp_path, tor, *managed.counting(log)) as bridge,
        ThreadPoolExecutor(20) as crowd,
        contextlib.ExitStack() as stack,
    ):
        visitors = Visitors(bridge.methods[wrapped.NAME], "dummy")
        staying = [stack.enter_context(visitors.stay("tr")) for _ in range(20)]
        for done in [crowd.submit(visitors.come, 5) for _ in range(20)]:
            done.result(TIMEOUT)
        assert all(is_served(client) for client in staying)
        assert countries(log).total() == len(visitors.served) - 1 == 119


def test_a_days_lines_are_written_when_it_is_over(tmp_path: Path) -> None:
    """Few clients, many lines held back: within ten minutes of the day's end all are there."""
    time, log = Time(tmp_path), tmp_path / "log"
    options = managed.counting(log, buffer=100)
    with extended.orport(tmp_path) as tor:
        with wrapped.server(tmp_path, tor, *options, environment=time.environment) as bridge:
            visitors = Visitors(bridge.methods[wrapped.NAME], "dummy")
            for country in ("tr", "de", "tr", "ir"):
                visitors.come(country=country)
            time.tick(visitors.come)
            assert countries(log) == Counter()
            for seconds in (DAY, 601):
                time.clock.move(seconds)
                time.tick(visitors.come, 2)
        assert countries(log) == {"tr": 2, "de": 2, "ir": 1}
        assert len({line.start for line in lines(log)}) == 1


def test_nothing_is_counted_where_nobody_wants_it(tmp_path: Path) -> None:
    """--no-stats: clients are passed on, and no file is made."""
    with extended.orport(tmp_path) as tor, wrapped.server(tmp_path, tor, "--no-stats") as bridge:
        Visitors(bridge.methods[wrapped.NAME], "dummy").come(3)
        assert list(bridge.state.iterdir()) == bridge.folders()
        assert len(tor.visits) == 3
