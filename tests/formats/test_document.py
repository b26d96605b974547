"""The published document: strict, the same in both directions, sorted, and never quoted in errors."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz import fuzz_document
from obfstats.formats.document import (
    LINES,
    MAX_DOCUMENT_LENGTH,
    Document,
    DocumentError,
    GeoIpSource,
    find_minor,
    read_documents,
    sorted_by_size,
    write_document,
)
from tests.formats.documents import (
    EXTENDED,
    NOISY,
    TICKETS,
    as_tor_writes_it,
    documents,
    hit_documents,
    is_sorted,
    shuffled,
)

if TYPE_CHECKING:
    from random import Random

VALUE = Document(
    "2012-02-10 09:22:04",
    86_400,
    fingerprint="7cb8c8b7a9e2f1d0c3b4a5968778695a4b3c2d1e",
    ips={"DE": 48, "EU": 48, "AU": 32},
    requests={"DE": 64, "EU": 56, "AU": 32},
)
END = b"obfsproxy-stats-end (86400 s) 2012-02-10 09:22:04\n"


def line(number: int, of: bytes = EXTENDED) -> bytes:
    """Give one line of a document, counted from 1."""
    return of.splitlines(keepends=True)[number - 1]


# What is written


def test_the_tickets_four_lines() -> None:
    """Comments 1 and 3 of the ticket define a document and the order of its numbers."""
    assert write_document(VALUE) == TICKETS
    assert read_documents(TICKETS) == [VALUE]


def test_every_further_line() -> None:
    """Type, versions, transports, countries by transport and the countries' sources are written as they are read."""
    (document,) = read_documents(EXTENDED)
    assert write_document(document) == EXTENDED
    assert document.ip_country_transports == {
        ("DE", "obfs3"): 48,
        ("EU", "obfs3"): 48,
        ("AU", "obfs2"): 8,
        ("AU", "obfs3"): 24,
    }
    assert document.geoip6 == GeoIpSource("iptocc", "3.3.170")


def test_a_document_says_that_ipv6_networks_were_counted() -> None:
    """Before the numbers; without the line they are of whole addresses."""
    text = TICKETS.replace(b"obfsproxy-ips", b"obfsproxy-ipv6-prefix 64\nobfsproxy-ips")
    (document,) = read_documents(text)
    assert document == replace(VALUE, ipv6_prefix=64)
    assert write_document(document) == text


def test_a_document_names_an_instance() -> None:
    """First after the interval's end; a name is not changed, and versions 1.2 and later have it."""
    text = b"@type obfsproxy-stats 1.2\n" + TICKETS.replace(b"obfsproxy-ips", b"instance Guard-2\nobfsproxy-ips")
    (document,) = read_documents(text)
    assert document == replace(VALUE, minor=2, instance="Guard-2")
    assert write_document(document) == text


def test_the_minor_version_that_a_document_needs() -> None:
    """Each version has the lines of those before it."""
    assert find_minor(VALUE) == 0
    assert find_minor(replace(VALUE, ipv6_prefix=64)) == 1
    assert find_minor(replace(VALUE, ipv6_prefix=64, instance="a")) == 2


@pytest.mark.parametrize(
    "name",
    ["", "a" * 33, ".a", "..", "-a", "a/b", "a b", "=1", "a\n", "\xe4", "192.0.2.7", "at-192.0.2.7.net", "a.minisig"],
)
def test_what_is_no_name_of_an_instance_is_refused(name: str) -> None:
    """A name becomes a part of file names and a field of CSV, and holds no address."""
    with pytest.raises(ValueError, match=r"^not the name of an instance$"):
        LINES["instance"].read(name)


def test_a_day_with_noise() -> None:
    """It has a line for the noise, and numbers may be negative."""
    (document,) = read_documents(NOISY)
    assert (document.epsilon, document.ips) == ("0.5", {"DE": 45, "AU": 29, "??": 1, "DK": 0, "EU": -2})
    assert write_document(document) == NOISY


@given(documents())
def test_what_is_written_is_read_again(document: Document) -> None:
    """Nothing changes from a value to text and back, unknown lines included."""
    assert read_documents(write_document(document), keep_unknown=True) == [document]


@given(documents(unknown=False))
def test_numbers_are_sorted_by_what_is_published(document: Document) -> None:
    """The largest first, then by code, whatever their order before."""
    (again,) = read_documents(write_document(document))
    assert is_sorted(dict(again.ips or {}))
    assert is_sorted(dict(again.requests or {}))
    assert list(again.ip_transports or {}) == sorted(document.ip_transports or {})
    assert list(again.ip_versions or {}) == sorted(document.ip_versions or {})


@given(documents(), st.randoms(use_true_random=False))
def test_the_order_in_memory_is_not_written(document: Document, random: Random) -> None:
    """Equal values give equal bytes, so no order of connections shows."""
    other = shuffled(document, random)
    assert write_document(other) == write_document(document)


