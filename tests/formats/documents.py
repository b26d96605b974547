"""Published documents for tests: values of the whole grammar, and damaged texts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from hypothesis import strategies as st

from obfstats.formats.document import INSTANCE_NAME, Document, GeoIpSource, sorted_by_size, write_document
from tests.formats.lines import TRANSPORTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from hypothesis.strategies import SearchStrategy

_Name = TypeVar("_Name")

TICKETS = b"""\
hashed-fingerprint 7cb8c8b7a9e2f1d0c3b4a5968778695a4b3c2d1e
obfsproxy-stats-end (86400 s) 2012-02-10 09:22:04
obfsproxy-ips DE=48,EU=48,AU=32
obfsproxy-reqs DE=64,EU=56,AU=32
"""
"""The ticket's four lines, with the order that comment 3 asks for."""

EXTENDED = (
    b"@type obfsproxy-stats 1.0\n"
    + TICKETS
    + b"""\
obfsproxy-ip-versions v4=112,v6=16
obfsproxy-ip-transports obfs2=8,obfs3=120
obfsproxy-ip-country-transports DE/obfs3=48,EU/obfs3=48,AU/obfs2=8,AU/obfs3=24
obfsproxy-geoip tor B08BFE286DC8F11F29AACEAFB6F7EF0F5C771042
obfsproxy-geoip6 iptocc 3.3.170
"""
)
"""The same with every further line."""

NOISY = b"""\
obfsproxy-stats-end (86400 s) 2012-02-11 09:22:04
obfsproxy-noise discrete-laplace epsilon=0.5
obfsproxy-ips DE=45,AU=29,??=1,DK=0,EU=-2
"""
"""A day with noise."""

CODES = st.just("??") | st.from_regex(r"[A-Z][A-Z0-9]", fullmatch=True)
NAMES = st.sampled_from(TRANSPORTS) | st.from_regex(r"(?!v[46]\Z)[A-Za-z_][A-Za-z0-9_]{0,31}", fullmatch=True)
INSTANCES = st.sampled_from(("a", "guard-2", "_x.y.z")) | st.from_regex(INSTANCE_NAME, fullmatch=True)
UNKNOWN = st.sampled_from(("obfsproxy-later", "router-digest x", "@later 1.0", "later  two blanks ", "a ~!@#$%^&*()="))


@st.composite
def documents(draw: st.DrawFn, *, unknown: bool = True) -> Document:
    """Give any document, with numbers in any order."""
    epsilon = draw(st.none() | st.sampled_from(("0.5", "1", "20", "0.000001", "0.50")))
    count = st.integers(0 if epsilon is None else -(10**12) + 1, 10**12 - 1) | st.integers(0, 9).map(lambda n: n * 8)
    return Document(
        end=draw(st.datetimes().map(lambda time: time.isoformat(" ", "seconds"))),
        seconds=draw(st.just(86_400) | st.integers(1, 999_999_999)),
        fingerprint=draw(st.none() | st.binary(min_size=20, max_size=20).map(bytes.hex)),
        instance=draw(st.none() | INSTANCES),
        epsilon=epsilon,
        ips=draw(_numbers(CODES, count)),
        requests=draw(_numbers(CODES, count)),
        ip_versions=draw(_numbers(st.sampled_from(("v4", "v6")), count)),
        ip_transports=draw(_numbers(NAMES, count)),
        ip_country_transports=draw(_numbers(st.tuples(CODES, NAMES), count)),
        geoip=draw(st.none() | sources()),
        geoip6=draw(st.none() | sources()),
        ipv6_prefix=draw(st.none() | st.sampled_from(range(32, 128, 8))),
        minor=draw(st.none() | st.integers(0, 9999)),
        unknown=tuple(draw(st.lists(UNKNOWN, max_size=3))) if unknown else (),
    )


def _numbers(names: SearchStrategy[_Name], counts: SearchStrategy[int]) -> SearchStrategy[dict[_Name, int] | None]:
    return st.none() | st.dictionaries(names, counts, max_size=5)


def sources() -> SearchStrategy[GeoIpSource]:
    """Give sources of countries."""
    digests = st.binary(min_size=20, max_size=20).map(lambda digest: digest.hex().upper())
    files = st.builds(GeoIpSource, st.sampled_from(("tor", "file")), digests)
    return files | st.sampled_from((GeoIpSource("iptocc", "3.3.170"), GeoIpSource("iptocc", "4")))


PIECES = (
    b"",
    b" ",
    b"\n",
    b",",
    b"=",
    b"8",
    b"-",
    b"\r",
    b"\t",
    b"\0",
    b"\xff",
    b"/",
    b"obfsproxy-ips ",
    b"@",
    b"v4=8",
)


@st.composite
def hit_documents(draw: st.DrawFn) -> bytes:
    """Give documents with random edits; some stay valid."""
    text = b"".join(write_document(document) for document in draw(st.lists(documents(), max_size=3)))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(text)))
        length = draw(st.integers(0, 3) | st.integers(0, 80))
        text = text[:place] + draw(st.sampled_from(PIECES) | st.binary(max_size=3)) + text[place + length :]
    return text


def as_tor_writes_it(document: Document) -> bytes:
    """Write a document in Tor's order and case, which readers accept."""
    lines = []
    for line in write_document(document).decode().splitlines():
        keyword, blank, arguments = line.partition(" ")
        if keyword == "obfsproxy-stats-end":
            arguments = f"{document.end} ({document.seconds} s)"
        elif keyword in {"obfsproxy-ips", "obfsproxy-reqs"}:
            arguments = arguments.lower()
        elif keyword == "hashed-fingerprint":
            arguments = arguments.upper()
        lines.append(f"{keyword}{blank}{arguments}")
    return "\n".join(lines).encode()


def shuffled(document: Document, random: Random) -> Document:
    """Give the same document with its numbers in another order in memory."""

    def shuffle(numbers: Mapping[_Name, int] | None) -> dict[_Name, int] | None:
        cells = list((numbers or {}).items())
        random.shuffle(cells)
        return None if numbers is None else dict(cells)

    return replace(
        document,
        ips=shuffle(document.ips),
        requests=shuffle(document.requests),
        ip_versions=shuffle(document.ip_versions),
        ip_transports=shuffle(document.ip_transports),
        ip_country_transports=shuffle(document.ip_country_transports),
    )


def is_sorted(numbers: dict[str, int]) -> bool:
    """Whether numbers are in the published order."""
    return list(numbers) == sorted_by_size(numbers)
