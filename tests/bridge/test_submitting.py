"""A bridge that sends its documents by itself: when, which, how often, and what its operator learns."""

from __future__ import annotations

import asyncio
import socket
import stat
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from obfstats.bridge.logs import NOTICE
from obfstats.bridge.options import SubmitOptions
from obfstats.bridge.submitting import FIRST_RETRY, LAST_RETRY, SEND_WITHIN, Submissions
from obfstats.bridge.unsent import remove_list
from obfstats.collect.client.keys import KEY_NAME
from obfstats.collect.client.route import parse_collector_url
from obfstats.collect.signing import SigningKey
from obfstats.collect.submission import Result, write_response
from obfstats.formats.document import read_documents
from obfstats.record import RecordError
from peers.clocks import MovedClock
from tests.collect import stand_in
from tests.collect.stand_in import answer, document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.collect.stand_in import Collector

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


@dataclass
class Bridge:
    """What sends the documents of a folder, on a clock that the test moves; it can be restarted.

    Attributes:
        share: of each range, where the number is that is drawn from it.
    """

    home: Path
    url: str
    clock: MovedClock = field(default_factory=MovedClock)
    share: float = 0.5

    def __post_init__(self) -> None:
        """Make the folder of documents."""
        self.public.mkdir()

    @property
    def public(self) -> Path:
        """Where documents are released."""
        return self.home / "public"

    @property
    def state(self) -> Path:
        """Where the key and the spool are."""
        return self.home / "state"

    def start(self) -> None:
        """Start it, as after `stop`."""
        options = SubmitOptions(parse_collector_url(self.url), None)
        self.submissions = Submissions(options, self.public, self.state, self.clock, self._draw)

    def stop(self) -> None:
        """End it."""
        self.submissions.close()

    def release(self, text: bytes) -> Path:
        """Release a document."""
        (content,) = read_documents(text)
        path = self.public / f"{content.end.replace(' ', '-').replace(':', '-')}-obfsproxy-stats"
        path.write_bytes(text)
        return path

    def tick(self, seconds: float = 0.0) -> None:
        """Move the clock, then do what the program does twice a minute."""
        self.clock.pass_time(seconds)
        asyncio.run(self.submissions.submit_due())

    def waiting(self) -> int:
        """How many documents are in the spool."""
        return len(list((self.state / "spool").glob("[0-9]*")))

    def _draw(self, low: float, high: float) -> float:
        return low + self.share * (high - low)


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A collector that admits every key."""
    with stand_in.serve() as running:
        yield running


@pytest.fixture
def bridge(tmp_path: Path, collector: Collector, caplog: pytest.LogCaptureFixture) -> Iterator[Bridge]:
    """A bridge that has just been started with --submit for the first time."""
    caplog.set_level(NOTICE, "obfstats")
    made = Bridge(tmp_path, collector.url_text)
    made.start()
    yield made
    made.stop()


# When


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_document_is_sent_at_a_random_moment_within_six_hours(
    share: float, bridge: Bridge, collector: Collector
) -> None:
    """At the drawn moment, not before, and once."""
    bridge.share = share
    bridge.tick()
    bridge.release(document())
    bridge.tick(30)
    if share:
        bridge.tick(share * SEND_WITHIN - 1)
        assert (collector.documents, bridge.waiting()) == ([], 1)
    bridge.tick(1)
    assert (collector.documents, bridge.waiting()) == ([document()], 0)
    for _ in range(10):
        bridge.tick(HOUR)
    assert len(collector.requests) == 1


def test_a_new_document_draws_the_moment_anew_for_all_that_wait(bridge: Bridge, collector: Collector) -> None:
    """Both are sent together: one document's moment never tells when another was ready."""
    bridge.release(document(2))
    bridge.tick()
    bridge.release(document(1))
    bridge.tick(2 * HOUR)
    bridge.tick(2 * HOUR)
    assert collector.requests == []
    bridge.tick(HOUR)
    assert collector.documents == [document(2), document(1)]
    assert len(collector.requests) == 1


def test_what_waits_survives_a_restart(bridge: Bridge, collector: Collector) -> None:
    """It is sent within six hours of the new start."""
    bridge.release(document())
    bridge.tick()
    bridge.stop()
    bridge.start()
    bridge.tick(DAY)
    assert collector.requests == []
    bridge.tick(SEND_WITHIN / 2)
    assert collector.documents == [document()]


# Which


