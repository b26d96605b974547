"""The one text form of times, and the interval value."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.formats.interval import Interval, format_time, parse_time

moments = st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.replace(microsecond=0))


@given(moments)
def test_a_time_is_read_as_it_is_written(moment: datetime) -> None:
    """Every second from the year 1 to the year 9999."""
    assert parse_time(format_time(moment)) == moment


@given(st.text(alphabet="0123456789-: TZ+.w", max_size=25) | st.from_regex(r"[0-9]{4}(-[0-9]{2}){2} ([0-9]{2}:?){3}"))
def test_what_is_read_is_written_the_same(text: str) -> None:
    """There is one text for each time: everything else is refused."""
    try:
        moment = parse_time(text)
    except ValueError:
        return
    assert format_time(moment) == text


@pytest.mark.parametrize(
    "text",
    ["2012-02-07 24:00:00", "2012-02-30 00:00:00", "2012-02-07 14:01:60", "2012-02-07T14:01:04", "2012-02-07 14:01",
     "2012-W06-2 14:01:04", "\uff12012-02-07 14:01:04", "0000-01-01 00:00:00", "2012-02-07 14:01:04 "],
)  # fmt: skip
def test_other_forms_are_refused(text: str) -> None:
    """Also those that some versions of Python read."""
    with pytest.raises(ValueError, match="time"):
        parse_time(text)


def test_an_interval_has_a_label_and_an_end() -> None:
    """The ticket's own example lasts 24 hours."""
    interval = Interval.parse("2012-02-07 14:01:04")
    assert interval.label == "2012-02-07 14:01:04"
    assert format_time(interval.end) == "2012-02-08 14:01:04"
    assert Interval.ending(interval.end, interval.seconds) == interval


def test_an_end_after_the_last_year_is_an_error() -> None:
    """Such an interval can be in a log; a document cannot name its end."""
    interval = Interval.parse("9999-12-31 00:00:00")
    with pytest.raises(OverflowError):
        _ = interval.end
