"""Keys and values in one text: what tor escapes is read back, and what is malformed is told without being shown."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.wire.arguments import ArgumentsError, parse_arguments, parse_options
from peers.arguments import write_arguments, write_options

texts = st.text(st.sampled_from("ab \\=;:,\n\0é"), max_size=12) | st.text(max_size=12)
arguments = st.dictionaries(texts.filter(bool), texts, max_size=4)


def escaped_by_tor(text: str, special: str) -> str:
    """Tor's own escaping: a backslash before each of these, and before nothing else."""
    return re.sub(f"[{re.escape(special)}]", r"\\\g<0>", text)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", {}),
        ("shared-secret=rahasia", {"shared-secret": "rahasia"}),
        ("a=1;b=2", {"a": "1", "b": "2"}),
        ("a=", {"a": ""}),
        (r"a=\;b\=\\;c=", {"a": ";b=\\", "c": ""}),
        (r"k\=\;\\=v", {"k=;\\": "v"}),
        ("cert=c29tZXRoaW5n==;mode=0", {"cert": "c29tZXRoaW5n==", "mode": "0"}),
        ("a=b:c,d e", {"a": "b:c,d e"}),
        (b"a=caf\xe9", {"a": "caf\udce9"}),
        ("a=é".encode(), {"a": "é"}),
    ],
)
def test_arguments_are_read(text: str | bytes, read: dict[str, str]) -> None:
    """Escaped or not, with equal signs in the value as base64 has them, in any bytes."""
    assert parse_arguments(text) == read


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", {}),
        (r"obfs3:a=1\;2\:3;obfs2:b=x", {"obfs3": {"a": "1;2:3"}, "obfs2": {"b": "x"}}),
        ("obfs2:a=1;obfs2:b=2", {"obfs2": {"a": "1", "b": "2"}}),
        ("obfs2:shared-secret=a=b", {"obfs2": {"shared-secret": "a=b"}}),
        (r"obfs2:shared-secret=a\=b", {"obfs2": {"shared-secret": "a=b"}}),
        ("obfs2:listen=[::1]:443", {"obfs2": {"listen": "[::1]:443"}}),
    ],
)
def test_options_are_read(text: str, read: dict[str, dict[str, str]]) -> None:
    """By transport, as tor writes them and as the specification says it should."""
    assert parse_options(text) == read


@given(arguments)
def test_arguments_are_read_as_they_were_written(given: dict[str, str]) -> None:
    """Whatever keys and values hold."""
    assert parse_arguments(write_arguments(given)) == given


@given(st.dictionaries(texts.filter(bool), arguments.filter(bool), max_size=3))
def test_options_are_read_as_they_were_written(given: dict[str, dict[str, str]]) -> None:
    """Whatever names, keys and values hold."""
    assert parse_options(write_options(given)) == given


@given(st.dictionaries(st.from_regex("[a-z-]{1,9}", fullmatch=True), texts, max_size=4))
def test_what_tor_writes_is_read(given: dict[str, str]) -> None:
    """Tor takes K=V from torrc and escapes no equal sign."""
    pairs = [f"{key}={value}" for key, value in given.items()]
    assert parse_arguments(";".join(escaped_by_tor(pair, ";\\") for pair in pairs)) == given
    of_tor = ";".join(f"obfs2:{escaped_by_tor(pair, ':;' + chr(92))}" for pair in pairs)
    assert parse_options(of_tor) == ({"obfs2": given} if given else {})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("xyzzy", "pair 1 is not of the form K=V"),
        ("a=xyzzy;", "pair 2 is not of the form K=V"),
        (";a=xyzzy", "pair 1 is not of the form K=V"),
        ("a=xyz;zy", "pair 2 is not of the form K=V"),
        (r"a\=xyzzy", "pair 1 is not of the form K=V"),
        ("=xyzzy", "the key of pair 1 is empty"),
        ("a=1;a=xyzzy", "pair 2 repeats a key"),
        ("a=xyzzy\\", "a backslash in pair 1 escapes nothing; write it twice"),
        (r"a=1;b=\xyzzy", "a backslash in pair 2 escapes nothing; write it twice"),
        (r"a=\:xyzzy", "a backslash in pair 1 escapes nothing; write it twice"),
    ],
)
def test_malformed_arguments_are_told_but_not_shown(text: str, told: str) -> None:
    """The number of the pair and what is wrong; any of it may be a piece of a secret."""
    with pytest.raises(ArgumentsError) as refused:
        parse_arguments(text)
    assert str(refused.value) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("shared-secret=xyzzy", "pair 1 is not of the form NAME:K=V"),
        ("obfs2:xyzzy", "pair 1 is not of the form NAME:K=V"),
        ("obfs2:a=xy;zzy", "pair 2 is not of the form NAME:K=V"),
        (":a=xyzzy", "option 1 has no transport's name"),
        ("obfs2:=xyzzy", "the key of pair 1 is empty"),
        ("obfs2:a=1;obfs2:a=xyzzy", "pair 2 repeats a key"),
        (r"obfs2:a=\,xyzzy", "a backslash in pair 1 escapes nothing; write it twice"),
    ],
)
def test_malformed_options_are_told_but_not_shown(text: str, told: str) -> None:
    """As with arguments."""
    with pytest.raises(ArgumentsError) as refused:
        parse_options(text)
    assert str(refused.value) == told


@given(st.text(st.sampled_from("ab\\=;:,"), max_size=30) | st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing else is ever raised, and what was read is the same when it is written and read again."""
    with contextlib.suppress(ArgumentsError):
        read = parse_arguments(text)
        assert parse_arguments(write_arguments(read)) == read
    with contextlib.suppress(ArgumentsError):
        options = parse_options(text)
        assert parse_options(write_options(options)) == options
