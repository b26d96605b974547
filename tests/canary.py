"""Client addresses that must not be found anywhere: drawn here, and searched for after the whole run.

Every test that sends clients through the program gives them addresses from `address`. At the end, `findings` reads
everything that the run has left (files, logs, output of programs, reports of pytest) and looks for each of them in
every form of an address.
"""

from __future__ import annotations

import itertools
import re
import socket
from typing import TYPE_CHECKING

from peers.geoip import COUNTRIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_NOWHERE = 250
# Cookies and keys are nothing but random bytes, and so is what tor compresses.
_RANDOM = re.compile(r"cookie|/keys/|/diff-cache/")
# gzip, xz, Zstandard: the tests of compressed logs, whose bytes are as random. zip, zlib, ar: packages that tests
# build, and git's objects.
_COMPRESSED = (b"\x1f\x8b", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"PK\3\4", b"\x78\1", b"!<arch>")
_HASH = re.compile(rb"(?<![0-9a-f])[0-9a-f]{40,}(?![0-9a-f])")
# What may be one of the addresses, at any offset: there are thousands of them, too many to look for one by one.
_CANDIDATES = {
    "text": re.compile(rb"(?=(127\.\d{1,3}\.\d{1,3}\.\d{1,3}))"),
    "number": re.compile(rb"(?=(21[34]\d{7}))"),
    "hex": re.compile(rb"(?=(7f[0-9a-f]{6}))"),
    "reversed hex": re.compile(rb"(?=([0-9a-f]{6}7f))"),
    "packed": re.compile(rb"(?=(\x7f.{3}))", re.DOTALL),
    "hex number": re.compile(rb"(?=(0x7f[0-9a-f]{6}))"),
    "dashed text": re.compile(rb"(?=(127-\d{1,3}-\d{1,3}-\d{1,3}))"),
}
_SHORTER = 2
"""Digits that a candidate may have too many: what follows an address may be a digit."""

_handed_out: dict[str, list[bytes]] = {}
_numbers = {second: itertools.count() for second in (*COUNTRIES.values(), _NOWHERE)}


def address(country: str = "de") -> str:
    """Give a new loopback address of one of the tests' countries; `??` for one without a country."""
    second = COUNTRIES.get(country, _NOWHERE)
    # Never a network's first or last address: those are in the GeoIP file.
    third, fourth = divmod(next(_numbers[second]), 200)
    given = f"127.{second}.{third + 17}.{fourth + 23}"
    _handed_out[given] = forms(given)
    return given


def forms(text: str) -> list[bytes]:
    """Every way in which an IPv4 address may be written down."""
    packed = socket.inet_aton(text)
    number = int.from_bytes(packed, "big")
    return [text.encode(), str(number).encode(), packed.hex().encode(), packed[::-1].hex().encode(), packed,
            f"{number:#x}".encode(), f"{text.replace('.', '-')}".encode()]  # fmt: skip


def findings(texts: Iterable[tuple[str, bytes]]) -> Iterator[str]:
    """Report where a client's address was found, and in which form; the address itself is not repeated.

    Args:
        texts: what to search, each with a name for it.
    """
    wanted = dict(zip(_CANDIDATES, map(frozenset, zip(*_handed_out.values(), strict=True)), strict=False))
    for where, content in texts:
        # Eight hex digits of an address occur in thousands of hashes by chance, so hashes are left out.
        lowered = _HASH.sub(b"hash", content.lower())
        for name, written in wanted.items():
            # Four packed bytes occur in random data by chance; the other forms do not.
            if name == "packed" and (_RANDOM.search(where) or content.startswith(_COMPRESSED)):
                continue
            for candidate in _CANDIDATES[name].findall(content if name == "packed" else lowered):
                if any(candidate[: len(candidate) - more] in written for more in range(_SHORTER + 1)):
                    yield f"{where}: a client's address as {name}"


def files_below(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Give every regular file below a folder."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield str(path), path.read_bytes()
