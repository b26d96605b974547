"""What the operator's page says in words. Every sentence is true wherever in their bands the exact numbers are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from obfstats.country_names import country_name
from obfstats.show.bands import Band, total
from obfstats.show.scales import full_date
from obfstats.show.usage import (
    CHANGE_WINDOW,
    average_by_country,
    find_change,
    find_leaders,
    find_typical,
    has_majority,
    stands_out,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from obfstats.show.usage import Change, Day, Peak, Usage

_FULL_MONTH: Final = 28
_MAX_LEADERS: Final = 3
_MAX_OTHER_DAYS: Final = 2
_TINY: Final = 1e-9  # what computing an average may have added or taken
_NO_COUNTRY: Final = {
    "??": "addresses of unknown country",
    "ZZ": "addresses of unknown country",
    "EU": "somewhere in Europe",
    "AP": "somewhere in Asia and the Pacific",
    "A1": "anonymous proxies",
    "A2": "satellite providers",
    "O1": "other countries",
}


def describe_month(usage: Usage) -> str:
    """Say in one sentence how many clients came in the last month, and from where.

    Noise hides what a single day was like, but evens out in an average.
    """
    days = whole(usage.month)
    if not days:
        return "There are no numbers of a whole day in the last month."
    if any(day.epsilon for day in days):
        return _describe_average(usage, days)
    typical = find_typical(days)
    when = _when(days, typical.days, typical.of)
    if not any(day.all.most for day in days):
        return f"{when} no client used this bridge."
    unit, verb = ("addresses", "used") if usage.counts_addresses else ("connections", "reached")
    plural = "country" if typical.most_countries == 1 else "countries"
    countries = (
        f" from {span(typical.fewest_countries, typical.most_countries)} {plural}" if typical.most_countries else ""
    )
    leaders = _describe_leaders(average_by_country(days))
    return f"{when} {span(typical.lower, typical.upper)} {unit}{countries} {verb} this bridge{leaders}."


def _describe_average(usage: Usage, days: Sequence[Day]) -> str:
    unit = "addresses" if usage.counts_addresses else "connections"
    average = total(day.all for day in days) / len(days)
    averages = average_by_country(days)
    leaders = _describe_leaders(averages) if averages else ""
    number = span(average.lower(), average.upper())
    if len(days) == 1:
        return f"In the 24 hours until {full_time(days[0])}, this bridge was used by about {number} {unit}{leaders}."
    when = "the last month" if len(days) >= _FULL_MONTH else f"the {len(days)} days with numbers in the last month"
    return f"On an average day of {when} this bridge was used by about {number} {unit}{leaders}."


def _when(days: Sequence[Day], met: int, of: int) -> str:
    if of == 1:
        return f"In the 24 hours until {full_time(days[0])},"
    if of < _FULL_MONTH:
        which = "all" if met == of else "most of the"
        return f"On {which} {of} days with numbers in the last month"
    return f"On {'all' if met == of else 'most'} days of the last month"


def _describe_leaders(averages: Mapping[str, Band]) -> str:
    """Say which country has the most clients, as far as that is sure."""
    leaders = find_leaders(averages)
    names = [_NO_COUNTRY.get(code) or country_name(code) for code in leaders]
    if len(averages) == 1:
        return f"; all came from {names[0]}"
    if len(leaders) > _MAX_LEADERS:
        return "; no country stands out"
    if len(leaders) > 1:
        return f"; the most came from {', '.join(names[:-1])} or {names[-1]}"
    if has_majority(leaders[0], averages):
        return f"; most came from {names[0]}"
    return f"; more came from {names[0]} than from any other country"


def describe_changes(usage: Usage, top: int) -> list[tuple[str, bool]]:
    """Say since when there are fewer clients, or more: in all, and of the largest countries of the last 90 days.

    Returns:
        Sentences, each with whether it is a drop.
    """
    days = whole(usage.since(CHANGE_WINDOW))
    largest = [code for code, band in average_by_country(days).items() if stands_out(band)][:top] if days else []
    changes = [("In all", find_change(days)), *((sentence_name(code), find_change(days, code)) for code in largest)]
    return [(_describe_change(name, change), change.is_drop) for name, change in changes if change is not None]


def _describe_change(name: str, change: Change) -> str:
    direction = "less" if change.is_drop else "more"
    gap = ", or since a day without a number before it" if change.is_after_gap else ""
    return (
        f"{name}: {direction} since {full_date(change.since.date)}{gap}. A typical day had "
        f"{span(*change.before)} before, and {span(*change.after)} since."
    )


def describe_peak(peak: Peak) -> str:
    """Say how many clients were the most, and on which day, as far as that is sure."""
    if not peak.upper:
        return "0"
    if peak.others > _MAX_OTHER_DAYS:
        return f"{span(peak.lower, peak.upper)}, on one of {peak.others + 1} days"
    others = f" or {peak.others} other {'day' if peak.others == 1 else 'days'}" if peak.others else ""
    return f"{span(peak.lower, peak.upper)}, on {full_date(peak.day.date)}{others}"


def sentence_name(code: str) -> str:
    """Name a country, with a capital letter."""
    name = country_name(code)
    return name[0].upper() + name[1:]


def span(lower: float, upper: float) -> str:
    """Write a range of whole numbers, rounded outwards."""
    first, last = math.floor(lower + _TINY), math.ceil(upper - _TINY)
    return f"{first:,}" if first == last else f"{first:,} to {last:,}"


def fine_span(band: Band) -> str:
    """Write an average's range: with one decimal, rounded outwards, if it ends below 10."""
    if band.upper() >= 10:
        return span(band.lower(), band.upper())
    first, last = math.floor(band.lower() * 10 + _TINY) / 10, math.ceil(band.upper() * 10 - _TINY) / 10
    return f"{first:g}" if first == last else f"{first:g} to {last:g}"


def full_time(day: Day) -> str:
    """Write when an interval ended."""
    end = day.interval.end
    return f"{full_date(end)}, {end:%H:%M} UTC"
