"""The statistics log's line: strict, the same in both directions, and silent about what it refuses."""

from __future__ import annotations

from dataclasses import replace
from random import Random  # noqa: TC003 - Hypothesis reads the annotation

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.formats.logline import (
    ENTRY_COUNTRY,
    ENTRY_HASH,
    ENTRY_OFFSET,
    ENTRY_SUFFIX,
    LINE_LENGTH,
    MAX_LINE_LENGTH,
    LineError,
    LogLine,
    is_torn,
    is_transport_name,
    parse_line,
    write_lines,
)
from tests.formats.lines import EXAMPLE, hit_lines, log_lines, write_line, written_lines

TEXT = EXAMPLE.removesuffix(b"\n")
VALUE = LogLine("2012-02-07 14:01:04", "de", "1234567890123456789012345678901234567890")
BEGINNING = "it does not begin with a date, a time and a country"
HASH = "it has no hash of 40 hexadecimal digits"
ENDING = "what follows the hash is neither a transport nor v4 or v6"


def test_the_tickets_example_is_a_line_of_64_bytes() -> None:
    """Step 5 of the ticket shows a line; ours is that line."""
    assert len(EXAMPLE) == LINE_LENGTH == 64
    assert parse_line(EXAMPLE) == VALUE
    assert write_line(VALUE) == EXAMPLE


@given(log_lines())
def test_what_is_written_is_read_again(line: LogLine) -> None:
    """From a value to bytes and back nothing changes."""
    assert parse_line(write_line(line)) == line


@given(hit_lines())
def test_what_is_read_is_written_again(line: bytes) -> None:
    """From bytes to a value and back nothing changes; whatever would change is refused."""
    try:
        value = parse_line(line)
    except LineError:
        return
    assert write_line(value) == line.removesuffix(b"\n") + b"\n"


@given(log_lines())
def test_no_line_is_longer_than_promised(line: LogLine) -> None:
    """Readers may stop at MAX_LINE_LENGTH."""
    assert LINE_LENGTH <= len(write_line(line)) <= MAX_LINE_LENGTH


def test_the_longest_line_is_as_long_as_promised() -> None:
    """MAX_LINE_LENGTH is not more than is needed."""
    assert len(write_line(replace(VALUE, transport="x" * 32, family="v6"))) == MAX_LINE_LENGTH


@pytest.mark.parametrize(
    ("end", "transport", "family"),
    [
        (b" obfs3", "obfs3", None),
        (b" v6", None, "v6"),
        (b" obfs3 v4", "obfs3", "v4"),
        (b" <OR> v4", "<OR>", "v4"),
        (b" <??>", "<??>", None),
        (b" v", "v", None),
        (b" v44", "v44", None),
    ],
)
def test_further_columns_stand_alone_or_together(end: bytes, transport: str | None, family: str | None) -> None:
    """Each of the two may be missing, and which one it is can be seen."""
    assert parse_line(TEXT + end + b"\n") == replace(VALUE, transport=transport, family=family)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param(b"", BEGINNING, id="nothing"),
        pytest.param(b"\n", BEGINNING, id="empty line"),
        pytest.param(b" " + EXAMPLE, BEGINNING, id="blank in front"),
        pytest.param(b"\xef\xbb\xbf" + EXAMPLE, BEGINNING, id="byte order mark"),
        pytest.param(b"12-02-07 14:01:04 de", BEGINNING, id="year of two digits"),
        pytest.param(EXAMPLE.replace(b" 14", b"T14"), BEGINNING, id="T for the blank"),
        pytest.param(TEXT[:15], BEGINNING, id="torn in the time"),
        pytest.param(EXAMPLE.replace(b"2012", b"0000"), BEGINNING, id="year 0"),
        pytest.param(EXAMPLE.replace(b"02-07", b"02-30"), BEGINNING, id="February 30"),
        pytest.param(EXAMPLE.replace(b"02-07", b"13-07"), BEGINNING, id="month 13"),
        pytest.param(EXAMPLE.replace(b"14:01:04", b"24:00:00"), BEGINNING, id="24 o'clock"),
        pytest.param(EXAMPLE.replace(b"14:01:04", b"14:60:04"), BEGINNING, id="minute 60"),
        pytest.param(EXAMPLE.replace(b"14:01:04", b"23:59:60"), BEGINNING, id="leap second"),
        pytest.param(EXAMPLE.replace(b" de", b"  de"), BEGINNING, id="two blanks"),
        pytest.param(EXAMPLE.replace(b" de", b"\tde"), BEGINNING, id="tab"),
        pytest.param(EXAMPLE.replace(b"de", b"DE"), BEGINNING, id="capital country"),
        pytest.param(EXAMPLE.replace(b"de", b"1a"), BEGINNING, id="country begins with a digit"),
        pytest.param(EXAMPLE.replace(b"de", b"?a"), BEGINNING, id="half unknown country"),
        pytest.param(EXAMPLE.replace(b"de", b"a?"), BEGINNING, id="other half unknown"),
        pytest.param(EXAMPLE.replace(b"de", b"d"), BEGINNING, id="country of one letter"),
        pytest.param(EXAMPLE.replace(b"de", b"deu"), BEGINNING, id="three letters"),
        pytest.param(EXAMPLE.replace(b"de", b"\xc3\xa9"), BEGINNING, id="letter beyond ASCII"),
        pytest.param(EXAMPLE.replace(b"0\n", b"\n"), HASH, id="39 digits"),
        pytest.param(EXAMPLE.replace(b"0\n", b"00\n"), ENDING, id="41 digits"),
        pytest.param(EXAMPLE.replace(b" 1234", b" A234"), HASH, id="capital hash"),
        pytest.param(EXAMPLE.replace(b"56", b"\x1b[31m"), HASH, id="ANSI code"),
        pytest.param(EXAMPLE.replace(b"56", b"\0\0"), HASH, id="NULs"),
        pytest.param(EXAMPLE.replace(b"56", b"\xff\xfe"), HASH, id="bad UTF-8"),
        pytest.param(TEXT + b"\r\n", ENDING, id="CRLF"),
        pytest.param(TEXT + b" \n", ENDING, id="blank at the end"),
        pytest.param(TEXT + b"\n\n", ENDING, id="two newlines"),
        pytest.param(TEXT + b"\n" + EXAMPLE, ENDING, id="two lines"),
        pytest.param(TEXT + b" v4 v6\n", ENDING, id="two families"),
        pytest.param(TEXT + b" v4 obfs3\n", ENDING, id="columns the wrong way round"),
        pytest.param(TEXT + b" obfs3 obfs2\n", ENDING, id="two transports"),
        pytest.param(TEXT + b" obfs3 v5\n", ENDING, id="no such family"),
        pytest.param(TEXT + b" 3obfs\n", ENDING, id="transport begins with a digit"),
        pytest.param(TEXT + b" " + b"x" * 33 + b"\n", ENDING, id="long transport"),
        pytest.param(TEXT + b" <XX>\n", ENDING, id="no such mark"),
    ],
)
def test_damage_is_refused_with_its_reason(line: bytes, reason: str) -> None:
    """The operator who repairs a log learns which part of the line is wrong."""
    with pytest.raises(LineError) as raised:
        parse_line(line)
    assert str(raised.value) == reason


