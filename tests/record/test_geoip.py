"""Tor's GeoIP files: what is read, what is skipped, what a look-up gives."""

from __future__ import annotations

import ipaddress
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.record.geoip import parse_v4, parse_v6, search_v4, search_v6
from peers.tors import TOR_GEOIP, TOR_GEOIP6, tor_countries

if TYPE_CHECKING:
    from collections.abc import Callable

    from obfstats.record.geoip import FileSearch, V4Table, V6Table

SEARCHES: dict[int, Callable[[bytes], FileSearch[int] | FileSearch[bytes]]] = {4: search_v4, 6: search_v6}

FAMILIES: dict[int, tuple[int, Callable[[bytes], V4Table | V6Table]]] = {4: (32, parse_v4), 6: (128, parse_v6)}


def written(version: int, number: int) -> str:
    """An address as the files write it."""
    return str(number) if version == 4 else str(ipaddress.IPv6Address(number))


@st.composite
def files(draw: st.DrawFn, version: int) -> tuple[bytes, list[tuple[int, int, str]]]:
    """A file in order without overlaps, and its ranges, crowded so that edges meet."""
    bits = FAMILIES[version][0]
    edges = draw(
        st.lists(
            st.integers(0, 2**bits - 1) | st.sampled_from([0, 2**bits - 1, 2 ** (bits // 2), 2 ** (bits // 2) - 1]),
            unique=True,
            max_size=24,
        )
    )
    edges.sort()
    ranges = [
        (first, last, draw(st.sampled_from(["DE", "tr", "??", "A1", "EU"])))
        for first, last in zip(edges[::2], edges[1::2], strict=False)
    ]
    lines = [f"{written(version, first)},{written(version, last)},{code}\n" for first, last, code in ranges]
    return "".join(lines).encode(), ranges


@pytest.mark.parametrize("version", [4, 6])
@given(data=st.data())
def test_a_lookup_agrees_with_reading_the_file_line_by_line(version: int, data: st.DataObject) -> None:
    """At every range's edges, one beside them, and anywhere; in a table, and in the file itself."""
    text, ranges = data.draw(files(version))
    bits, parse = FAMILIES[version]
    table, search = parse(text), SEARCHES[version](text)
    assert search.has_range == bool(ranges)
    assert (len(table), table.skipped) == (len(ranges), 0)
    asked = {0, 2**bits - 1, data.draw(st.integers(0, 2**bits - 1))}
    for first, last, _ in ranges:
        asked |= {first, last, max(first - 1, 0), min(last + 1, 2**bits - 1)}
    for number in asked:
        expected = next((code for first, last, code in ranges if first <= number <= last), "??")
        packed = number.to_bytes(bits // 8, "big")
        assert table.country(packed) == search.country(packed) == expected.lower()


@given(text=st.binary(max_size=200) | st.text(alphabet='0123456789,"abcdef:\n\r# DE?', max_size=200).map(str.encode))
def test_no_file_is_an_error_and_no_lookup_raises(text: bytes) -> None:
    """Whatever the bytes are, there is a table, and it answers with a code."""
    for number in (0, 1, 2**32 - 1):
        for look_up in (parse_v4, search_v4):
            assert len(look_up(text).country(number.to_bytes(4, "big"))) == 2
        for look_up_v6 in (parse_v6, search_v6):
            assert len(look_up_v6(text).country(number.to_bytes(16, "big"))) == 2


@pytest.mark.parametrize("version", [4, 6])
@given(data=st.data())
def test_order_does_not_matter(version: int, data: st.DataObject) -> None:
    """An unsorted file gives the same as the sorted one."""
    text, ranges = data.draw(files(version))
    parse = FAMILIES[version][1]
    lines = text.splitlines(keepends=True)
    shuffled = parse(b"".join(data.draw(st.permutations(lines))))
    straight = parse(text)
    assert (len(shuffled), shuffled.skipped) == (len(straight), 0)
    for first, last, _ in ranges:
        for number in (first, last):
            packed = number.to_bytes(FAMILIES[version][0] // 8, "big")
            assert shuffled.country(packed) == straight.country(packed)


def test_maxminds_quoted_form_is_read_like_tors_own() -> None:
    """Tor's parser accepts both forms."""
    table = parse_v4(b'"16777216","16777471","AU","AUS","Australia"\n16777472,16777727,CN\n')
    assert (len(table), table.skipped) == (2, 0)
    assert table.country(bytes((1, 0, 0, 255))) == "au"
    assert table.country(bytes((1, 0, 1, 0))) == "cn"


def test_comments_blanks_and_line_ends_of_dos_are_no_mistakes() -> None:
    """As tor reads them."""
    table = parse_v4(b"# a comment\r\n\r\n  16777216,16777471,AU\r\n\n#16777472,16777727,CN")
    assert (len(table), table.skipped) == (1, 0)
    assert table.country(bytes((1, 0, 0, 1))) == "au"


@pytest.mark.parametrize("between", [b"", b"\n", b"# a comment\n" * 9, b"\r\n", b"nonsense\n"])
def test_a_search_of_the_file_passes_over_what_is_no_range(between: bytes) -> None:
    """Before the ranges, between them and after them."""
    lines = [b"%d,%d,D%d\n" % (10 * n, 10 * n + 4, n % 10) for n in range(40)]
    search = search_v4(between + between.join(lines) + between)
    for number in range(400):
        expected = f"d{number // 10 % 10}" if number % 10 <= 4 else "??"
        assert search.country(number.to_bytes(4, "big")) == expected


@pytest.mark.parametrize(
    "line",
    [b"nonsense", b"1,2", b"2,1,DE", b"1,4294967296,DE", b"1,99999999999,DE", b"1,2,DEU", b"1,2,D", b"1,2,\xff\xff"],
)
def test_an_invalid_line_is_skipped_and_counted(line: bytes) -> None:
    """The lines around it count."""
    table = parse_v4(b"0,0,AA\n" + line + b"\n16777216,16777471,AU\n")
    assert (len(table), table.skipped) == (2, 1)


@pytest.mark.parametrize("line", [b"::g,::1,DE", b"1.2.3.4,1.2.3.5,DE", b"::2,::1,DE", b"::1,::2,DEU"])
def test_an_invalid_line_of_geoip6_is_skipped_and_counted(line: bytes) -> None:
    """The lines around it count."""
    table = parse_v6(b"::,::,AA\n" + line + b"\n2001:db8::,2001:db8::ff,JP\n")
    assert (len(table), table.skipped) == (2, 1)


@pytest.mark.parametrize("bad", [b"1,9999999999,XX", b"30,20,XX"])
def test_a_bad_line_in_a_file_out_of_order_takes_no_other_with_it(bad: bytes) -> None:
    """It alone is skipped."""
    table = parse_v4(b"40,50,TR\n" + bad + b"\n10,20,DE\n21,30,FR\n")
    assert (len(table), table.skipped) == (3, 1)
    assert [table.country(number.to_bytes(4, "big")) for number in (15, 25, 45)] == ["de", "fr", "tr"]


def test_many_neighbouring_countries_are_distinguished() -> None:
    """256 of them, as blocks and as single addresses."""
    codes = [f"{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(256)]
    for width in (256, 1):
        lines = [f"{n * width},{n * width + width - 1},{code}\n" for n, code in enumerate(codes)]
        table = parse_v4("".join(lines).encode())
        assert [table.country((n * width).to_bytes(4, "big")) for n in range(256)] == codes
        assert table.country((256 * width).to_bytes(4, "big")) == "??"


def test_a_file_of_many_small_networks_is_read() -> None:
    """70,000 blocks that are all different, more than 16 bits can number."""
    codes = [f"{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(300)]
    ranges = [(block << 8 | 1 + block % 255, block << 8 | 255, codes[block // 255]) for block in range(70_000)]
    table = parse_v4("".join(f"{first},{last},{code}\n" for first, last, code in ranges).encode())
    assert (len(table), table.skipped) == (70_000, 0)
    for first, last, code in ranges[::97] + ranges[-1:]:
        assert table.country(first.to_bytes(4, "big")) == table.country(last.to_bytes(4, "big")) == code
        assert table.country((first - 1).to_bytes(4, "big")) == "??"


def test_of_two_ranges_that_overlap_the_first_counts() -> None:
    """The second is skipped and counted."""
    table = parse_v4(b"10,20,DE\n15,30,FR\n40,50,TR\n")
    assert (len(table), table.skipped) == (2, 1)
    assert [table.country(number.to_bytes(4, "big")) for number in (15, 25, 45)] == ["de", "??", "tr"]


def test_tor_gives_the_same_countries() -> None:
    """The oracle: a real tor, asked for 4,000 addresses over its control port, on the same two files."""
    draw = random.Random(5047)
    edges = [line.split(b",") for line in draw.sample(TOR_GEOIP.read_bytes().splitlines(), 700) if line[:1].isdigit()]
    v4 = [ipaddress.IPv4Address(int(end)) for edge in edges for end in edge[:2]]
    v4 += [ipaddress.IPv4Address(draw.getrandbits(32)) for _ in range(600)]
    lines = [line for line in draw.sample(TOR_GEOIP6.read_bytes().splitlines(), 700) if line[:1].isalnum()]
    v6 = [ipaddress.IPv6Address(end.decode()) for line in lines for end in line.split(b",")[:2]]
    v6 += [ipaddress.IPv6Address(0x2001 << 112 | draw.getrandbits(112)) for _ in range(600)]
    by_tor = tor_countries([str(address) for address in [*v4, *v6]])
    table4, table6 = parse_v4(TOR_GEOIP.read_bytes()), parse_v6(TOR_GEOIP6.read_bytes())
    by_us = [table4.country(address.packed) for address in v4] + [table6.country(address.packed) for address in v6]
    assert by_us == by_tor
    search4, search6 = search_v4(TOR_GEOIP.read_bytes()), search_v6(TOR_GEOIP6.read_bytes())
    assert [search4.country(address.packed) for address in v4] == by_us[: len(v4)]
    assert [search6.country(address.packed) for address in v6] == by_us[len(v4) :]
    assert len(set(by_us)) > 50