def test_documents_that_were_there_first_are_not_sent(
    tmp_path: Path, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """The operator is told how many, and how to send them; a restart changes nothing."""
    caplog.set_level(NOTICE, "obfstats")
    bridge = Bridge(tmp_path, collector.url_text)
    bridge.release(document(3))
    bridge.release(document(2))
    for _ in range(2):
        bridge.start()
        bridge.tick()
        bridge.tick(DAY)
        bridge.stop()
    assert collector.requests == []
    message = f"the 2 documents that are in {bridge.public} already are not sent; `obfstats submit` sends them"
    assert caplog.messages.count(message) == 1
    assert stat.S_IMODE((bridge.public / ".submitted").stat().st_mode) == 0o600


def test_a_document_whose_program_was_killed_at_its_release_is_sent_by_the_next(
    bridge: Bridge, collector: Collector
) -> None:
    """The release was the last that the program did."""
    bridge.stop()
    bridge.release(document())
    bridge.start()
    bridge.tick()
    bridge.tick(DAY)
    assert collector.documents == [document()]


def test_what_was_released_without_the_option_is_not_sent(bridge: Bridge, collector: Collector) -> None:
    """The program ran without --submit for a while."""
    bridge.stop()
    remove_list(bridge.public)
    bridge.release(document())
    bridge.start()
    bridge.tick()
    bridge.tick(DAY)
    assert collector.requests == []


def test_only_a_regular_file_with_a_documents_name_is_sent(bridge: Bridge, collector: Collector) -> None:
    """Others may write into the folder: a link there must not have the bridge send another file."""
    private = bridge.home / "private"
    private.write_bytes(document())
    (bridge.public / "2026-11-29-09-22-04-obfsproxy-stats").symlink_to(private)
    (bridge.public / "2026-11-28-09-22-04-obfsproxy-stats").mkdir()
    (bridge.public / "notes-obfsproxy-stats").write_bytes(document())
    bridge.tick()
    bridge.tick(DAY)
    assert (collector.requests, bridge.waiting()) == ([], 0)


def test_a_document_that_names_no_bridge_is_not_sent(
    bridge: Bridge, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning says what to do; the next document is sent."""
    nameless = bridge.release(document(2).split(b"\n", 2)[2])
    bridge.tick()
    bridge.release(document(1))
    bridge.tick(30)
    bridge.tick(DAY)
    assert collector.documents == [document(1)]
    (warning,) = [message for message in caplog.messages if "is not sent" in message]
    assert warning.startswith(f"the document {nameless.name} is not sent: a document without a hashed-fingerprint line")
    assert "--fingerprint HEX" in warning


# What the collector answers


def test_the_first_start_makes_a_key_and_logs_it_once(
    tmp_path: Path, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """The public half, with what to do; the file is the owner's alone."""
    caplog.set_level(NOTICE, "obfstats")
    bridge = Bridge(tmp_path, collector.url_text)
    for _ in range(2):
        bridge.start()
        bridge.stop()
    path = bridge.state / KEY_NAME
    key = SigningKey.read(path)
    (message,) = [message for message in caplog.messages if key.public in message]
    advice = "send this public key and the bridge's hashed fingerprint to the operators of"
    assert message == f"{advice} {bridge.url}, who admit it: {key.public}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_accepted_document_is_told_with_the_time_of_its_publication(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    """One line, however many there are."""
    bridge.release(document(1))
    bridge.release(document(2))
    bridge.tick()
    bridge.tick(DAY)
    (message,) = [message for message in caplog.messages if "accepted" in message]
    assert message == f"{bridge.url} has accepted 2 documents; in the public archive by {stand_in.PUBLISHED_BY} UTC"


def test_quarantine_is_told_once_a_day_at_most(
    bridge: Bridge, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """With the collector's words and the key that it needs; the document is not sent again."""
    collector.respond = lambda _head, _body: answer(202, write_response([Result(202, "the key is not admitted")]))
    for days_ago in (4, 3, 2):
        bridge.release(document(days_ago))
        bridge.tick()
        bridge.tick(DAY * 0.4)
    key = SigningKey.read(bridge.state / KEY_NAME)
    held = f"{bridge.url} keeps documents in quarantine: the key is not admitted; the key is {key.public}"
    assert caplog.messages.count(held) == 1
    bridge.release(document(1))
    bridge.tick(DAY)
    bridge.tick(DAY)
    assert caplog.messages.count(held) == 2
    assert (len(collector.requests), bridge.waiting()) == (4, 0)


def test_a_refused_document_is_set_aside_and_told(
    bridge: Bridge, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """With the reason; it is not sent again."""
    collector.respond = lambda _head, _body: answer(409, write_response([Result(409, "other content is published")]))
    bridge.release(document())
    bridge.tick()
    bridge.tick(DAY)
    bridge.tick(DAY)
    (kept,) = (bridge.state / "spool" / "refused").glob("*[!n]")
    reason = "other content is published"
    expected = f"{bridge.url} has refused the document {kept.name}: {reason}; it is set aside in {kept.parent}"
    assert caplog.messages[-1] == expected
    assert len(collector.requests) == 1


# When it is away


def test_it_is_tried_again_less_and_less_often(
    bridge: Bridge, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """After a random time that doubles; one message at the beginning, one at the end."""
    judge, collector.respond = collector.respond, lambda _head, _body: answer(503, b"")
    bridge.release(document())
    bridge.tick()
    bridge.tick(SEND_WITHIN)
    for number in range(8):
        delay = 1.5 * min(FIRST_RETRY * 2**number, LAST_RETRY)
        bridge.tick(delay - 1)
        assert len(collector.requests) == number + 1
        bridge.tick(1)
        assert len(collector.requests) == number + 2
    assert [message for message in caplog.messages if "wait" in message] == [
        f"documents wait to be sent: {bridge.url} answered 503; it is tried again"
    ]
    collector.respond = judge
    bridge.tick(DAY)
    assert collector.documents == [document()]
    assert caplog.messages[-1] == f"{bridge.url} accepts documents again"


def test_the_collector_may_ask_for_a_longer_wait(bridge: Bridge, collector: Collector) -> None:
    """But not for more than a day."""
    collector.respond = lambda _head, _body: answer(503, b"", "text/plain", "Retry-After: 999999")
    bridge.release(document())
    bridge.tick()
    bridge.tick(SEND_WITHIN)
    bridge.tick(DAY - 1)
    assert len(collector.requests) == 1
    bridge.tick(1)
    assert len(collector.requests) == 2


def test_a_collector_that_is_not_there_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is lost."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    bridge = Bridge(tmp_path, f"http://127.0.0.1:{port}")
    bridge.start()
    bridge.release(document())
    for _ in range(5):
        bridge.tick(DAY)
    reason = f"the connection to http://127.0.0.1:{port} failed: Connection refused"
    assert caplog.messages == [f"documents wait to be sent: {reason}; it is tried again"]
    assert bridge.waiting() == 1
    bridge.stop()


def test_a_spool_that_accepts_nothing_is_told_once_and_tried_again(
    bridge: Bridge, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """The document is kept in its folder until then."""
    spool = bridge.state / "spool"
    spool.touch()
    bridge.release(document())
    for _ in range(3):
        bridge.tick(HOUR)
    spool.unlink()
    bridge.tick(HOUR)
    bridge.tick(DAY)
    assert [message for message in caplog.messages if "cannot keep" in message] == [
        f"cannot keep documents for {bridge.url} in {spool}: Not a directory; it is tried again"
    ]
    assert collector.documents == [document()]


def test_nothing_waits_for_a_collector_that_hangs(bridge: Bridge, collector: Collector) -> None:
    """The next tick returns at once; the document is sent in the end."""
    asked, may_answer = threading.Event(), threading.Event()
    judge = collector.respond

    def hang(head: bytes, body: bytes) -> bytes | Iterator[bytes]:
        asked.set()
        may_answer.wait(stand_in.SECONDS)
        return judge(head, body)

    collector.respond = hang
    bridge.release(document())
    bridge.tick()
    bridge.clock.pass_time(DAY)

    async def ticks() -> None:
        hanging = asyncio.create_task(bridge.submissions.submit_due())
        assert await asyncio.to_thread(asked.wait, stand_in.SECONDS)
        await asyncio.wait_for(bridge.submissions.submit_due(), 1)
        assert not hanging.done()
        may_answer.set()
        await hanging

    asyncio.run(ticks())
    assert collector.documents == [document()]


# At the start


def test_a_key_that_others_can_read_is_refused(bridge: Bridge) -> None:
    """One sentence with the remedy."""
    bridge.stop()
    (bridge.state / KEY_NAME).chmod(0o644)
    with pytest.raises(RecordError, match=r"submit\.key is open to others; run: chmod 600 "):
        bridge.start()
