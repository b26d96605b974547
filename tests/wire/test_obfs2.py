"""obfs2: both sides of the handshake, against each other and against a second implementation."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.wire.handshake import InboundReady, Side
from obfstats.wire.machine import Compute, Send
from obfstats.wire.obfs2 import Obfs2
from tests.wire import naive
from tests.wire.machines import (
    ANSWER,
    LONGEST_PADDING,
    NO_PADDING,
    REQUEST,
    Cut,
    End,
    constant,
    cut_by,
    cuts,
    make_ends,
    memory_kept,
    pump,
    seeded,
    talk,
)

MAGIC = 0x2BF5CA7E
PEER_SEED = b"sixteen bytes of"
NOT_MAGIC = "not the magic value"


def head(magic: int, padding: int) -> bytes:
    """The part of a message before the padding."""
    return struct.pack(">II", magic, padding)


def responder(secret: bytes | None = None) -> End:
    """Our responder, its randomness all zeros: an empty padding and a seed of zeros."""
    end = End(Obfs2(secret), Side.RESPONDER, constant(NO_PADDING))
    end.start()
    return end


@given(cuts, st.integers(0, 2**32))
def test_any_cut_of_the_stream_gives_the_same_events(cut: Cut, seed: int) -> None:
    """However the network cuts, both sides return the same events and read the same data."""
    initiator, responder = make_ends(Obfs2(), seeded(seed), seeded(seed + 1))
    pump(initiator, responder, cut)
    talk(initiator, responder)
    assert initiator.story == responder.story == ["Send", "OutboundReady", "InboundReady"]
    assert bytes(responder.plaintext) == REQUEST
    assert bytes(initiator.plaintext) == ANSWER


def test_same_randomness_gives_the_same_bytes() -> None:
    """A handshake can be replayed."""

    def sent() -> list[Send]:
        ends = make_ends(Obfs2(), seeded(3), seeded(4))
        pump(*ends)
        return [event for end in ends for event in end.events if isinstance(event, Send)]

    first = sent()
    assert len(first) == 2
    assert first == sent()


@pytest.mark.parametrize("secret", [None, b"open sesame"], ids=["without secret", "with secret"])
def test_responder_understands_a_naive_initiator(secret: bytes | None) -> None:
    """Seeds, heads and both ciphers follow the deployed programs: the responder's padding key is of its own seed."""
    end, seeds = responder(secret), PEER_SEED + bytes(16)
    end.deliver(naive.obfs2_message("Initiator", PEER_SEED, head(MAGIC, 3) + b"pad", secret))
    end.deliver(naive.obfs2_cipher("Initiator", seeds, REQUEST, secret))
    assert bytes(end.plaintext) == REQUEST
    end.say(ANSWER)
    greeting = naive.obfs2_message("Responder", bytes(16), head(MAGIC, 0), secret)
    assert end.take_outbox() == greeting + naive.obfs2_cipher("Responder", seeds, ANSWER, secret)


@pytest.mark.parametrize("secret", [None, b"open sesame"], ids=["without secret", "with secret"])
def test_initiator_understands_a_naive_responder(secret: bytes | None) -> None:
    """The same from the other side."""
    end, seeds = End(Obfs2(secret), Side.INITIATOR, constant(NO_PADDING)), bytes(16) + PEER_SEED
    end.start()
    assert end.take_outbox() == naive.obfs2_message("Initiator", bytes(16), head(MAGIC, 0), secret)
    end.deliver(naive.obfs2_message("Responder", PEER_SEED, head(MAGIC, 3) + b"pad", secret))
    end.say(REQUEST)
    assert end.take_outbox() == naive.obfs2_cipher("Initiator", seeds, REQUEST, secret)
    end.deliver(naive.obfs2_cipher("Responder", seeds, ANSWER, secret))
    assert bytes(end.plaintext) == ANSWER


