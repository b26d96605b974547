"""obfs3: both sides of the handshake, against each other and a second implementation; noise, floods, limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.wire.handshake import InboundReady, Side
from obfstats.wire.machine import Compute, Failed, Send
from obfstats.wire.obfs3 import Obfs3
from obfstats.wire.uniformdh import KeyPair
from tests.wire import naive
from tests.wire.machines import (
    ANSWER,
    LONGEST_PADDING,
    NO_PADDING,
    REQUEST,
    Cut,
    End,
    constant,
    cuts,
    make_ends,
    memory_kept,
    pump,
    seeded,
    talk,
)

EXPONENT = 2 * 987654321**8
TOO_MUCH = 8194 + 32 + 1
NO_MAGIC = "no magic within the longest padding"

garbage = st.binary(max_size=300) | st.builds(
    lambda length, seed: seeded(seed)(length), st.integers(0, 12_000), st.integers(0, 9)
)


class Peer:
    """A naive obfs3 peer of one of our ends."""

    def __init__(self, side: Side, end: End) -> None:
        self.side, self.end = side.value, end
        self.shared = b""

    def key(self) -> bytes:
        """The public key."""
        return naive.public_key(EXPONENT)

    def read_key(self) -> bytes:
        """Compute the secret from our end's first message; return what follows its key."""
        message = self.end.take_outbox()
        self.shared = naive.shared_secret(message[:192], EXPONENT)
        return message[192:]

    def magic(self) -> bytes:
        """The magic."""
        return naive.obfs3_magic(self.shared, self.side)

    def enciphered(self, data: bytes) -> bytes:
        """Data under the peer's cipher."""
        return naive.obfs3_cipher(self.shared, self.side, data)


def responder_that_has_a_key() -> tuple[End, Peer]:
    """Our responder after a naive initiator's key, with the secret known to both."""
    end = End(Obfs3(), Side.RESPONDER, seeded(1))
    peer = Peer(Side.INITIATOR, end)
    end.start()
    end.deliver(peer.key())
    peer.read_key()
    return end, peer


@given(cuts, st.integers(0, 2**32))
def test_any_cut_of_the_stream_gives_the_same_events(cut: Cut, seed: int) -> None:
    """However the network cuts, both sides return the same events and read the same data."""
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
    """A job returns the same whenever and however often it is called, so any thread may run it."""
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


def test_responder_sends_its_magic_only_after_the_initiators() -> None:
    """A probe that does not finish the exchange gets a key and padding only."""
    end, peer = responder_that_has_a_key()
    end.deliver(bytes(8000))
    assert end.story == ["Compute", "Send"]
    end.deliver(peer.magic())
    assert end.story == ["Compute", "Send", "Send", "OutboundReady", "InboundReady"]


def test_responder_understands_a_naive_initiator() -> None:
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


def test_initiator_understands_a_naive_responder() -> None:
    """The same from the other side, with padding after the key."""
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


def test_initiator_may_send_long_before_the_responder_does() -> None:
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
    """Wherever two reads split it, with padding before and data after it."""
    end, peer = responder_that_has_a_key()
    end.deliver(b"padding" + peer.magic()[:place])
    end.deliver(peer.magic()[place:] + peer.enciphered(REQUEST))
    assert bytes(end.plaintext) == REQUEST


def test_early_data_comes_with_the_event_and_the_rest_through_the_cipher() -> None:
    """Bytes after the magic in one read are in the event as they arrived; the cipher continues after them."""
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
    """A read that was in progress when the job began is not lost."""
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


def test_a_responder_that_sends_first_is_understood() -> None:
    """obfs4proxy sends its key the moment it is connected, while ours is still being computed."""
    initiator = End(Obfs3(), Side.INITIATOR, seeded(1), hold_jobs=True)
    initiator.start()
    initiator.deliver(naive.public_key(EXPONENT))
    assert initiator.story == ["Compute"]
    initiator.finish_job()
    assert initiator.story == ["Compute", "Send", "Compute"]
    initiator.finish_job()
    assert initiator.story == ["Compute", "Send", "Compute", "Send", "OutboundReady"]


@pytest.mark.parametrize(("byte", "padding"), [(NO_PADDING, 0), (LONGEST_PADDING, 4097)], ids=["none", "longest"])
def test_padding_has_any_length_up_to_the_longest(byte: bytes, padding: int) -> None:
    """0 and 4,097 bytes each, and both are understood."""
    initiator, responder = make_ends(Obfs3(), constant(byte), constant(byte))
    pump(initiator, responder)
    talk(initiator, responder)
    for end in (initiator, responder):
        key, magic = (event.data for event in end.events if isinstance(event, Send))
        assert (len(key), len(magic)) == (192 + padding, padding + 32)
    assert bytes(responder.plaintext) == REQUEST
    assert bytes(initiator.plaintext) == ANSWER


