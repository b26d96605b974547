"""dummy: bytes as they are, both ways, from the start."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.wire.dummy import PLAIN, Dummy
from obfstats.wire.handshake import Side
from tests.wire.machines import ANSWER, REQUEST, make_ends, pump, seeded


def test_both_directions_are_open_at_once() -> None:
    """Nothing is sent before the data, and the data is unchanged."""
    initiator, responder = make_ends(Dummy(), seeded(1), seeded(2))
    for end in (initiator, responder):
        assert end.story == ["OutboundReady", "InboundReady"]
        assert end.take_outbox() == b""
    initiator.say(REQUEST)
    assert bytes(initiator.outbox) == REQUEST
    pump(initiator, responder)
    responder.say(ANSWER)
    pump(initiator, responder)
    assert (bytes(responder.plaintext), bytes(initiator.plaintext)) == (REQUEST, ANSWER)


@pytest.mark.parametrize("side", Side)
def test_nothing_is_left_to_shake(side: Side) -> None:
    """A machine that is done ignores what it is given, as any other."""
    handshake = Dummy().handshake(side, seeded(1))
    handshake.start()
    assert handshake.receive(REQUEST) == []
    assert handshake.computed(object()) == []


@given(st.binary(max_size=100), st.integers(0, 10))
def test_bytes_are_copied_where_they_must_be(data: bytes, room: int) -> None:
    """Into another buffer; its rest stays as it is."""
    buffer = bytearray(b"x" * (len(data) + room))
    assert PLAIN.update_into(data, buffer) == len(data)
    assert bytes(buffer) == data + b"x" * room
    assert PLAIN.update(data) == data


def test_bytes_stay_where_they_are() -> None:
    """In place, as the relay has it, and within one memory that is seen twice."""
    memory = bytearray(b"abcdef")
    view = memoryview(memory)[:4]
    assert PLAIN.update_into(view, view) == 4
    assert PLAIN.update_into(memoryview(memory)[:4], memoryview(memory)) == 4
    assert memory == b"abcdef"
    assert PLAIN.update_into(memoryview(memory)[:4], memoryview(memory)[2:]) == 4
    assert memory == b"ababcd"


def test_a_buffer_that_is_too_short_is_refused() -> None:
    """Before anything is written, as `cryptography` does."""
    buffer = bytearray(3)
    with pytest.raises(ValueError, match="shorter than the data"):
        PLAIN.update_into(b"abcd", buffer)
    assert buffer == bytes(3)


def test_nothing_is_held_back() -> None:
    """There is no end to wait for and no nonce to set."""
    PLAIN.reset_nonce(bytes(16))
    assert PLAIN.finalize() == b""