def test_responder_is_silent_until_the_head_is_right() -> None:
    """23 bytes get no answer; the 24th completes the head and gets one, before any padding has arrived."""
    end = responder()
    message = naive.obfs2_message("Initiator", PEER_SEED, head(MAGIC, 5))
    end.deliver(message[:23])
    assert end.story == []
    end.deliver(message[23:])
    assert end.story == ["Send", "OutboundReady"]


def test_peer_is_not_counted_before_its_padding_is_whole() -> None:
    """The last byte of padding opens the peer's direction, and only that one."""
    end = responder()
    end.deliver(naive.obfs2_message("Initiator", PEER_SEED, head(MAGIC, 5) + b"four"))
    assert end.story[-1] == "OutboundReady"
    end.deliver(b"!")
    assert end.story[-1] == "InboundReady"


@pytest.mark.parametrize(
    ("magic", "padding", "reason"),
    [
        (MAGIC ^ 1, 0, NOT_MAGIC),
        (MAGIC ^ 1 << 31, 0, NOT_MAGIC),
        (MAGIC, 8193, "a longer padding than there can be"),
        (MAGIC, 2**32 - 1, "a longer padding than there can be"),
    ],
)
@pytest.mark.parametrize("side", Side)
def test_wrong_head_ends_it_at_once(side: Side, magic: int, padding: int, reason: str) -> None:
    """A wrong magic or a padding beyond 8,192 bytes fails both sides, and a responder has sent nothing."""
    end = End(Obfs2(), side, seeded(1))
    end.start()
    before = end.story
    end.deliver(naive.obfs2_message(side.peer.value, PEER_SEED, head(magic, padding)))
    assert end.story == [*before, "Failed"]
    assert end.failure == reason


def test_padding_key_of_the_wrong_seed_is_no_greeting() -> None:
    """The published text derives the responder's padding key from the initiator's seed; no program does."""
    end = End(Obfs2(), Side.INITIATOR, constant(NO_PADDING))
    end.start()
    by_the_text = naive.obfs2_message("Responder", bytes(16), head(MAGIC, 0))[16:]
    end.deliver(PEER_SEED + by_the_text)
    assert end.failure == NOT_MAGIC


@pytest.mark.parametrize(("byte", "padding"), [(NO_PADDING, 0), (LONGEST_PADDING, 8192)], ids=["none", "longest"])
def test_padding_has_any_length_up_to_the_longest(byte: bytes, padding: int) -> None:
    """0 and 8,192 bytes, and both are understood."""
    initiator, responder = make_ends(Obfs2(), constant(byte), constant(byte))
    pump(initiator, responder)
    talk(initiator, responder)
    for end in (initiator, responder):
        (greeting,) = (event.data for event in end.events if isinstance(event, Send))
        assert len(greeting) == 24 + padding
    assert bytes(responder.plaintext) == REQUEST
    assert bytes(initiator.plaintext) == ANSWER


def test_early_data_comes_with_the_event_and_the_rest_through_the_cipher() -> None:
    """Bytes after the padding in one read are in the event as they arrived; the cipher continues after them."""
    end = responder()
    stream = naive.obfs2_cipher("Initiator", PEER_SEED + bytes(16), REQUEST + ANSWER)
    greeting = naive.obfs2_message("Initiator", PEER_SEED, head(MAGIC, 4) + b"pad!")
    end.deliver(greeting + stream[: len(REQUEST)])
    (ready,) = (event for event in end.events if isinstance(event, InboundReady))
    assert ready.early == stream[: len(REQUEST)]
    assert bytes(end.plaintext) == REQUEST
    end.deliver(stream[len(REQUEST) :])
    assert bytes(end.plaintext) == REQUEST + ANSWER


def test_a_failed_machine_ignores_further_input() -> None:
    """A good message after a bad one changes nothing."""
    end = responder()
    end.deliver(bytes(24))
    end.deliver(naive.obfs2_message("Initiator", PEER_SEED, head(MAGIC, 0)))
    assert end.handshake.computed([]) == []
    assert memory_kept(end.handshake.receive, [bytes(100_000)]) < 500
    assert end.story == ["Failed"]


