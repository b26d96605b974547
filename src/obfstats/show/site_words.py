"""What the public site says in words: sentences of levels, changes and events, and the monthly report."""

from __future__ import annotations

import calendar
import math
import re
from datetime import date, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from obfstats.country_names import country_name
from obfstats.show.levels import Change, average
from obfstats.show.results import ALL
from obfstats.show.scales import full_date, short_date
from obfstats.show.timelines import write_number, write_range
from obfstats.show.usage import NO_COUNTRIES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from obfstats.show.levels import Level
    from obfstats.show.results import Event, Key, Results

NO_TRANSPORT: Final = "<OR>"
_WITH_ARTICLE = re.compile(
    r"(United |Netherlands|Philippines|Bahamas|Gambia|Maldives|Seychelles|Comoros|Vatican|Caribbean|Soviet)"
    r"|.*(Republic$| Islands$| Territor)"
)
_TIMES, _MINUS, _PLUS_MINUS = "\u00d7", "\u2212", "\u00b1"
_MOST_ROWS: Final = 5
_SHORT_OF_DOUBLE: Final = 3
_LEAST_CHANGE: Final = 0.1


def key_name(key: Key) -> str:
    """Name a series."""
    country, transport = key
    if transport:
        return "no transport (plain)" if transport == NO_TRANSPORT else transport
    return country_name(country)


def title_name(key: Key) -> str:
    """Name a series, with a capital letter unless it is a transport, whose name is as it is."""
    name = key_name(key)
    return name if key[1] else name[0].upper() + name[1:]


def name_in_text(key: Key) -> str:
    """Name a series within a sentence."""
    name = key_name(key)
    if key[1]:
        return f"connections with {name}"
    return f"the {name}" if _WITH_ARTICLE.match(name) else name


def is_country(key: Key) -> bool:
    """Tell whether a series is of a real country."""
    return bool(key[0]) and not key[1] and key[0].upper() not in NO_COUNTRIES


def short_change(change: Change | None) -> str:
    """Write a change in a few characters; in brackets if it may be none."""
    if change is None:
        return ""
    if math.isinf(change.ratio):
        text = "new"
    elif change.ratio >= _SHORT_OF_DOUBLE:
        text = f"{_TIMES} {change.ratio:,.1f}"
    else:
        # Only what is gone has fallen by 100 %.
        number = max(round(100 * (change.ratio - 1)), -99 if change.ratio else -100)
        text = f"{_MINUS if number < 0 else '+' if number else _PLUS_MINUS}{abs(number)}\u00a0%"
    return text if change.is_sure else f"({text})"


def long_change(change: Change | None, before: str, *, preposition: str = "") -> str:
    """Say what a change is.

    Args:
        change: None if there is nothing to compare with.
        before: what it is compared with: "four weeks before" or "May 2026".
        preposition: before that, where it is a time: "in ".
    """
    if change is None:
        return f"there are too few numbers of {before} to compare"
    if not change.is_sure:
        return f"no sure change from {before}"
    if math.isinf(change.ratio):
        return f"none {preposition}{before}"
    if change.ratio >= _SHORT_OF_DOUBLE:
        return f"{change.ratio:,.1f} times as many as {preposition}{before}"
    number = percent(abs(change.ratio - 1))
    return f"{number} {'fewer' if change.is_drop else 'more'} than {preposition}{before}"


def percent(share: float) -> str:
    """Write a share in percent; no line ends before the sign."""
    if 0 < share < 0.01:
        return "less than 1\u00a0%"
    return "more than 99\u00a0%" if 0.99 < share < 1 else f"{100 * share:.0f}\u00a0%"


def long_level(level: Level) -> str:
    """Write an average with its interval."""
    return f"{write_number(level.value)} ({write_range(level.lower, level.upper)})"


def count_users(number: float) -> str:
    """Write a number of users and the word."""
    text = write_number(number)
    return f"{text} user" if text == "1" else f"{text} users"


def describe_events(events: Sequence[Event]) -> str:
    """Say what happened to a series in a time, event by event."""
    sentences = []
    for place, event in enumerate(events):
        verb = "dropped" if event.is_drop else "rose"
        where = "" if place else _where(event.key)
        sentences.append(
            f"{'Then usage' if place else 'Usage'} {verb}{where} on {short_date(event.date)}: "
            f"{count_users(event.value)}, where {write_range(event.expected_lower, event.expected_upper)} were "
            "expected."
        )
    reported = list(dict.fromkeys(event.annotations for event in events if event.annotations))
    if reported:
        sentences.append(f"Reported of that time: {' / '.join(text.rstrip('.') for text in reported)}.")
    return " ".join(sentences)