@given(hit_lines() | st.binary(max_size=150))
def test_an_error_never_quotes_the_line(line: bytes) -> None:
    """A damaged line may hold anything, an address or a terminal's codes: the error is one of three fixed texts."""
    refused = ""
    try:
        parse_line(line)
    except LineError as error:
        refused = str(error)
    assert refused in {"", BEGINNING, HASH, ENDING}


@given(written_lines(), st.data())
def test_every_beginning_of_a_line_may_be_torn(line: bytes, data: st.DataObject) -> None:
    """A write that was torn anywhere leaves something that is recognised."""
    assert is_torn(line[: data.draw(st.integers(0, len(line) - 1), label="torn at")])


@given(hit_lines() | st.binary(max_size=5))
def test_a_beginning_of_a_beginning_may_be_torn(line: bytes) -> None:
    """Whatever may be a torn line may be one as well that was torn a byte earlier."""
    assert not is_torn(line) or is_torn(line[:-1])


@pytest.mark.parametrize(
    "line",
    [
        b"x", b" ", b"\0", b"\n", b"SQLite format 3", b"20120", b"2012-13", b"2012-02-3", b"2012-04-31", b"0000",
        b"2012-02-07 24", b"2012-02-07 14:6", TEXT[:20] + b"9", TEXT[:20] + b"?a", TEXT[:20] + b"a?",
        TEXT[:20] + b"deu", TEXT[:40] + b"G", TEXT[:40] + b"\0\0\0", EXAMPLE, TEXT + b"0", TEXT + b"\r", TEXT + b"  ",
        TEXT + b" v4 ", TEXT + b" v4 v", TEXT + b" <X", TEXT + b" <OR> o", TEXT + b" \x1b[31m", TEXT + b" obfs3\0",
        TEXT + b" " + b"x" * 33,
    ],
)  # fmt: skip
def test_what_cannot_become_a_line_is_not_torn(line: bytes) -> None:
    """Something else than a torn line is not taken for one."""
    assert not is_torn(line)


@pytest.mark.parametrize("transport", ["v4", "v6", "", "obfs3 v4", "obfs3\n", "3obfs", "é", "x" * 33])
def test_a_writer_can_tell_which_transport_names_a_line_may_have(transport: str) -> None:
    """A transport that is called like a family, or that holds another column, would not be read again."""
    assert not is_transport_name(transport)


@given(st.lists(log_lines(), max_size=5), st.randoms())
def test_lines_are_written_sorted(lines: list[LogLine], random: Random) -> None:
    """An interval's lines are the same bytes in every order, and the ones that were written."""
    entries = [write_line(replace(line, start=VALUE.start))[ENTRY_OFFSET:-1].decode() for line in lines or [VALUE]]
    written = write_lines(VALUE.start, entries)
    assert sorted(written.splitlines(keepends=True)) == written.splitlines(keepends=True)
    random.shuffle(entries)
    assert write_lines(VALUE.start, entries) == written
    assert sorted(line[ENTRY_OFFSET:-1].decode() for line in written.splitlines(keepends=True)) == sorted(entries)


def test_an_entrys_parts_are_those_of_its_line() -> None:
    """Entries and whole lines have their fields at the same bytes."""
    entry = write_line(replace(VALUE, transport="obfs3", family="v4"))[ENTRY_OFFSET:-1].decode()
    assert (entry[ENTRY_COUNTRY], entry[ENTRY_HASH], entry[ENTRY_SUFFIX]) == ("de", VALUE.hash, " obfs3 v4")
