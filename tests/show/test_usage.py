"""What documents say: every claim is true of the exact numbers, wherever rounding has hidden them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from statistics import median
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.formats.document import Document
from obfstats.show.bands import Band
from obfstats.show.usage import (
    Usage,
    average_by_country,
    average_by_transport,
    find_change,
    find_leaders,
    find_peak,
    find_typical,
    has_majority,
    read_usage,
    whole,
)
from obfstats.show.words import describe_changes, describe_month, describe_peak
from tests.show.bridges import END, publish, publish_day

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COUNTS = st.lists(
    st.dictionaries(st.sampled_from(("IR", "RU", "DE", "US", "??")), st.integers(1, 60), max_size=5),
    min_size=1,
    max_size=30,
)


def usage_of(documents: Sequence[Document]) -> Usage:
    """What documents say that have numbers."""
    usage = read_usage(documents)
    assert usage is not None
    return usage


@given(COUNTS)
def test_the_typical_range_holds_the_exact_numbers_of_two_days_in_three(counts: list[dict[str, int]]) -> None:
    """And the range of countries is exact: rounding up leaves no client out."""
    typical = find_typical(usage_of(publish(counts)).days)
    within = [day for day in counts if typical.lower <= sum(day.values()) <= typical.upper]
    assert len(within) >= typical.days >= len(counts) * 2 / 3
    assert typical.fewest_countries >= min(len(day.keys() - {"??"}) for day in counts)
    assert typical.most_countries <= max(len(day.keys() - {"??"}) for day in counts)


@given(COUNTS)
def test_averages_hold_the_exact_averages(counts: list[dict[str, int]]) -> None:
    """A country that a document does not name had no client."""
    averages = average_by_country(usage_of(publish(counts)).days)
    codes = {code for day in counts for code in day}
    assert set(averages) == codes
    for code in codes:
        exact = sum(day.get(code, 0) for day in counts) / len(counts)
        assert averages[code].lower() <= exact + 1e-9
        assert averages[code].upper() >= exact - 1e-9


@given(COUNTS)
def test_the_country_that_is_named_first_is_first(counts: list[dict[str, int]]) -> None:
    """If one country is said to have the most, or more than all others together, then it has."""
    averages = average_by_country(usage_of(publish(counts)).days)
    exact = {code: sum(day.get(code, 0) for day in counts) for code in averages}
    if not averages:
        return
    leaders = find_leaders(averages)
    assert max(exact, key=lambda code: exact[code]) in {
        *leaders,
        *(c for c in exact if exact[c] == max(exact.values())),
    }
    assert max(exact[code] for code in leaders) == max(exact.values())
    if has_majority(leaders[0], averages):
        assert exact[leaders[0]] * 2 > sum(exact.values())


@given(st.lists(st.integers(0, 90), min_size=12, max_size=40))
def test_a_drop_that_is_reported_is_one(numbers: list[int]) -> None:
    """The exact median has dropped by a quarter and by 8, whatever rounding has hidden; the same for a rise."""
    days = usage_of(publish([{"IR": number} for number in numbers])).days
    change = find_change(days)
    if change is None:
        return
    split = days.index(change.since)
    before, since = median(numbers[:split]), median(numbers[split:])
    fewer, more = (since, before) if change.is_drop else (before, since)
    assert fewer <= min(0.75 * more, more - 8)


def test_a_block_is_found_on_its_day() -> None:
    """Iran loses three quarters; Germany goes on."""
    counts = [{"IR": 60 + day % 5, "DE": 20} for day in range(40)] + [{"IR": 15, "DE": 20} for _ in range(10)]
    days = usage_of(publish(counts)).days
    change = find_change(days, "IR")
    assert change is not None
    assert change.is_drop
    assert days.index(change.since) == 40
    assert find_change(days, "DE") is None
    assert describe_changes(usage_of(publish(counts)), 15)[1:] == [
        ("Iran: less since 19 Nov 2026. A typical day had 57 to 64 before, and 9 to 16 since.", True)
    ]


def test_a_drop_behind_a_gap_may_have_begun_in_it() -> None:
    """No number says on which of these days."""
    counts = [*([{"IR": 60}] * 40), *([None] * 10), *([{"IR": 15}] * 10)]
    sentence, _ = describe_changes(usage_of(publish(counts)), 15)[1]
    assert sentence.startswith("Iran: less since 19 Nov 2026, or since a day without a number before it. A typical")


@given(st.lists(st.integers(0, 90), min_size=1, max_size=40))
def test_the_most_on_a_day_is_between_its_ends(numbers: list[int]) -> None:
    """And on the day that is named, unless other days may have as many."""
    days = usage_of(publish([{"IR": number} for number in numbers])).days
    peak = find_peak(days)
    assert peak.lower <= max(numbers) <= peak.upper
    assert peak.others or numbers[days.index(peak.day)] == max(numbers)


def test_a_peak_is_of_one_day_only_if_that_is_sure() -> None:
    """60 and 58 are published as the same 64."""
    assert describe_peak(find_peak(usage_of(publish([{"IR": 60}, {"IR": 30}])).days)) == "57 to 64, on 27 Nov 2026"
    assert (
        describe_peak(find_peak(usage_of(publish([{"IR": 60}, {"IR": 58}, {"IR": 1}])).days))
        == "57 to 64, on 26 Nov 2026 or 1 other day"
    )
    assert describe_peak(find_peak(usage_of(publish([{"IR": 60}] * 9)).days)) == "57 to 64, on one of 9 days"


def test_a_country_that_has_gone_for_more_than_a_month_is_reported() -> None:
    """It is not among the countries of the last month any more."""
    counts = [{"IR": 60, "DE": 20}] * 40 + [{"DE": 20}] * 40
    assert describe_changes(usage_of(publish(counts)), 15)[1:] == [
        ("Iran: less since 20 Oct 2026. A typical day had 57 to 64 before, and 0 since.", True)
    ]


@pytest.mark.parametrize("days", [1, 2, 4])
def test_a_few_quiet_days_are_no_drop(days: int) -> None:
    """A weekend is not a block."""
    counts = [{"IR": 60}] * 40 + [{"IR": 10}] * days
    assert find_change(usage_of(publish(counts)).days) is None


def test_families_say_more_than_countries() -> None:
    """Twelve countries of 1 to 8 are 12 to 96; that all have IPv4 addresses, rounded once, leaves 41 to 48."""
    document = publish_day(dict.fromkeys(("IR", "RU", "DE", "US", "FR", "NL", "GB", "CN", "TR", "BY", "EG", "IN"), 4))
    (day,) = usage_of([document]).days
    assert (day.all.lower(), day.all.upper()) == (12, 96)
    (day,) = usage_of([replace(document, ip_versions={"v4": 48, "v6": 0})]).days
    assert (day.all.lower(), day.all.upper()) == (41, 48)


def test_both_codes_of_one_country_are_one_row() -> None:
    """Some GeoIP files have UK for a part of GB."""
    averages = average_by_country(usage_of([publish_day({"UK": 3, "GB": 9})]).days)
    assert averages == {"GB": Band(10, 24)}


def test_an_interval_of_a_few_hours_is_no_day() -> None:
    """It is kept for the plot, and for no sentence."""
    usage = usage_of([*publish([{"IR": 30}] * 3), publish_day({"IR": 5}, days_before=-1, seconds=3600)])
    assert [day.is_whole for day in usage.days] == [True, True, True, False]
    assert len(whole(usage.month)) == 3
    only = usage_of([publish_day({"IR": 5}, seconds=3600)])
    assert describe_month(only) == "There are no numbers of a whole day in the last month."


def test_documents_that_overlap_count_once() -> None:
    """The same document twice is the same; another one of the same time is left out and counted."""
    first, second = publish([{"IR": 30}, {"IR": 40}])
    assert usage_of([first, second, second]).overlapping == 0
    other = publish_day({"DE": 9}, seconds=7200)
    usage = usage_of([first, second, other])
    assert (len(usage.days), usage.overlapping) == (2, 1)


def test_the_month_has_thirty_days_and_the_year_365() -> None:
    """Both until the end of the last document, not until now."""
    usage = usage_of(publish([{"IR": 30}] * 400))
    assert (len(usage.month), len(usage.days)) == (30, 365)
    assert usage.days[-1].interval.end == END
    assert usage.days[0].interval.end == END - timedelta(days=364)


def test_connections_are_counted_where_no_document_has_addresses() -> None:
    """Logs of old programs have no addresses; the sentence says connections, and never adds both."""
    documents = [replace(document, ips=None) for document in publish([{"IR": 10}] * 3)]
    assert describe_month(usage_of(documents)).startswith(
        "On all 3 days with numbers in the last month 25 to 32 connections from 1 country reached this bridge"
    )
    usage = usage_of([*documents, publish_day({"IR": 10}, days_before=-1)])
    assert (usage.counts_addresses, len(usage.days), usage.uncounted) == (True, 1, 3)


def test_transports_are_averages_of_the_days_that_have_them() -> None:
    """`--extended` was given later."""
    first, second = publish([{"IR": 30}, {"IR": 40}])
    days = usage_of([first, replace(second, ip_transports={"obfs3": 32, "obfs2": 16})]).days
    assert list(average_by_transport(days).items()) == [("obfs3", Band(25, 32)), ("obfs2", Band(9, 16))]


NOISE = {"IR": 61, "RU": 12, "DE": -2, "US": 3, "??": 0}


@pytest.mark.parametrize(
    ("counts", "when", "what"),
    [
        (
            [{"IR": 44, "DE": 1}] * 30,
            "On all days of the last month",
            "42 to 56 addresses from 2 countries used this bridge; most came from Iran.",
        ),
        (
            [{"IR": 44}] * 25 + [{"IR": 4}] * 5,
            "On most days of the last month",
            "41 to 48 addresses from 1 country used this bridge; all came from Iran.",
        ),
        (
            [{"IR": 20, "DE": 9, "FR": 9}] * 6 + [{"IR": 90}],
            "On most of the 7 days with numbers in the last month",
            "35 to 56 addresses from 3 countries used this bridge; more came from Iran than from any other country.",
        ),
        (
            [{"IR": 9, "DE": 9}],
            "In the 24 hours until 29 Nov 2026, 09:22 UTC,",
            "18 to 32 addresses from 2 countries used this bridge; the most came from Germany or Iran.",
        ),
        (
            [{"IR": 1, "DE": 1, "FR": 1, "US": 1}],
            "In the 24 hours until 29 Nov 2026, 09:22 UTC,",
            "4 to 32 addresses from 4 countries used this bridge; no country stands out.",
        ),
        (
            [{"??": 3}, {"??": 2}],
            "On all 2 days with numbers in the last month",
            "1 to 8 addresses used this bridge; all came from addresses of unknown country.",
        ),
        ([{}] * 30, "On all days of the last month", "no client used this bridge."),
    ],
)
def test_the_sentence(counts: list[Mapping[str, int]], when: str, what: str) -> None:
    """In words, and no more than is sure."""
    assert describe_month(usage_of(publish(counts))) == f"{when} {what}"


def test_the_sentence_with_noise() -> None:
    """The noise of one day hides much, that of a month evens out. How many countries there were is not known."""
    noisy = [Document(document.end, 86_400, epsilon="0.5", ips=NOISE) for document in publish([{}] * 30)]
    assert describe_month(usage_of(noisy)) == (
        "On an average day of the last month this bridge was used by about 72 to 76 addresses; most came from Iran."
    )
    assert describe_month(usage_of(noisy[:1])) == (
        "In the 24 hours until 31 Oct 2026, 09:22 UTC, this bridge was used by about 63 to 85 addresses; "
        "most came from Iran."
    )