def _where(key: Key) -> str:
    if key == ALL:
        return " in all countries together"
    return f" of {key_name(key)}" if key[1] else f" in {name_in_text(key)}"


class Month(NamedTuple):
    """A month of the results.

    Attributes:
        start: its first day.
        end: its last day with results.
    """

    start: date
    end: date

    @property
    def name(self) -> str:
        """Its name in words."""
        return f"{calendar.month_name[self.start.month]} {self.start.year}"

    @property
    def path(self) -> str:
        """Its name in a path."""
        return f"{self.start:%Y-%m}"

    @property
    def is_whole(self) -> bool:
        """Whether it has ended."""
        return (self.end + timedelta(days=1)).month != self.start.month


def list_months(results: Results) -> list[Month]:
    """List the months of the results, the first one first."""
    months = []
    start = results.first.replace(day=1)
    while start <= results.last:
        following = (start + timedelta(days=31)).replace(day=1)
        months.append(Month(start, min(following - timedelta(days=1), results.last)))
        start = following
    return months


class Paragraph(NamedTuple):
    """A paragraph of a report, and the heading before it, if it has one."""

    heading: str
    text: str


def write_report(results: Results, month: Month, earlier: Month | None) -> list[Paragraph]:
    """Write a month's report.

    Args:
        results: of the site.
        month: which month.
        earlier: the month before, if the results have it.
    """
    changes = {key: _compare(results, key, month, earlier) for key in results.users}
    total = _level(results, ALL, month)
    if total is None:
        return [Paragraph("", f"There are too few numbers of {month.name} for a report.")]
    countries = {key: pair for key, pair in changes.items() if is_country(key)}
    transports = {key: pair for key, pair in changes.items() if key[1] and not key[0]}
    paragraphs = [
        Paragraph("", " ".join(_describe_total(results, month, earlier, total, changes[ALL]))),
        Paragraph("Countries", " ".join(_describe_parts(results, month, earlier, total, countries))),
        Paragraph("Transports", " ".join(_describe_parts(results, month, earlier, total, transports))),
    ]
    events = sorted(
        (event for event in results.events if event.detector == "obfstats" and month.start <= event.date <= month.end),
        key=lambda event: (event.key, event.date),
    )
    for place, (_, group) in enumerate(groupby(events, key=lambda event: event.key)):
        paragraphs.append(Paragraph("" if place else "Events", describe_events(list(group))))
    if not events:
        paragraphs.append(Paragraph("Events", "No drop or rise was larger than what the past let expect."))
    paragraphs += _describe_annotations(results, month)
    paragraphs += _describe_series(results, month)
    return [paragraph for paragraph in paragraphs if paragraph.text]


def _level(results: Results, key: Key, month: Month | None) -> Level | None:
    if month is None:
        return None
    return average(results.users[key], results.index(month.start), results.index(month.end) + 1)


def _compare(results: Results, key: Key, month: Month, earlier: Month | None) -> Change | None:
    before, after = _level(results, key, earlier), _level(results, key, month)
    return None if before is None or after is None else Change(before, after)


def _describe_total(
    results: Results, month: Month, earlier: Month | None, total: Level, change: Change | None
) -> Iterator[str]:
    until = "" if month.is_whole else f" (until {short_date(month.end)}; the month is not over)"
    yield f"On average {long_level(total)} users reached Tor through bridges in {month.name}{until}."
    if earlier is not None:
        text = long_change(change, earlier.name, preposition="in ")
        yield f"That is {text}." if change is not None and change.is_sure else f"There is {text}." if change else ""
    values = results.users[ALL].values
    days = [
        index
        for index in range(max(results.index(month.start), 0), results.index(month.end) + 1)
        if not math.isnan(values[index])
    ]
    most, least = max(days, key=lambda index: values[index]), min(days, key=lambda index: values[index])
    if most != least:
        high, low = (results.first + timedelta(days=index) for index in (most, least))
        yield (
            f"The estimate of a day was highest on {short_date(high)}, {write_number(values[most])}, and lowest on "
            f"{short_date(low)}, {write_number(values[least])}."
        )
    running = [results.bridges[day].running for day in _days(month) if day in results.bridges]
    running = [number for number in running if not math.isnan(number)]
    reporting = [results.bridges[day].reporting for day in _days(month) if day in results.bridges]
    reporting = [number for number in reporting if not math.isnan(number)]
    if running and reporting:
        yield (
            f"{write_number(sum(running) / len(running))} bridges ran at a time, and "
            f"{write_number(sum(reporting) / len(reporting))} of them reported."
        )


