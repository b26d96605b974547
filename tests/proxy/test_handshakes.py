"""Unfinished handshakes: networks take turns, and which one is closed where there are too many."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from concurrent.futures import Future
from typing import TYPE_CHECKING, cast

from hypothesis import given
from hypothesis import strategies as st

from obfstats.formats.address import ClientAddress
from obfstats.proxy.handshakes import JOBS_PER_THREAD, Handshake, Handshakes
from obfstats.proxy.limits import Limits
from obfstats.proxy.privacy import LogFormatter

if TYPE_CHECKING:
    from collections.abc import Callable

    from obfstats.proxy.driver import Job, OnDone

    Choose = Callable[[list[Handshake]], Handshake]

DONE = cast("asyncio.Future[object]", Future())


class Connection(asyncio.Transport):
    """A client's connection.

    Attributes:
        is_open: whether the program has not closed it.
    """

    is_open = True

    def abort(self) -> None:
        """Close it."""
        self.is_open = False


class Client:
    """A client whose handshake is counted until it leaves.

    Attributes:
        network: the third byte of its address.
        connection: its connection.
        has_reset: whether it has reset the connection.
        times_answered: how many of its jobs were done.
    """

    def __init__(self, handshakes: Handshakes, network: int) -> None:
        self.network = network
        self.connection = Connection()
        self.has_reset = False
        self.times_answered = 0
        self._handshakes = handshakes
        self._stack = contextlib.ExitStack()
        peer = ClientAddress.parse(f"192.0.{network}.1", 40000)
        self._handshake = self._stack.enter_context(handshakes.count(peer, lambda: self.has_reset))
        self._handshake.transport = self.connection

    def ask(self) -> Client:
        """Send what a job needs."""
        self._handshakes.run_job(self._handshake, lambda: self, self._answer)
        return self

    def leave(self) -> None:
        """End, for whatever reason."""
        self._stack.close()

    def _answer(self, future: asyncio.Future[object]) -> None:
        assert future is DONE
        self.times_answered += 1


class Bridge:
    """A bridge with one thread for jobs, which end when the test says so.

    Attributes:
        handshakes: what is tested.
        running: the clients whose jobs run, the oldest first.
        started: the networks whose jobs were started so far.
    """

    def __init__(self, limit: int = 1000, choose: Choose = lambda waiting: waiting[0]) -> None:
        self.running: list[Client] = []
        self.started: list[int] = []
        self._on_done: list[OnDone] = []
        self.handshakes = Handshakes(Limits(handshakes=limit), self._start, 1, choose)

    def come(self, *networks: int) -> list[Client]:
        """Have a client of each of these networks connect."""
        return [Client(self.handshakes, network) for network in networks]

    def finish(self, number: int = 0) -> None:
        """End a running job, the oldest if no other is named."""
        del self.running[number]
        self._on_done.pop(number)(DONE)

    def finish_all(self) -> None:
        """End jobs until none is left."""
        while self.running:
            self.finish()

    def _start(self, job: Job, on_done: OnDone) -> None:
        client = cast("Client", job())
        self.running.append(client)
        self.started.append(client.network)
        self._on_done.append(on_done)


def closed(clients: list[Client]) -> list[int]:
    """Return which clients' connections were closed, by their numbers."""
    return [number for number, client in enumerate(clients) if not client.connection.is_open]


def test_networks_take_turns() -> None:
    """A client that comes after a hundred of another network is the next one."""
    bridge = Bridge()
    for client in bridge.come(*[1] * 100):
        client.ask()
    assert bridge.started == [1]
    bridge.come(2)[0].ask()
    bridge.come(3)[0].ask()
    assert bridge.started == [1, 2, 3]
    bridge.finish_all()
    assert Counter(bridge.started) == {1: 100, 2: 1, 3: 1}


def test_no_more_jobs_run_than_threads_can_take() -> None:
    """The others wait here, where networks take turns, and not in the executor's line."""
    bridge = Bridge()
    for client in bridge.come(*range(100)):
        client.ask()
    assert bridge.started == list(range(JOBS_PER_THREAD))
    bridge.finish()
    assert bridge.started == list(range(JOBS_PER_THREAD + 1))


@given(
    st.lists(st.sampled_from([0, 0, 1, 2, 3]), min_size=10, max_size=60),
    st.integers(JOBS_PER_THREAD - 2, JOBS_PER_THREAD - 1),
)
def test_no_network_overtakes_another_twice(story: list[int], occupied: int) -> None:
    """From the moment when a network may have a job until it has it, each other network starts one at most."""
    bridge = Bridge()
    for client in bridge.come(*range(100, 100 + occupied)):
        client.ask()
    asked: Counter[int] = Counter()
    overtaken: dict[int, Counter[int]] = {}
    for number in story:
        seen = len(bridge.started)
        if number:
            asked[number] += 1
            bridge.come(number)[0].ask()
        elif len(bridge.running) > occupied:
            bridge.finish(occupied)
        for network in bridge.started[seen:]:
            overtaken.pop(network, None)
            for by in overtaken.values():
                by[network] += 1
        running = [client.network for client in bridge.running]
        waiting = [network for network, times in asked.items() if bridge.started.count(network) < times]
        may_start = [network for network in waiting if network not in running]
        overtaken = {network: overtaken.get(network, Counter()) for network in may_start}
        assert all(times <= 1 for by in overtaken.values() for times in by.values())
        assert len(running) == len(set(running))
        assert len(running) == JOBS_PER_THREAD or (len(running) < JOBS_PER_THREAD and not may_start)