def test_magic_is_found_after_the_longest_padding() -> None:
    """8194 bytes are still allowed."""
    end, peer = responder_that_has_a_key()
    end.deliver(bytes(8194) + peer.magic() + peer.enciphered(REQUEST))
    assert bytes(end.plaintext) == REQUEST


@given(cuts)
def test_magic_one_byte_further_is_too_far(cut: Cut) -> None:
    """8195 bytes are not, however they arrive."""
    end, peer = responder_that_has_a_key()
    for piece in cut(bytes(8195) + peer.magic()):
        end.deliver(piece)
    assert end.failure == NO_MAGIC


def test_noise_fails_at_one_byte_too_many() -> None:
    """As long as the magic can still end within 8226 bytes the machine waits."""
    end, _ = responder_that_has_a_key()
    end.deliver(bytes(TOO_MUCH - 1))
    assert end.story == ["Compute", "Send"]
    end.deliver(bytes(1))
    assert end.failure == NO_MAGIC


def test_a_failed_machine_ignores_further_input() -> None:
    """Neither the right magic nor a late result changes that."""
    end, peer = responder_that_has_a_key()
    end.deliver(bytes(TOO_MUCH))
    failed = list(end.story)
    end.deliver(peer.magic())
    assert end.handshake.computed(object()) == []
    assert memory_kept(end.handshake.receive, [bytes(100_000)]) < 500
    assert end.story == failed == ["Compute", "Send", "Failed"]


def test_wrong_side_of_the_magic_is_no_magic() -> None:
    """A probe that returns the responder's own magic is not a client."""
    end, peer = responder_that_has_a_key()
    end.deliver(naive.obfs3_magic(peer.shared, "Responder") + bytes(TOO_MUCH))
    assert end.failure == NO_MAGIC


@pytest.mark.parametrize("number", [0, 1, naive.PRIME - 1, naive.PRIME, 2**1536 - 1])
def test_degenerate_keys_are_answered_like_any_other(number: int) -> None:
    """A prober learns nothing from a strange key: the answer is a key and padding."""
    end = End(Obfs3(), Side.RESPONDER, constant(NO_PADDING))
    end.start()
    end.deliver(number.to_bytes(192, "big"))
    assert end.story == ["Compute", "Send"]
    assert len(end.take_outbox()) == 192


@pytest.mark.parametrize("side", Side)
@given(data=garbage, cut=cuts)
def test_garbage_fails_or_waits_for_more(side: Side, data: bytes, cut: Cut) -> None:
    """Bytes that are not obfs3 raise nothing and open no direction that they should not."""
    end = End(Obfs3(), side, seeded(1))
    end.start()
    for piece in cut(data):
        end.deliver(piece)
    assert end.failure == (NO_MAGIC if len(data) >= 192 + TOO_MUCH else None)
    assert end.decryptor is None
    assert (end.encryptor is None) == (side is Side.RESPONDER or len(data) < 192)


def test_a_flood_during_a_job_fails() -> None:
    """A caller that goes on reading cannot make the machine hold more than a mebibyte."""
    end = End(Obfs3(), Side.RESPONDER, seeded(1), hold_jobs=True)
    end.start()
    end.deliver(naive.public_key(EXPONENT))
    for _ in range(16):
        end.deliver(bytes(1 << 16))
    assert end.story == ["Compute"]
    end.deliver(bytes(1))
    assert end.failure == "more bytes than fit arrived while the keys were computed"
    end.finish_job()
    assert end.story == ["Compute", "Failed"]


def test_noise_takes_no_memory() -> None:
    """A connection that sends noise up to the limit holds a few bytes."""
    machine = Obfs3().handshake(Side.RESPONDER, seeded(1))
    (event,) = machine.receive(naive.public_key(EXPONENT))
    assert isinstance(event, Compute)
    machine.computed(event.job())
    assert memory_kept(machine.receive, (bytes(63) for _ in range(130))) < 500


def test_reasons_are_fixed_texts() -> None:
    """Two different floods of noise fail for the same reason."""
    reasons = set()
    for seed in range(2):
        end = End(Obfs3(), Side.RESPONDER, seeded(1))
        end.start()
        end.deliver(seeded(seed)(10_000))
        reasons.add(end.events[-1])
    assert reasons == {Failed(NO_MAGIC)}
