"""The statistics log's line: strict, the same in both directions, and silent about what it refuses."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.formats.logline import (
    LINE_LENGTH,
    MAX_LINE_LENGTH,
    LineError,
    LogLine,
    is_torn,
    parse_line,
    write_line,
)
from tests.formats.lines import EXAMPLE, hit_lines, log_lines, written_lines

TEXT = EXAMPLE.removesuffix(b"\n")
VALUE = LogLine("2012-02-07 14:01:04", "de", "1234567890123456789012345678901234567890")
ENDING = "neither the line's end nor a blank, a transport's name and v4 or v6"
ANY_TEXT = st.text(st.characters(exclude_categories=()))


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
    ("line", "place", "reason"),
    [
        pytest.param(b"", 0, "no date and time", id="nothing"),
        pytest.param(b"\n", 0, "no date and time", id="empty line"),
        pytest.param(b" " + EXAMPLE, 0, "no date and time", id="blank in front"),
        pytest.param(b"\xef\xbb\xbf" + EXAMPLE, 0, "no date and time", id="byte order mark"),
        pytest.param(b"12-02-07 14:01:04 de", 2, "no date and time", id="year of two digits"),
        pytest.param(EXAMPLE.replace(b" 14", b"T14"), 10, "no date and time", id="T for the blank"),
        pytest.param(TEXT[:15], 15, "no date and time", id="torn in the time"),
        pytest.param(EXAMPLE.replace(b"2012", b"0000"), 0, "invalid date or time", id="year 0"),
        pytest.param(EXAMPLE.replace(b"02-07", b"02-30"), 0, "invalid date or time", id="February 30"),
        pytest.param(EXAMPLE.replace(b"02-07", b"13-07"), 0, "invalid date or time", id="month 13"),
        pytest.param(EXAMPLE.replace(b"14:01:04", b"24:00:00"), 0, "invalid date or time", id="24 o'clock"),
        pytest.param(EXAMPLE.replace(b"14:01:04", b"14:60:04"), 0, "invalid date or time", id="minute 60"),
        pytest.param(EXAMPLE.replace(b"14:01:04", b"23:59:60"), 0, "invalid date or time", id="leap second"),
        pytest.param(EXAMPLE.replace(b" de", b"  de"), 20, "no country code", id="two blanks"),
        pytest.param(EXAMPLE.replace(b" de", b"\tde"), 19, "no blank after the date and time", id="tab"),
        pytest.param(EXAMPLE.replace(b"de", b"DE"), 20, "no country code", id="capital country"),
        pytest.param(EXAMPLE.replace(b"de", b"1a"), 20, "no country code", id="country begins with a digit"),
        pytest.param(EXAMPLE.replace(b"de", b"?a"), 21, "no country code", id="half unknown country"),
        pytest.param(EXAMPLE.replace(b"de", b"a?"), 21, "no country code", id="other half unknown"),
        pytest.param(EXAMPLE.replace(b"de", b"d"), 21, "no country code", id="country of one letter"),
        pytest.param(EXAMPLE.replace(b"de", b"deu"), 22, "no blank after the country code", id="three letters"),
        pytest.param(EXAMPLE.replace(b"de", b"\xc3\xa9"), 20, "no country code", id="letter beyond ASCII"),
        pytest.param(EXAMPLE.replace(b"0\n", b"\n"), 62, "no hash", id="39 digits"),
        pytest.param(EXAMPLE.replace(b"0\n", b"00\n"), 63, ENDING, id="41 digits"),
        pytest.param(EXAMPLE.replace(b" 1234", b" A234"), 23, "no hash", id="capital hash"),
        pytest.param(EXAMPLE.replace(b"56", b"\x1b[31m"), 27, "no hash", id="ANSI code"),
        pytest.param(EXAMPLE.replace(b"56", b"\0\0"), 27, "no hash", id="NULs"),
        pytest.param(EXAMPLE.replace(b"56", b"\xff\xfe"), 27, "no hash", id="bad UTF-8"),
        pytest.param(TEXT + b"\r\n", 63, ENDING, id="CRLF"),
        pytest.param(TEXT + b" \n", 63, ENDING, id="blank behind"),
        pytest.param(TEXT + b"\n\n", 63, ENDING, id="two newlines"),
        pytest.param(TEXT + b"\n" + EXAMPLE, 63, ENDING, id="two lines"),
        pytest.param(TEXT + b" v4 v6\n", 63, ENDING, id="two families"),
        pytest.param(TEXT + b" v4 obfs3\n", 63, ENDING, id="columns the wrong way round"),
        pytest.param(TEXT + b" obfs3 obfs2\n", 63, ENDING, id="two transports"),
        pytest.param(TEXT + b" obfs3 v5\n", 63, ENDING, id="no such family"),
        pytest.param(TEXT + b" 3obfs\n", 63, ENDING, id="transport begins with a digit"),
        pytest.param(TEXT + b" " + b"x" * 33 + b"\n", 63, ENDING, id="long transport"),
        pytest.param(TEXT + b" <XX>\n", 63, ENDING, id="no such mark"),
    ],
)
def test_damage_is_refused_with_its_place_and_reason(line: bytes, place: int, reason: str) -> None:
    """Who repairs a log learns which byte is wrong, and what was expected there."""
    with pytest.raises(LineError) as raised:
        parse_line(line)
    assert (raised.value.offset, raised.value.reason) == (place, reason)
    assert str(raised.value) == f"byte {place + 1}: {reason}"


@given(hit_lines() | st.binary(max_size=150))
def test_an_error_never_quotes_the_line(line: bytes) -> None:
    """A damaged line may hold anything, an address or a terminal's codes: the error is made of fixed texts alone."""
    fixed = rf"byte \d+: (no (blank after the )?(date and time|country code|hash)|invalid date or time|{ENDING})"
    refused = None
    try:
        parse_line(line)
    except LineError as error:
        refused = error
    if refused is not None:
        assert re.fullmatch(fixed, str(refused))
        assert 0 <= refused.offset <= len(line)


