"""The fuzz target's invariant, on a few inputs at every run of the tests."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.fuzz_handshakes import TARGETS, check, honest_stream


@given(st.binary(max_size=100))
@settings(max_examples=50)
def test_right_start_and_any_end_give_events(data: bytes) -> None:
    """However much of an honest stream comes first and whatever follows it."""
    check(data)


@pytest.mark.parametrize("target", range(len(TARGETS)))
@pytest.mark.parametrize("end", [b"", b"noise" * 20], ids=["nothing", "noise"])
def test_honest_stream_is_understood(target: int, end: bytes) -> None:
    """The target really reaches the end of a handshake: it reads the honest peer's data, noise behind it or not."""
    length = len(honest_stream(*TARGETS[target]))
    check(bytes([target]) + length.to_bytes(2, "big") + b"\x07" + end)
