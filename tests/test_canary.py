"""The search for clients' addresses finds every form of one, and nothing by chance."""

from __future__ import annotations

import gzip
import hashlib
import os

import pytest

from tests import canary

FORMS = range(7)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_an_address_is_found(form: int) -> None:
    """Among other words and between digits, in capital letters too where there are any."""
    written = canary.forms(canary.address())[form]
    shouted = written if len(written) == 4 else written.upper()
    for content in (b"seen " + written + b" today", b"seen " + shouted + b"\n", b"127." + written + b"127"):
        assert list(canary.findings([("a file", content)])) != []


def test_a_hash_is_no_address() -> None:
    """Thousands of hashes hold some address's eight hex digits somewhere; that is no finding."""
    hexadecimal = canary.forms(canary.address())[2]
    line = b"2012-02-07 14:01:04 de 0000" + hexadecimal + b"0" * 28 + b"\n"
    assert list(canary.findings([("a log", line)])) == []
    assert len(line) == 64


def test_a_cookie_may_hold_four_bytes_of_an_address() -> None:
    """It is random, and so are keys; any other form of an address in them is found."""
    text, packed = (canary.forms(canary.address())[form] for form in (0, 4))
    assert list(canary.findings([("a/control_auth_cookie", packed), ("a/keys/secret_id_key", packed)])) == []
    assert len(list(canary.findings([("a/control_auth_cookie", text), ("a/other", packed)]))) == 2


def test_a_compressed_file_may_hold_four_bytes_of_an_address() -> None:
    """Compressed bytes are as random; the other forms are found there too."""
    text, packed = (canary.forms(canary.address())[form] for form in (0, 4))
    assert list(canary.findings([("a/log.gz", gzip.compress(b"")[:10] + packed)])) == []
    assert len(list(canary.findings([("a/log.gz", gzip.compress(b"")[:10] + text)]))) == 1


def test_random_data_holds_none() -> None:
    """A day's log of a busy bridge."""
    log = b"".join(
        b"2012-02-07 14:01:04 de %s\n" % hashlib.sha1(os.urandom(8)).hexdigest().encode() for _ in range(1000)
    )
    canary.address()
    assert list(canary.findings([("a log", log)])) == []
