"""obfs3: what is too long, too much or nonsense."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.wire.handshake import Side
from obfstats.wire.machine import Compute, Failed, Send
from obfstats.wire.obfs3 import Obfs3
from tests.wire import naive
from tests.wire.join import (
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
from tests.wire.peer import EXPONENT, responder_that_has_a_key

TOO_MUCH = 8194 + 32 + 1
NO_MAGIC = "no magic within the longest padding"

garbage = st.binary(max_size=300) | st.builds(
    lambda length, seed: seeded(seed)(length), st.integers(0, 12_000), st.integers(0, 9)
)


@pytest.mark.parametrize(("byte", "padding"), [(NO_PADDING, 0), (LONGEST_PADDING, 4097)], ids=["none", "longest"])
def test_padding_reaches_its_extremes_and_no_further(byte: bytes, padding: int) -> None:
    """From nothing to 4097 bytes a piece, and both are understood."""
    initiator, responder = make_ends(Obfs3(), constant(byte), constant(byte))
    pump(initiator, responder)
    talk(initiator, responder)
    for end in (initiator, responder):
        key, magic = (event.data for event in end.events if isinstance(event, Send))
        assert (len(key), len(magic)) == (192 + padding, padding + 32)
    assert bytes(responder.plaintext) == REQUEST
    assert bytes(initiator.plaintext) == ANSWER


def test_magic_is_found_behind_the_longest_padding() -> None:
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


def test_noise_is_given_up_at_one_byte_too_many() -> None:
    """As long as the magic can still end within 8226 bytes the machine waits."""
    end, _ = responder_that_has_a_key()
    end.deliver(bytes(TOO_MUCH - 1))
    assert end.story == ["Compute", "Send"]
    end.deliver(bytes(1))
    assert end.failure == NO_MAGIC


def test_nothing_is_said_or_heard_after_failing() -> None:
    """Neither bytes nor a late result wake the machine up, not even the right magic."""
    end, peer = responder_that_has_a_key()
    end.deliver(bytes(TOO_MUCH))
    failed = list(end.story)
    end.deliver(peer.magic())
    assert end.handshake.computed(object()) == []
    assert memory_kept(end.handshake.receive, [bytes(100_000)]) < 500
    assert end.story == failed == ["Compute", "Send", "Failed"]


def test_wrong_side_of_the_magic_is_no_magic() -> None:
    """A probe that mirrors the responder's own magic back is nobody."""
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
def test_garbage_ends_in_failed_or_in_waiting(side: Side, data: bytes, cut: Cut) -> None:
    """Nothing that is no obfs3 raises, opens a direction it should not, or is ever quoted."""
    end = End(Obfs3(), side, seeded(1))
    end.start()
    for piece in cut(data):
        end.deliver(piece)
    assert end.failure == (NO_MAGIC if len(data) >= 192 + TOO_MUCH else None)
    assert end.decryptor is None
    assert (end.encryptor is None) == (side is Side.RESPONDER or len(data) < 192)


def test_flood_during_a_job_is_given_up() -> None:
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


def test_noise_is_not_hoarded() -> None:
    """A connection that dribbles noise to the very limit holds next to nothing."""
    machine = Obfs3().handshake(Side.RESPONDER, seeded(1))
    (event,) = machine.receive(naive.public_key(EXPONENT))
    assert isinstance(event, Compute)
    machine.computed(event.job())
    assert memory_kept(machine.receive, (bytes(63) for _ in range(130))) < 500


def test_reasons_are_fixed_texts() -> None:
    """Two different floods of noise fail in the same words."""
    reasons = set()
    for seed in range(2):
        end = End(Obfs3(), Side.RESPONDER, seeded(1))
        end.start()
        end.deliver(seeded(seed)(10_000))
        reasons.add(end.events[-1])
    assert reasons == {Failed(NO_MAGIC)}