@pytest.mark.parametrize("side", Side)
@given(data=st.binary(max_size=300), cut=cuts)
def test_garbage_fails_or_waits_for_more(side: Side, data: bytes, cut: Cut) -> None:
    """Bytes that are not obfs2 raise nothing and open no direction."""
    end = End(Obfs2(), side, seeded(1))
    end.start()
    for piece in cut(data):
        end.deliver(piece)
    assert end.failure == (NOT_MAGIC if len(data) >= 24 else None)
    assert end.encryptor is end.decryptor is None


def test_with_a_shared_secret_every_mac_is_a_job() -> None:
    """The costly MACs: the initiator's own, one to check the peer's head, the rest for a peer that passed."""
    initiator, responder = make_ends(Obfs2(b"open sesame"), seeded(1), seeded(2))
    pump(initiator, responder, cut_by([10, 20, 7]))
    talk(initiator, responder)
    assert initiator.story == ["Compute", "Send", "Compute", "Compute", "OutboundReady", "InboundReady"]
    assert responder.story == ["Compute", "Compute", "Send", "OutboundReady", "InboundReady"]
    assert bytes(responder.plaintext) == REQUEST
    assert bytes(initiator.plaintext) == ANSWER


@pytest.mark.parametrize("secret", [None, b"open sesamE"], ids=["no secret", "another secret"])
def test_a_wrong_secret_gets_no_answer(secret: bytes | None) -> None:
    """A peer without the secret learns nothing and costs one MAC."""
    initiator = End(Obfs2(secret), Side.INITIATOR, seeded(1))
    end = responder(b"open sesame")
    initiator.start()
    pump(initiator, end)
    assert end.story == ["Compute", "Failed"]
    assert end.failure == NOT_MAGIC


def test_empty_secret_is_a_secret() -> None:
    """Only None means no secret."""
    end = responder(b"")
    end.deliver(naive.obfs2_message("Initiator", PEER_SEED, head(MAGIC, 0), b""))
    assert end.story[-1] == "InboundReady"


def test_job_is_a_pure_function() -> None:
    """A job returns the same whenever and however often it is called, so any thread may run it."""
    (event,) = Obfs2(b"open sesame").handshake(Side.INITIATOR, seeded(1)).start()
    assert isinstance(event, Compute)
    assert event.job() == event.job()


def test_a_responder_that_sends_first_is_understood() -> None:
    """The Python obfsproxy sends its message the moment it is connected, while ours is still being computed."""
    secret = b"open sesame"
    end = End(Obfs2(secret), Side.INITIATOR, seeded(1), hold_jobs=True)
    end.start()
    end.deliver(naive.obfs2_message("Responder", PEER_SEED, head(MAGIC, 0), secret))
    assert end.story == ["Compute"]
    end.finish_job()
    assert end.story == ["Compute", "Send", "Compute"]
    end.finish_job()
    end.finish_job()
    assert end.story == ["Compute", "Send", "Compute", "Compute", "OutboundReady", "InboundReady"]


def test_padding_takes_no_memory() -> None:
    """A connection that sends only padding holds a few bytes."""
    end = responder()
    end.deliver(naive.obfs2_message("Initiator", PEER_SEED, head(MAGIC, 8192)))
    assert memory_kept(end.handshake.receive, (bytes(63) for _ in range(130))) < 500


def test_bytes_that_arrive_during_a_job_are_kept_up_to_a_bound() -> None:
    """A read that was in progress is not lost; a flood fails, and its job's result is ignored."""
    end = End(Obfs2(b"open sesame"), Side.RESPONDER, seeded(1), hold_jobs=True)
    end.start()
    end.deliver(bytes(24))
    for _ in range(16):
        end.deliver(bytes(1 << 16))
    assert end.story == ["Compute"]
    end.deliver(bytes(1))
    assert end.failure == "more bytes than fit arrived while the keys were computed"
    end.finish_job()
    assert end.story == ["Compute", "Failed"]