def _days(month: Month) -> list[date]:
    return [month.start + timedelta(days=day) for day in range((month.end - month.start).days + 1)]


def _describe_parts(
    results: Results, month: Month, earlier: Month | None, total: Level, changes: Mapping[Key, Change | None]
) -> Iterator[str]:
    levels = {key: level for key in changes if (level := _level(results, key, month)) is not None and level.value}
    largest = sorted(levels, key=lambda key: (-levels[key].value, key))[:_MOST_ROWS]
    if not largest or not total.value:
        return
    shares = [f"{_part_name(key)} ({percent(levels[key].value / total.value)})" for key in largest]
    what = "came from" if largest[0][0] else "used"
    yield f"The most users {what} {join_words(shares)}."
    if earlier is None or not any(changes.values()):
        return
    sure = [
        (key, change)
        for key, change in changes.items()
        if change is not None and change.is_sure and abs(change.ratio - 1) >= _LEAST_CHANGE
    ]
    sure.sort(key=lambda item: (-abs(item[1].after.value - item[1].before.value), item[0]))
    parts = []
    for verb, chosen in (
        ("fell", [item for item in sure if item[1].is_drop][:_MOST_ROWS]),
        ("rose", [item for item in sure if item[1].is_rise][:_MOST_ROWS]),
    ):
        if chosen:
            names = [
                f"{_part_name(key)} (from {write_number(change.before.value)} to {write_number(change.after.value)}, "
                f"{short_change(change)})"
                for key, change in chosen
            ]
            parts.append(f"{verb} in {join_words(names)}" if chosen[0][0][0] else f"of {join_words(names)} {verb}")
    if parts:
        yield f"Compared with {earlier.name}, usage {join_words(parts)}."
    else:
        what = "country" if largest[0][0] else "transport"
        yield f"No {what} changed surely by a tenth or more from {earlier.name}."


def _part_name(key: Key) -> str:
    return key_name(key) if key[1] else name_in_text(key)


def join_words(words: Sequence[str]) -> str:
    """Join words with commas and an "and"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _describe_annotations(results: Results, month: Month) -> Iterator[Paragraph]:
    """Say what is known to have begun in a month."""
    heading = "Reported"
    for annotation in results.annotations:
        if month.start <= annotation.start <= month.end:
            places = [name_in_text((place, "")) for place in sorted(annotation.places)]
            where = f", {join_words(places)}" if places else ""
            until = ""
            if annotation.end is None:
                until = ", ongoing"
            elif annotation.end != annotation.start:
                until = f" to {full_date(annotation.end)}"
            about = "About " if annotation.is_approximate else ""
            text = f"{about}{full_date(annotation.start)}{until}{where}: {annotation.description.rstrip('.')}."
            yield Paragraph(heading, text)
            heading = ""


def _describe_series(results: Results, month: Month) -> Iterator[Paragraph]:
    """Say what is to be known of the numbers: breaks and missing days."""
    texts = [
        f"From {short_date(day)} on most reports are of a tor that counts completed answers only. The estimate of Tor "
        "Metrics breaks there; the one on this page counts all answers on both sides of that day."
        for day in results.breaks
        if month.start <= day <= month.end
    ]
    missing = [
        day for day in _days(month) if results.first <= day <= results.last and results.is_missing(results.index(day))
    ]
    if missing:
        few = len(missing) == 1
        texts.append(
            f"There are no numbers of {len(missing)} {'day' if few else 'days'} "
            f"({join_words(_join_days(missing))}): the archive has no reports of {'it' if few else 'them'}. "
            "That does not mean that there were no users."
        )
    if texts:
        yield Paragraph("About the numbers", " ".join(texts))


def _join_days(days: Sequence[date]) -> list[str]:
    """Write days, consecutive ones as a range."""
    runs: list[list[date]] = []
    for day in days:
        if runs and day - runs[-1][-1] == timedelta(days=1):
            runs[-1].append(day)
        else:
            runs.append([day])
    return [short_date(run[0]) if len(run) == 1 else f"{short_date(run[0])} to {short_date(run[-1])}" for run in runs]
