"""A transport that ignores the extended ORPort: its clients are served, and the wrap says that they are not counted."""

from __future__ import annotations

import re
import socket
import threading
from typing import TYPE_CHECKING

from obfstats.wire.endpoint import parse_endpoint
from peers import extended, managed, stand_in, wrapped
from peers.destinations import TIMEOUT, echo, serve
from tests.proxy.honest import EXACT, Visitors, warnings
from tests.proxy.moved import DAY, Time
from tests.proxy.visiting import HELLO, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from peers.managed import Managed
    from peers.wrapped import Wrapped

NAME = wrapped.NAME
HOUR = 3600
ROUND = 601
"""Seconds, one more than the random delay of an interval's last batch."""


def pass_by(bridge: Wrapped) -> None:
    """Be served as a client of a transport that connects to TOR_PT_ORPORT."""
    with socket.create_connection(parse_endpoint(bridge.program.environment["TOR_PT_ORPORT"]), TIMEOUT) as client:
        client.sendall(HELLO)
        assert stand_in.read(client, len(HELLO)) == HELLO


def said(bridge: Managed, pattern: str) -> bool:
    """Tell whether the wrap has told tor's log a sentence."""
    return any(re.search(pattern, line) for line in bridge.said())


def test_its_clients_are_served_and_reported(tmp_path: Path) -> None:
    """In a warning with the next report, and in the hourly heartbeat; the log has those who came by the other way."""
    time, log = Time(tmp_path), tmp_path / "log"
    with (
        serve(echo) as orport,
        extended.orport(tmp_path) as tor,
        wrapped.server(
            tmp_path, tor, EXACT, *managed.counting(log), environment={**time.environment, "TOR_PT_ORPORT": orport}
        ) as bridge,
    ):
        visitors = Visitors(bridge.methods[NAME], "dummy")
        visitors.visit(2)
        for _ in range(3):
            pass_by(bridge)
        time.clock.move(HOUR)
        bridge.entrance.open().close()
        assert wait_until(
            lambda: any("3 connection(s) were passed on and NOT COUNTED" in text for text in warnings(bridge))
        )
        assert wait_until(lambda: said(bridge, r"Heartbeat: During the last 1 hour\(s\) 3 connection.* NOT COUNTED"))
        assert len(log.read_text().splitlines()) == 1
        assert len(tor.visits) == 2


def test_a_day_that_lacks_clients_is_not_published(tmp_path: Path) -> None:
    """The next day, when all are counted again, is."""
    time, public = Time(tmp_path), tmp_path / "public"
    with (
        serve(echo) as orport,
        extended.orport(tmp_path) as tor,
        wrapped.server(
            tmp_path, tor, "--publish", str(public), *managed.countries(tmp_path),
            environment={**time.environment, "TOR_PT_ORPORT": orport},
        ) as bridge,
    ):  # fmt: skip
        visitors = Visitors(bridge.methods[NAME], "dummy")
        visitors.visit(9)
        pass_by(bridge)

        def end_day(is_over: str) -> None:
            time.clock.move(DAY)

            def looks_over() -> bool:
                time.clock.move(ROUND)
                bridge.entrance.open().close()
                return said(bridge, is_over)

            assert wait_until(looks_over)

        end_day("is not published: clients were served that were not counted")
        visitors.visit(9)
        end_day("is published: ")
        assert len(list(public.glob("[0-9]*"))) == 1


def test_a_connection_without_a_byte_is_no_client(tmp_path: Path) -> None:
    """A scan of this machine's ports never reaches tor, and leaves the day as it is."""
    reached, time = threading.Event(), Time(tmp_path)

    def note(_: socket.socket) -> None:
        reached.set()

    with (
        serve(note) as orport,
        extended.orport(tmp_path) as tor,
        wrapped.server(
            tmp_path, tor, EXACT, *managed.counting(tmp_path / "log"),
            environment={**time.environment, "TOR_PT_ORPORT": orport},
        ) as bridge,
    ):  # fmt: skip
        place = parse_endpoint(bridge.program.environment["TOR_PT_ORPORT"])
        with socket.create_connection(place, TIMEOUT) as scan:
            scan.shutdown(socket.SHUT_WR)
            assert scan.recv(1) == b""
        time.clock.move(HOUR)
        bridge.entrance.open().close()
        assert wait_until(lambda: said(bridge, "Heartbeat: "))
        assert not said(bridge, "NOT COUNTED")
    assert not reached.is_set()
