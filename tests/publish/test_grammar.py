"""simple.py has a grammar of its own, because it runs alone; it is compared with the package's."""

from __future__ import annotations

import io
import runpy
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obfstats.formats.logline import MAX_LINE_LENGTH, LineError, parse_line
from obfstats.publish import simple
from tests.formats.lines import hit_lines, written_lines
from tests.publish.logs import DAMAGE

# fuzz/ holds scripts and is no package.
SCRIPT = runpy.run_path(str(Path(__file__).parents[2] / "fuzz" / "fuzz_log.py"), run_name="fuzz_log")
check, good_log = SCRIPT["check"], SCRIPT["GOOD_LOG"]


def is_good(line: bytes) -> bool:
    """Whether simple.py counts it."""
    return simple.read_log(io.BytesIO(line), {})[1] == 0


@given(written_lines())
def test_whatever_is_written_is_counted(line: bytes) -> None:
    """No good line is lost, with or without its newline."""
    assert is_good(line)
    assert is_good(line.removesuffix(b"\n"))


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_refused_by_both(kind: str) -> None:
    """Both readers refuse the damage that other tests use."""
    assert not is_good(DAMAGE[kind])
    with pytest.raises(LineError):
        parse_line(DAMAGE[kind])


@given(st.lists(hit_lines() | written_lines(), max_size=5).map(b"".join))
@settings(max_examples=300)
def test_both_readers_take_the_same_lines(log: bytes) -> None:
    """The fuzz target's invariant for logs with damage anywhere: the same lines count, with the same meaning."""
    check(log)


@given(st.binary(max_size=30))
def test_both_readers_agree_on_noise(data: bytes) -> None:
    """For random bytes, alone and in the middle of a good log."""
    check(data)


def test_the_fuzz_targets_good_log_is_good() -> None:
    """The fuzz target damages a good log."""
    assert simple.read_log(io.BytesIO(good_log), {}) == (3, 0, "")


def test_the_longest_line_is_the_same() -> None:
    """simple.py reads lines of the same length."""
    assert simple.MAX_LINE_LENGTH == MAX_LINE_LENGTH
