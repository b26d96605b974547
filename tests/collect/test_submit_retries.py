"""What a run does when a collector is away or busy: it waits, less and less often, and gives up; nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from obfstats.collect.client.keys import KEY_NAME
from obfstats.collect.client.outgoing import MAX_BATCH
from obfstats.collect.client.request import RequestError
from obfstats.collect.client.route import Proxy, parse_collector_url
from obfstats.collect.client.spool import Spool
from obfstats.collect.client.submitter import Submitter
from obfstats.collect.signing import SigningKey
from obfstats.collect.submission import Result, read_request, write_detail, write_response
from peers import disk
from tests.collect import stand_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.collect.stand_in import Collector


class Story:
    """A collector, a spool with some documents, and a run whose waits are written down and not waited for.

    Attributes:
        collector: the collector.
        spool: the spool.
        waits: the seconds that the run has waited, in order.
        during_wait: called at each wait.
    """

    def __init__(self, folder: Path, collector: Collector, documents: int) -> None:
        self.collector = collector
        self.spool = Spool(folder / "spool")
        self.waits: list[float] = []
        self.during_wait: Callable[[], None] = lambda: None
        key = SigningKey.create(folder / KEY_NAME)
        self.submitter = Submitter(collector.url, None, key, self.spool, sleep=self._sleep)
        for number in range(documents):
            self.spool.add(stand_in.document(number=8 * number), f"2026-11-01 00:{number // 60:02}:{number % 60:02}")

    def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.during_wait()

    @property
    def counts(self) -> list[int]:
        """How many documents each request had."""
        return [len(read_request(request.partition(b"\r\n\r\n")[2])[1]) for request in self.collector.requests]


@pytest.fixture
def tell(tmp_path: Path) -> Iterator[Callable[[int], Story]]:
    """Makes a story of so many documents."""
    with stand_in.serve() as collector:
        yield lambda documents: Story(tmp_path, collector, documents)


def busy(status: int = 503, *headers: str) -> Callable[[bytes, bytes], bytes]:
    """Refuse whole requests."""
    return lambda _head, _body: stand_in.answer(status, write_detail("busy"), "application/json", *headers)


def test_a_busy_collector_is_tried_three_times_more(tell: Callable[[int], Story]) -> None:
    """After 5, 20 and 60 seconds; then the document waits for the next run."""
    story = tell(1)
    story.collector.respond = busy()
    report = story.submitter.submit_all()
    assert story.waits == [5, 20, 60]
    assert len(story.collector.requests) == 4
    assert str(report.problem).endswith("answered 503 busy")
    assert (report.delivered, report.refused, len(story.spool.names())) == ([], [], 1)


def test_a_collector_that_comes_back_gets_what_waits(tell: Callable[[int], Story]) -> None:
    """The retry is the same request, byte for byte."""
    story = tell(1)
    story.collector.respond = busy()
    story.during_wait = lambda: setattr(story.collector, "respond", story.collector.judge)
    report = story.submitter.submit_all()
    assert story.waits == [5]
    assert story.collector.requests[0] == story.collector.requests[1]
    assert (len(report.delivered), report.problem, story.spool.names()) == (1, None, [])


def test_the_collector_says_how_long_to_wait(tell: Callable[[int], Story]) -> None:
    """If that is longer than the run would wait anyway."""
    story = tell(1)
    story.collector.respond = busy(429, "Retry-After: 42")
    assert story.submitter.submit_all().problem is not None
    assert story.waits == [42, 42, 60]


def test_a_long_wait_is_left_to_the_next_run(tell: Callable[[int], Story]) -> None:
    """The report has it, so that a bridge can plan."""
    story = tell(1)
    story.collector.respond = busy(429, "Retry-After: 3600")
    report = story.submitter.submit_all()
    assert story.waits == []
    assert report.problem is not None
    assert report.problem.retry_after == 3600


@pytest.mark.parametrize("value", ["soon", "-5", "1e3", "9" * 5000, "Wed, 21 Oct 2026 07:28:00 GMT", ""])
def test_a_wait_that_is_no_number_is_none(tell: Callable[[int], Story], value: str) -> None:
    """The run waits as long as it would anyway."""
    story = tell(1)
    story.collector.respond = busy(503, f"Retry-After: {value}")
    assert story.submitter.submit_all().problem is not None
    assert story.waits == [5, 20, 60]


@pytest.mark.parametrize("status", [400, 404, 405, 413, 415])
def test_what_a_retry_cannot_help_is_not_tried_again(tell: Callable[[int], Story], status: int) -> None:
    """The document waits all the same: the URL may be wrong, and the collector never saw it."""
    story = tell(1)
    story.collector.respond = busy(status)
    assert story.submitter.submit_all().problem is not None
    assert (story.waits, len(story.collector.requests), len(story.spool.names())) == ([], 1, 1)


def test_each_document_has_its_own_end(tell: Callable[[int], Story]) -> None:
    """Taken, in quarantine, refused for good with the reason beside it, or to be sent again, and only those."""
    story = tell(8)
    statuses = [201, 200, 202, 401, 409, 422, 429, 503]
    first = write_response([Result(status, f"because of {status}") for status in statuses])
    second = write_response([Result(201, "accepted"), Result(201, "accepted")])
    answers = iter([stand_in.answer(207, first), stand_in.answer(201, second)])
    story.collector.respond = lambda _head, _body: next(answers)
    report = story.submitter.submit_all()
    assert story.counts == [8, 2]
    assert [delivery.result.status for delivery in report.delivered] == [201, 200, 202, 201, 201]
    assert [delivery.result.status for delivery in report.refused] == [401, 409, 422]
    assert (report.problem, story.waits, story.spool.names()) == (None, [5], [])
    reasons = [(story.spool.refused / f"{delivery.name}.reason").read_text() for delivery in report.refused]
    assert reasons == [f"{status} because of {status}\n" for status in (401, 409, 422)]


def test_progress_starts_the_waits_again(tell: Callable[[int], Story]) -> None:
    """A collector that takes a part of each request gets all of them in the end."""
    story = tell(4 * MAX_BATCH)
    rounds = iter(range(100))

    def one_in_two(head: bytes, body: bytes) -> bytes:
        return stand_in.answer(503, b"") if next(rounds) % 2 else story.collector.judge(head, body)

    story.collector.respond = one_in_two
    report = story.submitter.submit_all()
    assert (len(report.delivered), report.problem, story.waits) == (4 * MAX_BATCH, None, [5, 5, 5])
    assert len(set(story.collector.documents)) == len(story.collector.documents) == 4 * MAX_BATCH


def test_an_answer_that_is_lost_costs_a_repetition(tell: Callable[[int], Story]) -> None:
    """The collector knows the bytes, so the document is published once, and the run ends well."""
    story = tell(1)

    def hang_up(head: bytes, body: bytes) -> bytes:
        return story.collector.judge(head, body)[:-10]

    story.collector.respond = hang_up
    story.during_wait = lambda: setattr(story.collector, "respond", story.collector.judge)
    report = story.submitter.submit_all()
    assert [delivery.result.status for delivery in report.delivered] == [200]
    assert len(story.collector.documents) == 1


def test_a_document_that_is_added_meanwhile_is_sent_too(tell: Callable[[int], Story]) -> None:
    """A bridge may finish an interval while a run sends."""
    story = tell(1)
    story.collector.respond = busy()

    def add() -> None:
        story.spool.add(stand_in.document(number=800), "2026-11-02 00:00:00")
        story.collector.respond = story.collector.judge

    story.during_wait = add
    assert len(story.submitter.submit_all().delivered) == 2
    assert story.spool.names() == []


def test_an_empty_spool_connects_to_nothing(tell: Callable[[int], Story]) -> None:
    """Nor does a second run."""
    story = tell(1)
    story.submitter.submit_all()
    assert story.submitter.submit_all().delivered == []
    assert len(story.collector.requests) == 1


def test_no_tor_is_a_sentence_at_once(tmp_path: Path) -> None:
    """Waiting would not start it."""
    with stand_in.serve() as gone:
        pass
    story = Story(tmp_path, gone, 1)
    through = parse_collector_url("https://collector.example")
    proxy = Proxy(*gone.address)
    submitter = Submitter(through, proxy, SigningKey.read(tmp_path / KEY_NAME), story.spool, sleep=story._sleep)
    problem = submitter.submit_all().problem
    assert isinstance(problem, RequestError)
    assert str(problem) == f"no proxy at {proxy}: Connection refused; start tor, or name its SOCKS port with --through"
    assert story.waits == []


def test_a_full_disk_keeps_no_document_from_being_sent(tmp_path: Path) -> None:
    """What was taken is removed, what was refused is set aside, without its reason, and what waits still waits."""
    with disk.mount(tmp_path / "disk", 256 << 10) as small, stand_in.serve() as collector:
        story = Story(small.folder, collector, 3)
        collector.respond = busy(404)
        story.submitter.submit_all()
        small.fill()
        answers = write_response([Result(201, "accepted"), Result(409, "differs"), Result(429, "too many")])
        collector.respond = lambda _head, _body: stand_in.answer(207, answers, "application/json", "Retry-After: 3600")
        report = story.submitter.submit_all()
        assert (len(report.delivered), len(report.refused), len(story.spool.names())) == (1, 1, 1)
        assert (story.spool.refused / report.refused[0].name).read_bytes() == stand_in.document(number=8)