def test_countries_by_transport_are_in_the_order_of_the_countries() -> None:
    """First the country with the most addresses; within a country the transports' names."""
    cells = {("AU", "obfs3"): 24, ("DE", "obfs3"): 8, ("DE", "obfs2"): 48, ("AU", "obfs2"): 8}
    written = write_document(replace(VALUE, ip_country_transports=cells))
    assert written.endswith(b"-transports DE/obfs2=48,DE/obfs3=8,AU/obfs2=8,AU/obfs3=24\n")


def test_sorted_by_size_is_the_tickets_order() -> None:
    """Comment 3's own example."""
    assert sorted_by_size({"AU": 32, "EU": 48, "DE": 48}) == ["DE", "EU", "AU"]


@pytest.mark.parametrize(
    "document",
    [
        replace(VALUE, end="2012-02-30 09:22:04"),
        replace(VALUE, end="2012-02-10 24:00:00"),
        replace(VALUE, end=VALUE.end + "\nobfsproxy-ips DE=8"),
        replace(VALUE, seconds=0),
        replace(VALUE, seconds=-1),
        replace(VALUE, fingerprint="7CB8C8B7A9E2F1D0C3B4A5968778695A4B3C2D1E"),
        replace(VALUE, fingerprint="192.0.2.7"),
        replace(VALUE, instance=""),
        replace(VALUE, instance="a\nobfsproxy-ips DE=8"),
        replace(VALUE, ips={"de": 8}),
        replace(VALUE, ips={"DEU": 8}),
        replace(VALUE, ips={"": 8}),
        replace(VALUE, ips={"DE=8,EU": 8}),
        replace(VALUE, ips={"DE": -8}),
        replace(VALUE, ips={"DE": 10**12}),
        replace(VALUE, ip_versions={"v5": 8}),
        replace(VALUE, ip_transports={"3obfs": 8}),
        replace(VALUE, ip_transports={"obfs3\nobfsproxy-ips DE": 8}),
        replace(VALUE, ip_transports={"é": 8}),
        replace(VALUE, ip_transports={"\udcff": 8}),
        replace(VALUE, epsilon="1e3"),
        replace(VALUE, epsilon="-1"),
        replace(VALUE, geoip=GeoIpSource("tor", "192.0.2.7")),
        replace(VALUE, geoip=GeoIpSource("iptocc", "192.0.2.7")),
        replace(VALUE, geoip=GeoIpSource("maxmind", "1.0")),
        replace(VALUE, unknown=("obfsproxy-geoip iptocc 3",)),
        replace(VALUE, unknown=("obfsproxy-stats-end (86400 s) 2012-02-11 09:22:04",)),
        replace(VALUE, unknown=("two\nlines",)),
        replace(VALUE, unknown=("",)),
        replace(VALUE, unknown=("colour \x1b[31m",)),
        replace(VALUE, unknown=("long " + "x" * MAX_DOCUMENT_LENGTH,)),
    ],
)
def test_nothing_is_written_that_could_not_be_read_again(document: Document) -> None:
    """A value that is not of the grammar, or that holds another line, is refused."""
    with pytest.raises(DocumentError):
        write_document(document)


# What is read


@given(documents())
def test_readers_take_tors_order_and_case(document: Document) -> None:
    """The date before the seconds, lower-case countries, an upper-case fingerprint, no final newline."""
    assert read_documents(as_tor_writes_it(document), keep_unknown=True) == [document]


@given(st.lists(documents(), max_size=4))
def test_documents_stand_one_below_the_other(several: list[Document]) -> None:
    """A file holds any number of documents, with nothing between them."""
    assert read_documents(b"".join(map(write_document, several)), keep_unknown=True) == several


def test_an_empty_file_holds_no_document() -> None:
    """That is not an error."""
    assert read_documents(b"") == []


@pytest.mark.parametrize("keyword", ["obfsproxy-ips", "obfsproxy-ip-versions", "obfsproxy-ip-transports"])
def test_a_line_without_numbers_is_an_empty_one(keyword: str) -> None:
    """With Tor's trailing blank, or without it where a mail program removed it."""
    (with_blank,) = read_documents(END + f"{keyword} \n".encode())
    assert read_documents(END + keyword.encode()) == [with_blank]
    assert write_document(with_blank).endswith(f"{keyword} \n".encode())


def test_what_a_later_version_adds_is_passed_on_and_not_published() -> None:
    """Readers that pass documents on keep unknown lines; one that publishes refuses them."""
    text = TICKETS + b"obfsproxy-asns AS64496=8\n"
    (document,) = read_documents(text, keep_unknown=True)
    assert document.unknown == ("obfsproxy-asns AS64496=8",)
    assert write_document(document) == text
    with pytest.raises(DocumentError, match=r"^line 5: unknown keyword$"):
        read_documents(text)