def test_a_client_that_has_reset_its_connection_is_skipped() -> None:
    """Those behind it in its own network are next; it is closed, and nothing is refused."""
    bridge = Bridge()
    clients = bridge.come(*[1] * 10)
    for client in clients:
        client.ask()
    for client in clients[1:9]:
        client.has_reset = True
    bridge.finish_all()
    assert [client.times_answered for client in clients] == [1, *[0] * 8, 1]
    assert closed(clients) == list(range(1, 9))
    assert bridge.handshakes.pop_refusals(LogFormatter(safe=False)) == []


def test_of_silent_clients_the_oldest_is_closed() -> None:
    """New ones go on; those that have left do not count."""
    bridge = Bridge(limit=2)
    clients = bridge.come(1, 2)
    assert closed(clients) == []
    clients += bridge.come(3)
    assert closed(clients) == [0]
    clients[1].leave()
    clients += bridge.come(4)
    assert closed(clients) == [0]
    clients += bridge.come(5)
    assert closed(clients) == [0, 2]


def test_of_clients_that_wait_for_us_a_random_one_is_closed() -> None:
    """All of them are drawn from, those whose jobs run excepted; the job of the one that is closed never runs."""
    drawn: list[int] = []

    def choose(waiting: list[Handshake]) -> Handshake:
        drawn.append(len(waiting))
        return waiting[-1]

    bridge = Bridge(20, choose)
    clients = [client.ask() for client in bridge.come(*range(20))]
    clients += bridge.come(20)
    assert drawn == [20 - JOBS_PER_THREAD]
    assert closed(clients) == [19]
    bridge.finish_all()
    assert 19 not in bridge.started
    assert len(bridge.started) == 19


def test_a_client_that_was_answered_has_time_to_go_on() -> None:
    """Neither a flood of silent clients nor one that waits for us closes it, but one that goes as far does."""
    bridge = Bridge(limit=20)
    (honest,) = bridge.come(100)
    honest.ask()
    bridge.finish()
    assert honest.times_answered == 1
    bridge.come(*range(40))
    for client in bridge.come(*range(60)):
        client.ask()
    assert honest.connection.is_open
    bridge.finish_all()
    bridge.come(*range(20))
    assert not honest.connection.is_open


def test_a_network_beyond_its_share_closes_its_own_handshakes() -> None:
    """However long others have been waiting; a quarter is its share."""
    bridge = Bridge(limit=8)
    clients = bridge.come(1, *[2] * 5)
    assert closed(clients) == [1, 2, 3]


def test_the_job_of_a_client_that_has_left_never_runs() -> None:
    """And where it runs already, its result goes nowhere."""
    bridge = Bridge()
    clients = [client.ask() for client in bridge.come(*[1] * 4)]
    clients[0].leave()
    clients[3].leave()
    bridge.finish_all()
    assert [client.times_answered for client in clients] == [0, 1, 1, 0]
    assert bridge.started == [1] * 3


def test_what_was_closed_is_reported_once() -> None:
    """With safe logging rounded up: an exact number that grows by one would date a client's visit."""
    bridge = Bridge(limit=1)
    for safe, number in ((True, 8), (False, 1)):
        bridge.come(1)
        bridge.handshakes.pop_refusals(LogFormatter(safe=False))
        bridge.come(1)
        sentence = f"{number} unfinished handshakes closed: over the limit (--max-handshakes)"
        assert bridge.handshakes.pop_refusals(LogFormatter(safe=safe)) == [sentence]
        assert bridge.handshakes.pop_refusals(LogFormatter(safe=safe)) == []


@given(
    st.lists(st.tuples(st.sampled_from(["come", "ask", "finish", "reset", "leave"]), st.integers(0, 50)), max_size=200)
)
def test_ended_handshakes_leave_nothing_behind(story: list[tuple[str, int]]) -> None:
    """Whatever happens in whatever order: never too many, in the end no network is kept, and jobs run as before."""
    bridge = Bridge(limit=6, choose=lambda waiting: waiting[len(waiting) // 2])
    clients: list[Client] = []
    for what, number in story:
        client = clients[number % len(clients)] if clients else None
        if what == "come":
            clients += bridge.come(number % 5)
        elif what == "finish" and bridge.running:
            bridge.finish(number % len(bridge.running))
        elif client is not None and what == "ask" and client not in bridge.running:
            client.ask()
        elif client is not None and what == "reset":
            client.has_reset = True
        elif client is not None and what == "leave":
            clients.remove(client)
            client.leave()
        assert sum(client.connection.is_open for client in clients) <= 6
    for client in clients:
        client.leave()
    bridge.finish_all()
    assert bridge.handshakes._by_network == {}
    assert len(bridge.handshakes._all) == 0
    (last,) = bridge.come(7)
    last.ask()
    assert bridge.running == [last]
