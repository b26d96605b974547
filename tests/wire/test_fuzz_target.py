"""The fuzz targets' invariants, on a few inputs at every run of the tests."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz import fuzz_extorport, fuzz_pluggable, fuzz_socks5
from fuzz.fuzz_handshakes import TARGETS, check, honest_stream
from obfstats.wire.pluggable import read_environment


@given(st.binary(max_size=100))
@settings(max_examples=50)
def test_right_start_and_any_end_give_events(data: bytes) -> None:
    """However much of an honest stream comes first and whatever follows it."""
    check(data)


@pytest.mark.parametrize("target", range(len(TARGETS)))
@pytest.mark.parametrize("end", [b"", b"noise" * 20], ids=["nothing", "noise"])
def test_honest_stream_is_understood(target: int, end: bytes) -> None:
    """The target reaches the end of a handshake: it reads the honest peer's data, with noise after it or not."""
    length = len(honest_stream(*TARGETS[target]))
    check(bytes([target]) + length.to_bytes(2, "big") + b"\x07" + end)


@given(st.binary(max_size=100))
@settings(max_examples=50)
def test_the_other_targets_hold_on_any_input(data: bytes) -> None:
    """The extended ORPort, SOCKS and the environment."""
    fuzz_extorport.check(data)
    fuzz_socks5.check(data)
    fuzz_pluggable.check(data)


@pytest.mark.parametrize("end", range(len(fuzz_extorport.ENDS)))
@pytest.mark.parametrize("noise", [b"", b"noise" * 20], ids=["nothing", "noise"])
def test_an_honest_extended_orport_is_understood(end: int, noise: bytes) -> None:
    """The target really gets past the hashes, at either end."""
    length = len(fuzz_extorport.honest_stream(fuzz_extorport.ENDS[end]))
    fuzz_extorport.check(bytes([end, length, 7]) + noise)


@pytest.mark.parametrize("client", range(len(fuzz_socks5.HONEST)))
@pytest.mark.parametrize("noise", [b"", b"noise" * 20], ids=["nothing", "noise"])
def test_an_honest_socks_client_is_understood(client: int, noise: bytes) -> None:
    """The target gets to a request; noise after it is early data."""
    fuzz_socks5.check(bytes([client, len(fuzz_socks5.HONEST[client]), 7]) + noise)


@pytest.mark.parametrize("variable", range(len(fuzz_pluggable.VARIABLES)))
def test_a_good_environment_is_read(variable: int) -> None:
    """The target really gets to the end of an environment: nothing put into a good value is no accident."""
    environment, _ = fuzz_pluggable.VARIABLES[variable]
    assert read_environment(environment).transports
    fuzz_pluggable.check(bytes([variable, 0]))