def test_an_unknown_line_still_has_to_be_a_line() -> None:
    """Nothing unprintable is passed on."""
    for bad in (b"\n", b" x\n", b"\x1b[31m\n", b"a\tb\n", b"a \0\n", b"-a\n", b"x" * 65 + b"\n"):
        with pytest.raises(DocumentError, match=r"^line 5: unknown keyword$"):
            read_documents(TICKETS + bad, keep_unknown=True)


@pytest.mark.parametrize("minor", [b"0", b"1", b"17"])
def test_a_later_minor_version_is_read(minor: bytes) -> None:
    """What is new is on lines of its own; version and new lines are passed on."""
    text = EXTENDED.replace(b"1.0", b"1." + minor)
    (document,) = read_documents(text)
    assert [replace(document, minor=0)] == read_documents(EXTENDED)
    assert document.minor == int(minor)
    (later,) = read_documents(text + b"obfsproxy-later x\n", keep_unknown=True)
    assert write_document(later) == text + b"obfsproxy-later x\n"


def test_a_new_line_follows_the_intervals_end() -> None:
    """Before it, a line could belong to either document."""
    for text in (b"obfsproxy-later x\n" + TICKETS, b"@type obfsproxy-stats 1.7\nobfsproxy-later x\n" + TICKETS):
        with pytest.raises(DocumentError, match="line before obfsproxy-stats-end"):
            read_documents(text, keep_unknown=True)


def test_noise_without_an_epsilon_is_none() -> None:
    """With epsilon zero the numbers would be nothing but noise."""
    for nought in (b"0", b"0.0", b"0.000000"):
        with pytest.raises(DocumentError, match="epsilon is zero"):
            read_documents(NOISY.replace(b"0.5", nought))


@pytest.mark.parametrize("name", [b"v4", b"v6"])
def test_a_family_is_no_transport(name: bytes) -> None:
    """A log's line could not tell them apart."""
    for text in (b"obfsproxy-ip-transports %s=8\n", b"obfsproxy-ip-country-transports DE/%s=8\n"):
        with pytest.raises(DocumentError, match="address family instead of a transport name"):
            read_documents(TICKETS + text % name)


@pytest.mark.parametrize(
    ("text", "number", "reason"),
    [
        pytest.param(b"\n", 1, "unknown keyword", id="empty line"),
        pytest.param(b"obfsproxy-ips DE=8\n", 1, "line before obfsproxy-stats-end", id="numbers first"),
        pytest.param(line(1), 1, "document without obfsproxy-stats-end", id="type alone"),
        pytest.param(EXTENDED + line(2), 11, "document without obfsproxy-stats-end", id="torn after a heading"),
        pytest.param(EXTENDED + line(4), 11, "duplicate line", id="numbers twice"),
        pytest.param(END.replace(b"\n", b"\r\n"), 1, "not an interval's end and length", id="CRLF"),
        pytest.param(END.replace(b" 09", b"T09"), 1, "not an interval's end and length", id="T for the blank"),
        pytest.param(END.replace(b"02-10", b"02-30"), 1, "invalid date or time", id="February 30"),
        pytest.param(END.replace(b"2012", b"0000"), 1, "invalid date or time", id="year 0"),
        pytest.param(END.replace(b"86400", b"0"), 1, "zero-length interval", id="no second"),
        pytest.param(b"@type obfsproxy-stats 2.0\n", 1, "unknown document type or version", id="version 2"),
        pytest.param(b"@type bridge-extra-info 1.3\n", 1, "unknown document type or version", id="type"),
        pytest.param(b"hashed-fingerprint 7c\n", 1, "not a fingerprint of 40 hex digits", id="short fingerprint"),
        pytest.param(END + b"obfsproxy-ips DEU=8\n", 2, "not a country code", id="three letters"),
        pytest.param(END + b"obfsproxy-ips total=8\n", 2, "not a country code", id="a total"),
        pytest.param(END + b"obfsproxy-ips 192.0.2.7=8\n", 2, "not a country code", id="an address"),
        pytest.param(END + b"obfsproxy-ips DE=8,\n", 2, "not a country code", id="comma at the end"),
        pytest.param(END + b"obfsproxy-ips DE=8, EU=8\n", 2, "not a country code", id="blank between"),
        pytest.param(END + b"obfsproxy-ips DE=8,de=16\n", 2, "duplicate name", id="twice"),
        pytest.param(END + b"obfsproxy-ips DE=08\n", 2, "not a number after a name", id="leading zero"),
        pytest.param(END + b"obfsproxy-ips DE=-0\n", 2, "not a number after a name", id="minus nought"),
        pytest.param(END + b"obfsproxy-ips DE=+8\n", 2, "not a number after a name", id="plus"),
        pytest.param(END + b"obfsproxy-ips DE=8.0\n", 2, "not a number after a name", id="a fraction"),
        pytest.param(END + b"obfsproxy-ips DE=1_0\n", 2, "not a number after a name", id="Python's own"),
        pytest.param(END + b"obfsproxy-ips DE=8\0\n", 2, "not a number after a name", id="NUL"),
        pytest.param(END + b"obfsproxy-ips DE=\xc2\xb2\n", 2, "non-ASCII byte", id="beyond ASCII"),
        pytest.param(END + b"obfsproxy-ips DE=\xff\n", 2, "non-ASCII byte", id="bad UTF-8"),
        pytest.param(END + b"obfsproxy-ips DE=-8\n", 1, "negative number in a document without noise", id="below 0"),
        pytest.param(END + b"obfsproxy-ip-versions v5=8\n", 2, "neither v4 nor v6", id="v5"),
        pytest.param(END + b"obfsproxy-ip-transports 3=8\n", 2, "not a transport name", id="no name"),
        pytest.param(END + b"obfsproxy-ip-country-transports DE=8\n", 2, "not a transport name", id="country alone"),
        pytest.param(END + b"obfsproxy-noise gauss epsilon=1\n", 2, "unknown kind of noise", id="another noise"),
        pytest.param(END + b"obfsproxy-ipv6-prefix 128\n", 2, "not a multiple of 8 bits below 128", id="whole"),
        pytest.param(END + b"obfsproxy-ipv6-prefix 63\n", 2, "not a multiple of 8 bits below 128", id="63 bits"),
        pytest.param(END + b"obfsproxy-geoip iptocc 192.0.2.7\n", 2, "unknown source of countries", id="4 parts"),
    ],
)
def test_an_error_has_its_line_and_reason(text: bytes, number: int, reason: str) -> None:
    """The number of the wrong line, and the reason."""
    with pytest.raises(DocumentError) as raised:
        read_documents(text)
    assert (raised.value.line, raised.value.reason) == (number, reason)
    assert str(raised.value) == f"line {number}: {reason}"