@given(written_lines(), st.data())
def test_every_beginning_of_a_line_may_be_cut_short(line: bytes, data: st.DataObject) -> None:
    """A write that was torn anywhere leaves something that is recognised."""
    assert is_torn(line[: data.draw(st.integers(0, len(line) - 1), label="torn at")])


@given(hit_lines() | st.binary(max_size=5))
def test_a_beginning_of_a_beginning_may_be_cut_short(line: bytes) -> None:
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
def test_what_cannot_become_a_line_is_not_cut_short(line: bytes) -> None:
    """Something else than a torn line is not taken for one."""
    assert not is_torn(line)


@pytest.mark.parametrize("family", [None, "v4", "v6"])
@pytest.mark.parametrize("transport", ["v4", "v6"])
def test_a_transport_is_never_called_like_a_family(transport: str, family: str | None) -> None:
    """Otherwise nobody could tell which column is missing."""
    with pytest.raises(LineError):
        write_line(replace(VALUE, transport=transport, family=family))


@pytest.mark.parametrize(
    "line",
    [
        replace(VALUE, start="2012-02-30 14:01:04"),
        replace(VALUE, start="2012-02-07 24:00:00"),
        replace(VALUE, start="2012-02-07 14:01:04\n2012-02-07 14:01:04"),
        replace(VALUE, country="DE"),
        replace(VALUE, country=""),
        replace(VALUE, country="de\n"),
        replace(VALUE, country="é"),
        replace(VALUE, country="\udcff"),
        replace(VALUE, hash="192.0.2.7"),
        replace(VALUE, hash=VALUE.hash + " obfs3"),
        replace(VALUE, hash=VALUE.hash + "\n"),
        replace(VALUE, transport=""),
        replace(VALUE, transport="obfs3 v4"),
        replace(VALUE, transport="obfs3\n"),
        replace(VALUE, family="v5"),
        replace(VALUE, family="obfs3"),
        replace(VALUE, family=""),
    ],
)
def test_nothing_is_written_that_could_not_be_read_again(line: LogLine) -> None:
    """A field that is not of the grammar, or that holds another one, is refused."""
    with pytest.raises(LineError):
        write_line(line)


@given(st.builds(LogLine, *[ANY_TEXT | st.sampled_from((VALUE.start, "de", VALUE.hash, "obfs3", "v4"))] * 5))
def test_whatever_the_fields_hold_is_refused_or_read_again(line: LogLine) -> None:
    """No text in any field makes a line that reads as something else."""
    try:
        written = write_line(line)
    except LineError:
        return
    assert parse_line(written) == line
