"""obfs3: the handshake as a conversation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.wire.handshake import InboundReady, Side
from obfstats.wire.machine import Compute, Send
from obfstats.wire.obfs3 import Obfs3
from obfstats.wire.uniformdh import KeyPair
from tests.wire import naive
from tests.wire.join import (
    ANSWER,
    NO_PADDING,
    REQUEST,
    Cut,
    End,
    constant,
    cuts,
    make_ends,
    pump,
    seeded,
    talk,
)
from tests.wire.peer import EXPONENT, Peer, responder_that_has_a_key


@given(cuts, st.integers(0, 2**32))
def test_any_cut_of_the_stream_tells_the_same_story(cut: Cut, seed: int) -> None:
    """However the network cuts, both sides see the same events and read the same words."""
    initiator, responder = make_ends(Obfs3(), seeded(seed), seeded(seed + 1))
    pump(initiator, responder, cut)
    talk(initiator, responder)
    assert initiator.story == ["Compute", "Send", "Compute", "Send", "OutboundReady", "InboundReady"]
    assert responder.story == ["Compute", "Send", "Send", "OutboundReady", "InboundReady"]
    assert bytes(responder.plaintext) == REQUEST
    assert bytes(initiator.plaintext) == ANSWER


def test_same_randomness_gives_the_same_bytes() -> None:
    """A handshake can be replayed."""

    def sent() -> list[Send]:
        ends = make_ends(Obfs3(), seeded(3), seeded(4))
        pump(*ends)
        return [event for end in ends for event in end.events if isinstance(event, Send)]

    first = sent()
    assert len(first) == 4
    assert first == sent()


def test_jobs_are_pure_functions() -> None:
    """A job gives the same whenever and however often it is called, so any thread can have it."""
    (first,) = Obfs3().handshake(Side.INITIATOR, seeded(1)).start()
    (second,) = Obfs3().handshake(Side.RESPONDER, seeded(1)).receive(naive.public_key(EXPONENT))
    assert isinstance(first, Compute)
    assert isinstance(second, Compute)
    pairs = [first.job(), first.job()]
    assert len({pair.public for pair in pairs if isinstance(pair, KeyPair)}) == 1
    assert second.job() == second.job()


def test_responder_is_silent_until_the_whole_key_is_there() -> None:
    """191 bytes get no answer and cost nothing; the 192nd starts the one job."""
    end = End(Obfs3(), Side.RESPONDER, seeded(1), hold_jobs=True)
    end.start()
    end.deliver(naive.public_key(EXPONENT)[:191])
    assert end.story == []
    end.deliver(naive.public_key(EXPONENT)[191:])
    assert end.story == ["Compute"]
    end.finish_job()
    assert end.story == ["Compute", "Send"]


def test_responder_tells_its_magic_to_nobody_but_who_told_one() -> None:
    """A probe that does not finish the exchange sees a key and padding, and no more."""
    end, peer = responder_that_has_a_key()
    end.deliver(bytes(8000))
    assert end.story == ["Compute", "Send"]
    end.deliver(peer.magic())
    assert end.story == ["Compute", "Send", "Send", "OutboundReady", "InboundReady"]


def test_responder_speaks_with_a_naive_initiator() -> None:
    """Key, magic and both ciphers are those of the specification."""
    end, peer = responder_that_has_a_key()
    end.deliver(b"some padding" + peer.magic() + peer.enciphered(REQUEST))
    assert bytes(end.plaintext) == REQUEST
    end.say(ANSWER)
    said = end.take_outbox()
    magic = naive.obfs3_magic(peer.shared, "Responder")
    assert said.count(magic) == 1
    assert said.index(magic) <= 4097
    assert said.endswith(magic + naive.obfs3_cipher(peer.shared, "Responder", ANSWER))


def test_initiator_speaks_with_a_naive_responder() -> None:
    """The same from the other side, padding behind the key included."""
    end = End(Obfs3(), Side.INITIATOR, seeded(1))
    peer = Peer(Side.RESPONDER, end)
    end.start()
    assert len(peer.read_key()) <= 4097
    end.deliver(peer.key() + b"padding")
    end.say(REQUEST)
    magic = naive.obfs3_magic(peer.shared, "Initiator")
    assert end.take_outbox().endswith(magic + naive.obfs3_cipher(peer.shared, "Initiator", REQUEST))
    end.deliver(b"more padding" + peer.magic() + peer.enciphered(ANSWER))
    assert bytes(end.plaintext) == ANSWER


def test_initiator_may_speak_long_before_the_responder_does() -> None:
    """obfs4proxy holds its magic back until it has data: one direction is open, the other waits."""
    end = End(Obfs3(), Side.INITIATOR, seeded(1))
    peer = Peer(Side.RESPONDER, end)
    end.start()
    peer.read_key()
    end.deliver(peer.key() + bytes(4097))
    assert end.story[-1] == "OutboundReady"
    end.deliver(bytes(4097))
    assert end.story[-1] == "OutboundReady"
    end.deliver(peer.magic())
    assert end.story[-1] == "InboundReady"


@pytest.mark.parametrize("place", range(33))
def test_magic_cut_in_two_is_found(place: int) -> None:
    """Wherever two reads part it, padding before and data behind."""
    end, peer = responder_that_has_a_key()
    end.deliver(b"padding" + peer.magic()[:place])
    end.deliver(peer.magic()[place:] + peer.enciphered(REQUEST))
    assert bytes(end.plaintext) == REQUEST


def test_early_data_comes_with_the_event_and_the_rest_through_the_cipher() -> None:
    """What is behind the magic in one read, however long, comes as it arrived; the cipher goes on where it ends."""
    end, peer = responder_that_has_a_key()
    long = bytes(range(256)) * 2000
    stream = peer.enciphered(long + REQUEST)
    end.deliver(peer.magic() + stream[: len(long)])
    (ready,) = (event for event in end.events if isinstance(event, InboundReady))
    assert ready.early == stream[: len(long)]
    assert bytes(end.plaintext) == long
    end.deliver(stream[len(long) :])
    assert bytes(end.plaintext) == long + REQUEST


def test_whole_conversation_in_one_read_is_understood() -> None:
    """What arrives with the key waits until the secret is computed."""
    shared = naive.shared_secret(naive.public_key(1 << 255), EXPONENT)
    end = End(Obfs3(), Side.RESPONDER, constant(NO_PADDING))
    end.start()
    stream = naive.obfs3_cipher(shared, "Initiator", REQUEST)
    end.deliver(naive.public_key(EXPONENT) + b"padding" + naive.obfs3_magic(shared, "Initiator") + stream)
    assert end.story == ["Compute", "Send", "Send", "OutboundReady", "InboundReady"]
    assert bytes(end.plaintext) == REQUEST


def test_bytes_that_arrive_during_a_job_are_kept() -> None:
    """A read that was under way when the job began is not lost."""
    initiator = End(Obfs3(), Side.INITIATOR, seeded(1))
    responder = End(Obfs3(), Side.RESPONDER, seeded(2), hold_jobs=True)
    initiator.start()
    responder.start()
    hello = initiator.take_outbox()
    responder.deliver(hello[:192])
    responder.deliver(hello[192:])
    responder.finish_job()
    pump(initiator, responder)
    talk(initiator, responder)
    assert bytes(responder.plaintext) == REQUEST


def test_early_bird_responder_is_understood() -> None:
    """obfs4proxy sends its key the moment it is connected, while ours is still being computed."""
    initiator = End(Obfs3(), Side.INITIATOR, seeded(1), hold_jobs=True)
    initiator.start()
    initiator.deliver(naive.public_key(EXPONENT))
    assert initiator.story == ["Compute"]
    initiator.finish_job()
    assert initiator.story == ["Compute", "Send", "Compute"]
    initiator.finish_job()
    assert initiator.story == ["Compute", "Send", "Compute", "Send", "OutboundReady"]