def test_a_document_is_as_long_as_tor_allows_and_no_longer() -> None:
    """50,000 bytes; what is read at that length can be written again."""
    keyword = b"obfsproxy-later-"
    full = TICKETS + keyword + b"x" * 20 + b" " + b"y" * (MAX_DOCUMENT_LENGTH - len(TICKETS + keyword) - 22) + b"\n"
    assert len(full) == MAX_DOCUMENT_LENGTH
    (document,) = read_documents(full, keep_unknown=True)
    assert write_document(document) == full
    with pytest.raises(DocumentError, match=r"^line 5: document exceeds 50000 bytes$"):
        read_documents(TICKETS + full.replace(b"y\n", b"yy\n"), keep_unknown=True)


def test_a_blank_that_is_missing_counts_as_one() -> None:
    """Otherwise a document could be read that is too long to be written."""
    short = END + b"obfsproxy-ips\n"
    full = short + b"later " + b"y" * (MAX_DOCUMENT_LENGTH - len(short) - 7) + b"\n"
    assert len(full) == MAX_DOCUMENT_LENGTH
    with pytest.raises(DocumentError):
        read_documents(full, keep_unknown=True)
    (document,) = read_documents(full.replace(b"yy\n", b"y\n"), keep_unknown=True)
    assert len(write_document(document)) == MAX_DOCUMENT_LENGTH


@given(hit_documents() | st.binary(max_size=100))
def test_an_error_never_quotes_the_text(text: bytes) -> None:
    """Refused text may hold an address or terminal codes: an error has fixed words only."""
    refused = None
    try:
        read_documents(text)
    except DocumentError as error:
        refused = error
    if refused is not None:
        assert re.fullmatch(r"line \d+: [A-Za-z0-9 ,'-]+", str(refused))


# The fuzz target


@given(hit_documents() | st.binary(max_size=100))
@settings(max_examples=300)
def test_the_fuzz_targets_invariant(data: bytes) -> None:
    """Damaged documents and random bytes are parsed or refused, and what is parsed reads and writes the same."""
    fuzz_document.check(data)


@given(st.integers(0, 2**16 - 1), st.integers(0, 255), hit_documents() | st.binary(max_size=30))
def test_the_fuzz_targets_accidents(place: int, lost: int, instead: bytes) -> None:
    """The same for damage to a good file."""
    fuzz_document.check(place.to_bytes(2, "big") + bytes([lost]) + instead)


def test_the_fuzz_targets_good_file_is_good() -> None:
    """The fuzz target damages a good file that has every kind of line."""
    first, second = read_documents(fuzz_document.GOOD_FILE)
    assert None not in (first.ip_country_transports, first.geoip, first.geoip6, second.epsilon, second.instance)
