"""The operator's page: what one bridge's documents say, on one screen, and the last year below. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby, pairwise
from statistics import median
from typing import TYPE_CHECKING, Final

from obfstats.country_names import country_name
from obfstats.show.bands import Band, total
from obfstats.show.pages import render
from obfstats.show.plots import draw_plot
from obfstats.show.scales import full_date, month_and_year, short_date
from obfstats.show.usage import (
    CHANGE_WINDOW,
    LEAST_DAYS,
    MONTH,
    YEAR,
    average_by_country,
    average_by_transport,
    find_peak,
    read_usage,
    stands_out,
    whole,
)
from obfstats.show.words import (
    describe_changes,
    describe_month,
    describe_peak,
    fine_span,
    full_time,
    sentence_name,
    span,
)
from obfstats.show.world import CLIENTS_A_DAY, draw_world, load_world

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from obfstats.formats.document import Document
    from obfstats.show.usage import Day, Usage

TOP: Final = 15
"""Countries that are named; the others are one row."""

_MAX_GAPS: Final = 5
_STALE: Final = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Bar:
    """A row of a ranking.

    Attributes:
        name: of what is ranked.
        text: its number in words.
        sure: length of the bar that is sure, in percent.
        unsure: length of the rest, in percent.
    """

    name: str
    text: str
    sure: int
    unsure: int


def render_operator_page(documents: Sequence[Document], unreadable: int, now: datetime) -> str:
    """Make the page.

    Args:
        documents: of one bridge, each with an interval.
        unreadable: files that are no documents.
        now: the time, in UTC; the page depends on it only if the last document is two days old.
    """
    usage = read_usage(documents)
    if usage is None:
        return render("nothing.html", documents=len(documents), unreadable=unreadable)
    days = whole(usage.month)
    averages = average_by_country(days) if days else {}
    end = usage.days[-1].interval.end
    has_year = usage.days[0] is not usage.month[0]
    return render(
        "operator.html",
        fingerprint=usage.fingerprint,
        instance=usage.instance,
        until=full_time(usage.days[-1]),
        since=full_date(usage.days[0].date),
        unit="addresses" if usage.counts_addresses else "connections",
        sentence=describe_month(usage),
        changes=describe_changes(usage, TOP),
        can_tell=len(whole(usage.since(CHANGE_WINDOW))) >= LEAST_DAYS,
        least_days=LEAST_DAYS,
        stale_since=full_date(end) if now - end > _STALE else "",
        month=_draw(usage, usage.month, MONTH, "month", "the last 30 days"),
        month_rows=[_describe_row(day) for day in reversed(usage.month)],
        year=_draw(usage, usage.days, min(YEAR, end - usage.days[0].interval.start), "year", "the last year")
        if has_year
        else None,
        year_rows=[_describe_row(day) for day in reversed(usage.days)] if has_year else [],
        months=_list_months(whole(usage.days)),
        peak=describe_peak(find_peak(year)) if (year := whole(usage.days)) else "",
        countries=_rank_countries(averages, TOP),
        all_countries=_rank_countries(averages, len(averages)) if sum(map(stands_out, averages.values())) > TOP else [],
        world=load_world(),
        map=draw_world(
            {code: band.most for code, band in averages.items() if stands_out(band)},
            lambda code: f"{country_name(code)}: {_describe_country(averages, code)}",
        ),
        legend=_list_classes(),
        map_description=_describe_map(averages),
        transport_days=sum(day.transports is not None for day in days),
        transports=_rank({name: (name, band) for name, band in average_by_transport(days).items()}),
        epsilons=sorted({day.epsilon for day in usage.days if day.epsilon}, key=float),
        has_rounding=any(day.epsilon is None for day in usage.days),
        whole_days=len(days),
        partial_days=len(usage.days) - len(whole(usage.days)),
        max_gaps=_MAX_GAPS,
        ipv6_prefix=usage.ipv6_prefix,
        overlapping=usage.overlapping,
        uncounted=usage.uncounted,
        unreadable=unreadable,
    )


def _draw(usage: Usage, days: Sequence[Day], window: timedelta, name: str, when: str) -> object:
    unit = "addresses" if usage.counts_addresses else "connections"
    earlier = usage.days[: len(usage.days) - len(days)][-1:]
    return draw_plot(
        days,
        window,
        lambda day: f"{_describe_date(day)}: {span(day.all.lower(), day.all.upper())} {unit}",
        earlier,
        smooth=7 if name == "year" else 1,
        name=name,
        title=f"{unit.capitalize()} a day in {when}",
        description=f"The most: {describe_peak(find_peak(days))}. The table below has all numbers.",
    )


def _describe_date(day: Day) -> str:
    date = full_date(day.date)
    return date if day.is_whole else f"{date} ({day.interval.seconds / 3600:.1f} hours)"


def _describe_row(day: Day) -> tuple[str, str, str, str]:
    """Say of a day: when it ended, how long it was, how many clients, and how many countries."""
    length = "24 h" if day.is_whole else f"{day.interval.seconds / 3600:.1f} h"
    countries = "" if day.epsilon else str(day.known_countries)
    return f"{day.interval.end:%Y-%m-%d %H:%M}", length, span(day.all.lower(), day.all.upper()), countries


def _list_months(days: Sequence[Day]) -> list[tuple[str, int, str, str]]:
    """Say of each month: its name, days with numbers, a typical day, and the most; the last month first."""
    rows = []
    for _, group in groupby(days, key=lambda day: (day.date.year, day.date.month)):
        month = list(group)
        peak = find_peak(month)
        typical = span(median(day.all.lower() for day in month), median(day.all.upper() for day in month))
        when = f"one of {peak.others + 1} days" if peak.others else short_date(peak.day.date)
        most = f"{span(peak.lower, peak.upper)} ({when})" if peak.upper else "0"
        rows.append((month_and_year(peak.day.date), len(month), typical, most))
    return rows[::-1]


def _describe_country(averages: Mapping[str, Band], code: str) -> str:
    if code not in averages:
        return "0"
    return fine_span(averages[code]) if stands_out(averages[code]) else "not told apart from 0"


def _describe_map(averages: Mapping[str, Band]) -> str:
    first = [f"{country_name(code)} {fine_span(band)}" for code, band in averages.items() if stands_out(band)][:3]
    return f"Averages of the last 30 days; the most: {', '.join(first)}." if first else "No country has any."


def _list_classes() -> list[tuple[int, str]]:
    ends = CLIENTS_A_DAY
    between = [(number, f"{low} to {high}") for number, (low, high) in enumerate(pairwise(ends), 2)]
    return [(0, "0"), (1, f"less than {ends[0]}"), *between, (len(ends) + 1, f"more than {ends[-1]}")]


def _rank_countries(averages: Mapping[str, Band], top: int) -> list[Bar]:
    """Rank the countries that surely have clients; the others are one row."""
    named = [code for code, band in averages.items() if stands_out(band)][:top]
    others = [code for code in averages if code not in named]
    rows = {code: (sentence_name(code), averages[code]) for code in named}
    if others:
        rows["others"] = (f"Others ({len(others)})", total(averages[code] for code in others))
    return _rank(rows)


def _rank(rows: Mapping[str, tuple[str, Band]]) -> list[Bar]:
    longest = max((band.upper() for _, band in rows.values()), default=0)
    bars = []
    for name, band in rows.values():
        lower, upper = _percent(band.lower(), longest), _percent(band.upper(), longest)
        bars.append(Bar(name, fine_span(band), lower, upper - lower))
    return bars


def _percent(number: float, whole: float) -> int:
    return round(100 * number / whole) if whole else 0
