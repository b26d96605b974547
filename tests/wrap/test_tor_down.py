"""Tor restarts, is down or does not answer: clients are denied and not counted, and served again later."""

from __future__ import annotations

import contextlib
import re
import socket
from typing import TYPE_CHECKING

import pytest

from peers import extended, managed, stand_in, wrapped
from peers.extended import OrPortConduct
from tests import canary
from tests.proxy.honest import EXACT, Visitors, countries, is_refused, is_served, is_waiting, warnings
from tests.proxy.moved import Time
from tests.proxy.visiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HOST = "127.0.0.1"
NAME = wrapped.NAME

OPENING = 10
"""Seconds from a program's connection to tor's OKAY."""

_NUMBER = re.compile(r"\b[0-9]+\b")


@pytest.fixture
def port() -> Iterator[int]:
    """A port that stays bound, so that no other program takes it while tor is down."""
    with socket.socket() as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((HOST, 0))
        yield bound.getsockname()[1]


def test_a_restarted_tor_is_used_again(tmp_path: Path, port: int) -> None:
    """Down, then back with another cookie: three are served, five denied, three served; the log has six."""
    log = tmp_path / "log"
    with contextlib.ExitStack() as until_it_goes:
        tor = until_it_goes.enter_context(extended.orport(tmp_path, port=port))
        with wrapped.server(tmp_path, tor, *managed.counting(log)) as bridge:
            visitors = Visitors(bridge.methods[NAME], "dummy")
            visitors.visit(3)
            until_it_goes.close()
            visitors.expect_refused(4)
            with bridge.entrance.ask(f"{canary.address('ir')}:5678") as connection:
                assert stand_in.verdict(connection) == stand_in.DENY
            with extended.orport(tmp_path, port=port):
                visitors.visit(3, "tr")
            assert countries(log) == visitors.expected_lines()


def test_a_cookie_that_is_replaced_is_used_for_the_next_client(tmp_path: Path) -> None:
    """Three new ones; a client that connected under the first stays to the end."""
    log = tmp_path / "log"
    with extended.orport(tmp_path) as tor, wrapped.server(tmp_path, tor, *managed.counting(log)) as bridge:
        visitors = Visitors(bridge.methods[NAME], "dummy")
        with visitors.connect() as staying:
            for country in ("de", "tr", "ir"):
                tor.renew_cookie()
                visitors.visit(2, country)
                assert is_served(staying)
        assert countries(log) == visitors.expected_lines()
        assert (len(tor.visits), tor.refused) == (len(visitors.served), [])


def _missing(path: Path) -> None:
    path.unlink()


def _device(path: Path) -> None:
    """The wrap does not end."""
    path.unlink()
    path.symlink_to("/dev/zero")


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("spoil", [_missing, _device, _cut_short])
def test_without_tors_cookie_clients_are_denied(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    """Earlier clients are served all the time, and later ones after the repair."""
    log = tmp_path / "log"
    with extended.orport(tmp_path) as tor, wrapped.server(tmp_path, tor, *managed.counting(log)) as bridge:
        visitors = Visitors(bridge.methods[NAME], "dummy")
        good = tor.cookie_file.read_bytes()
        with visitors.connect() as staying:
            spoil(tor.cookie_file)
            visitors.expect_refused(2)
            with bridge.entrance.ask(f"{canary.address('ir')}:5678") as connection:
                assert stand_in.verdict(connection) == stand_in.DENY
            assert is_served(staying)
            tor.cookie_file.unlink(missing_ok=True)
            tor.cookie_file.write_bytes(good)
            visitors.visit(3, "tr")
        assert countries(log) == visitors.expected_lines()


def test_a_tor_that_does_not_answer_has_ten_seconds(tmp_path: Path) -> None:
    """Two get no answer at all, two no OKAY: others are served meanwhile, and only those are counted."""
    time, log = Time(tmp_path), tmp_path / "log"
    with (
        extended.orport(tmp_path, *[OrPortConduct.SILENCE] * 2, *[OrPortConduct.LATE] * 2) as tor,
        wrapped.server(tmp_path, tor, EXACT, *managed.counting(log), environment=time.environment) as bridge,
        contextlib.ExitStack() as stack,
    ):
        visitors = Visitors(bridge.methods[NAME], "dummy")
        hanging = [stack.enter_context(visitors.send_hello("ir")) for _ in range(4)]
        tor.wait_for(2)
        assert wait_until(lambda: tor.connections == 4)
        visitors.visit(3)
        assert all(is_waiting(client) for client in hanging)
        time.clock.move(OPENING + 1)
        visitors.visit(3)
        assert all(is_refused(client) for client in hanging)
        for _ in range(3):
            time.minute(visitors.visit)
        assert countries(log) == visitors.expected_lines()
        bridge.child.stop()
    assert [_NUMBER.findall(sentence) for sentence in warnings(bridge)] == [["4"]]


def test_that_tor_is_down_is_reported_with_a_number_and_no_address(tmp_path: Path, port: int) -> None:
    """Once a minute where numbers may be exact, and only for a minute in which tor was down."""
    time = Time(tmp_path)
    with contextlib.ExitStack() as until_it_goes:
        tor = until_it_goes.enter_context(extended.orport(tmp_path, port=port))
        options = [EXACT, *managed.counting(tmp_path / "log")]
        with wrapped.server(tmp_path, tor, *options, environment=time.environment) as bridge:
            visitors = Visitors(bridge.methods[NAME], "dummy")
            visitors.visit()
            until_it_goes.close()
            visitors.expect_refused(3)
            assert warnings(bridge) == []
            time.minute(visitors.expect_refused)
            assert wait_until(lambda: len(warnings(bridge)) == 1)
            with extended.orport(tmp_path, port=port):
                for _ in range(4):
                    time.minute(visitors.visit)
            bridge.child.stop()
    numbers = [number for sentence in warnings(bridge) for number in _NUMBER.findall(sentence)]
    assert sum(int(number) for number in numbers) == 3 + 2
    assert len(numbers) == len(warnings(bridge)) <= 2
