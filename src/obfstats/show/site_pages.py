"""The pages of the public site, and the files beside them. Pure: results in, files out.

The same results give the same bytes, and no page has the time at which it was made. So a file is written again only if
the numbers in it have changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final
from uuid import NAMESPACE_URL, uuid5

from obfstats.show.levels import (
    NO_CHANGE,
    add,
    average,
    change_class,
    find_peak,
    last_change,
    last_week,
    list_change_classes,
)
from obfstats.show.operator_page import Bar
from obfstats.show.pages import render
from obfstats.show.results import ALL, OURS
from obfstats.show.scales import full_date
from obfstats.show.site_files import path_of, write_csv, write_events, write_series
from obfstats.show.site_words import (
    count_users,
    is_country,
    key_name,
    list_months,
    long_change,
    long_level,
    name_in_text,
    percent,
    short_change,
    title_name,
    write_report,
)
from obfstats.show.timelines import YEAR, draw_timeline, write_number, write_range
from obfstats.show.world import draw_world, load_world

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from obfstats.show.levels import Change, Level
    from obfstats.show.results import Event, Key, Results, Series
    from obfstats.show.site_files import Cell
    from obfstats.show.site_words import Month
    from obfstats.show.timelines import Timeline

TOP: Final = 15
"""Countries that have a small multiple of their own; the others are one."""

_TOP_TRANSPORTS: Final = 8
_MOST_CHANGES: Final = 8
_LEAST_CHANGE: Final = 0.1
_RECENT: Final = timedelta(days=60)
_MOST_EVENTS: Final = 12
_MOST_ON_PAGE: Final = 500
_IN_FEED: Final = 50
_MONTHS_ON_PAGE: Final = 24
_BEFORE: Final = "four weeks before"
_OTHERS: Final = "others"


@dataclass(frozen=True, slots=True)
class Row:
    """A country or transport in a list.

    Attributes:
        name: of it.
        path: of its page; empty if it has none.
        level: its last week in words.
        interval: the interval of that.
        change: from four weeks before, in a few characters.
        before: the week four weeks before.
        trend: `drop`, `rise` or nothing.
        peak: its largest number and the day.
        plot: a small one; None where there is none.
    """

    name: str
    path: str
    level: str
    interval: str
    change: str
    before: str
    trend: str
    peak: str
    plot: Timeline | None


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event in a list: what it is about, and what it is."""

    date: str
    name: str
    path: str
    is_drop: bool
    value: str
    expected: str
    annotations: str


class Site:
    """Makes the files of a site."""

    def __init__(self, results: Results, url: str = "") -> None:
        """Take the results.

        Args:
            results: the tables.
            url: the address of the site's folder, for the feed, with a slash at its end; empty if it is not known.
        """
        self.results = results
        self.url = url

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Make all files: their paths and contents."""
        if not self.results.users:
            yield "index.html", self._render("site-empty.html", "")
            yield "events.atom", self._feed()
            return
        yield "index.html", self._front()
        yield "countries.html", self._countries()
        yield "events.html", self._events()
        yield "events.atom", self._feed()
        yield "events.csv", write_events(self.results.events)
        yield "changes.csv", self._changes_csv()
        yield "others.csv", write_series(self.results, self._others, None, "users")
        yield "total.csv", write_series(self.results, self.results.users[ALL], ALL, "users")
        if ALL in self.results.addresses:
            yield "total-addresses.csv", self._addresses_csv(ALL)
        yield "total.html", self._series(ALL, "")
        for key in self.results.users:
            if key != ALL:
                yield f"{path_of(key)}.html", self._series(key, "../")
                yield f"{path_of(key)}.csv", write_series(self.results, self.results.users[key], key, "users")
                if key in self.results.addresses:
                    yield f"{path_of(key)}-addresses.csv", self._addresses_csv(key)
        months = list_months(self.results)
        for place, month in enumerate(months):
            earlier = months[place - 1] if place else None
            later = months[place + 1] if place + 1 < len(months) else None
            yield f"month/{month.path}.html", self._month(month, earlier, later)

    @cached_property
    def _changes(self) -> Mapping[Key, Change | None]:
        return {key: last_change(self.results, series) for key, series in self.results.users.items()}

    @cached_property
    def _levels(self) -> Mapping[Key, Level | None]:
        return {key: last_week(self.results, series) for key, series in self.results.users.items()}

    def _by_size(self, is_chosen: Callable[[Key], bool]) -> list[Key]:
        """Give series, the one with the most users of the last week first."""

        def size(key: Key) -> tuple[float, Key]:
            level = self._levels[key]
            return -(level.value if level else 0), key

        return sorted(filter(is_chosen, self.results.users), key=size)

    @cached_property
    def _ranked(self) -> list[Key]:
        """All countries; what is none, such as `??`, comes last."""
        keys = self._by_size(lambda key: bool(key[0]) and not key[1])
        return sorted(keys, key=lambda key: not is_country(key))

    @cached_property
    def _transports(self) -> list[Key]:
        return self._by_size(lambda key: bool(key[1]) and not key[0])

    @cached_property
    def _top(self) -> list[Key]:
        return [key for key in self._ranked if is_country(key)][:TOP]

    @cached_property
    def _others(self) -> Series:
        return add([self.results.users[key] for key in self._ranked if key not in self._top], self.results.days)

    def _render(self, template: str, base: str, **values: object) -> bytes:
        """Make a page; `base` leads from its folder to the site's."""
        common = {"base": base, "until": full_date(self.results.last), "since": full_date(self.results.first)}
        return render(template, **(common | values)).encode()

    def _draw(self, key: Key, **options: object) -> Timeline:
        name = path_of(key).replace("/", "-")
        return draw_timeline(
            self.results,
            self.results.users[key],
            key,
            name=name,
            title=f"Users a day, {key_name(key)}",
            unit="users",
            **options,  # type: ignore[arg-type]
        )

    def _draw_addresses(self, key: Key) -> Timeline | None:
        if key not in self.results.addresses:
            return None
        return draw_timeline(
            self.results,
            self.results.addresses[key],
            None,
            name=f"{path_of(key).replace('/', '-')}-addresses",
            title=f"Addresses a day at bridges with obfstats, {key_name(key)}",
            unit="addresses",
            every=self.results.addresses.get(ALL),
        )

    def _front(self) -> bytes:
        changes = self._changes
        falls, rises = (self._list_changes(is_drop=is_drop) for is_drop in (True, False))
        countries = [key for key in self._ranked if is_country(key)]
        recent = [event for event in self._our_events if event.date > self.results.last - _RECENT][:_MOST_EVENTS]
        return self._render(
            "site-front.html",
            "",
            sentence=self._sentence(ALL),
            interval=self._share(ALL),
            summary=_count_changes([changes[key] for key in countries]),
            plot=self._draw(ALL, has_days=False),
            falls=falls,
            rises=rises,
            events=[self._event_row(event) for event in recent],
            recent_days=_RECENT.days,
            multiples=[self._row(key, is_small=True) for key in self._top],
            others=self._others_row(),
            transports=[self._row(key, is_small=True) for key in self._transports[:_TOP_TRANSPORTS]],
            more_transports=[self._row(key) for key in self._transports[_TOP_TRANSPORTS:]],
            world=load_world(),
            map=self._map(),
            legend=list_change_classes(),
            map_description=_count_changes([changes[key] for key in countries]),
            addresses=self._draw_addresses(ALL),
            months=list_months(self.results)[::-1],
            countries=len(countries),
            breaks=self.results.breaks,
        )

    def _others_row(self) -> Row | None:
        rest = [key for key in self._ranked if key not in self._top]
        if not rest:
            return None
        count = sum(map(is_country, rest))
        name = f"{count} others" if count == len(rest) else f"{count} others, and unknown"
        plot = draw_timeline(
            self.results,
            self._others,
            None,
            name=_OTHERS,
            title="Users a day, all others",
            unit="users",
            is_small=True,
        )
        return self._make_row(name, "countries", self._others, plot)

    def _countries(self) -> bytes:
        return self._render("site-countries.html", "", rows=[self._row(key) for key in self._ranked])

    def _events(self) -> bytes:
        events = self._our_events
        return self._render(
            "site-events.html",
            "",
            rows=[self._event_row(event) for event in events[:_MOST_ON_PAGE]],
            more=max(0, len(events) - _MOST_ON_PAGE),
            of_tor=sum(event.detector != OURS for event in self.results.events),
        )

    @cached_property
    def _our_events(self) -> list[Event]:
        """Events of our detector, the last one first."""
        return [event for event in reversed(self.results.events) if event.detector == OURS]

    def _feed(self) -> bytes:
        entries = [
            {
                "id": uuid5(NAMESPACE_URL, f"{self.url}#{event.date} {event.key} {event.is_drop}"),
                "title": f"{title_name(event.key)}: {'drop' if event.is_drop else 'rise'} of bridge users on "
                f"{full_date(event.date)}",
                "row": self._event_row(event),
                "users": count_users(event.value),
                "day": str(event.date),
            }
            for event in self._our_events[:_IN_FEED]
        ]
        return render(
            "site-feed.xml",
            url=self.url,
            id=uuid5(NAMESPACE_URL, f"{self.url}#obfstats-events"),
            updated=entries[0]["day"] if entries else str(self.results.last),
            entries=entries,
        ).encode()

    def _series(self, key: Key, base: str) -> bytes:
        series = self.results.users[key]
        peak = find_peak(series)
        plot = self._draw(key)
        addresses = self._draw_addresses(key)
        events = [event for event in self._our_events if event.key == key]
        return self._render(
            "site-series.html",
            base,
            name=title_name(key),
            kind="transport" if key[1] else "country" if key[0] else "",
            sentence=self._sentence(key),
            share=self._share(key),
            peak="" if peak is None else _write_peak(self.results, series, peak),
            plot=plot,
            csv=f"{path_of(key).rpartition('/')[2]}.csv",
            rows=_list_days(self.results, series, self.results.days),
            address_rows=_list_days(self.results, self.results.addresses[key], self.results.days) if addresses else [],
            events=[self._event_row(event) for event in events],
            of_tor=sum(event.key == key and event.detector != OURS for event in self.results.events),
            months=self._list_months(series),
            addresses=addresses,
            addresses_csv=f"{path_of(key).rpartition('/')[2]}-addresses.csv",
            parts=self._rank_parts(key) if addresses and key != ALL else [],
            parts_of="country" if key[1] else "transport",
        )

    def _month(self, month: Month, earlier: Month | None, later: Month | None) -> bytes:
        days = (month.end - month.start).days + 1
        return self._render(
            "site-month.html",
            "../",
            until=full_date(month.end),
            month=month,
            earlier=earlier,
            later=later,
            paragraphs=write_report(self.results, month, earlier),
            plot=self._draw(ALL, end=month.end, length=days),
            rows=_list_days(self.results, self.results.users[ALL], self.results.index(month.end) + 1, days),
        )

    def _changes_csv(self) -> bytes:
        """Write what the map and the lists of changes show."""
        rows = []
        for key in [ALL, *self._ranked, *self._transports]:
            change, level = self._changes[key], self._levels[key]
            before = change.before if change else None
            numbers = [number for part in (level, before) for number in (part[:3] if part else [math.nan] * 3)]
            trend = "" if change is None else "drop" if change.is_drop else "rise" if change.is_rise else "none sure"
            row: list[Cell] = [key[0], key[1], *numbers, trend]
            rows.append(row)
        columns = ["country", "transport", "users", "lower", "upper", "users_before", "lower_before", "upper_before"]
        return write_csv([*columns, "change"], rows)

    def _addresses_csv(self, key: Key) -> bytes:
        return write_series(self.results, self.results.addresses[key], None, "addresses")

    def _sentence(self, key: Key) -> str:
        level, change = self._levels[key], self._changes[key]
        through = f"bridges with {key_name(key)}" if key[1] else "bridges"
        if key[1] == "<OR>":
            through = "bridges without a transport"
        where = f" from {name_in_text(key)}" if key[0] else ""
        if level is None:
            return f"There are too few numbers of the last week{where}."
        compared = long_change(change, _BEFORE)
        return (
            f"On average {count_users(level.value)}{where} reached Tor through {through} in the week until "
            f"{full_date(self.results.last)}: {compared}."
        )

    def _share(self, key: Key) -> str:
        """Say which interval the sentence's number has, and its share of all."""
        level, total = self._levels[key], self._levels[ALL]
        if level is None or total is None or not total.value:
            return ""
        interval = f"The interval of 90\u00a0% is {write_range(level.lower, level.upper)}."
        return interval if key == ALL else f"{interval} That is {percent(level.value / total.value)} of all users."

    def _row(self, key: Key, *, is_small: bool = False) -> Row:
        plot = self._draw(key, is_small=True) if is_small else None
        return self._make_row(title_name(key), path_of(key), self.results.users[key], plot)

    def _make_row(self, name: str, path: str, series: Series, plot: Timeline | None) -> Row:
        peak, level, change = find_peak(series), last_week(self.results, series), last_change(self.results, series)
        return Row(
            name,
            f"{path}.html",
            write_number(level.value) if level else "no numbers",
            write_range(level.lower, level.upper) if level else "",
            short_change(change),
            write_number(change.before.value) if change else "",
            "" if change is None else "drop" if change.is_drop else "rise" if change.is_rise else "",
            "" if peak is None else _write_peak(self.results, series, peak),
            plot,
        )

    def _event_row(self, event: Event) -> EventRow:
        return EventRow(
            full_date(event.date),
            title_name(event.key),
            f"{path_of(event.key)}.html" if event.key in self.results.users else "",
            event.is_drop,
            write_number(event.value),
            write_range(event.expected_lower, event.expected_upper),
            event.annotations,
        )

    def _list_changes(self, *, is_drop: bool) -> list[Row]:
        """List the countries that have surely lost, or won, the most users, and a tenth or more."""
        chosen = [
            (key, change)
            for key in self._ranked
            if is_country(key) and (change := self._changes[key]) is not None
            if (change.is_drop if is_drop else change.is_rise) and abs(change.ratio - 1) >= _LEAST_CHANGE
        ]
        chosen.sort(key=lambda item: (-abs(item[1].after.value - item[1].before.value), item[0]))
        return [self._row(key) for key, _ in chosen[:_MOST_CHANGES]]

    def _map(self) -> list[object]:
        changes = {key[0].upper(): self._changes[key] for key in self._ranked}
        classes = {code: float(change_class(change)) for code, change in changes.items()}

        def describe(code: str) -> str:
            name, change = title_name((code, "")), changes.get(code)
            if change is None:
                return f"{name}: no numbers"
            return f"{name}: {long_level(change.after)}; {long_change(change, _BEFORE)}"

        return [*draw_world(classes, describe, int)]

    def _list_months(self, series: Series) -> list[tuple[str, str, str, str, str]]:
        """Say of each month: its path, its name, its average with the interval, and the most."""
        rows = []
        for month in list_months(self.results)[-_MONTHS_ON_PAGE:]:
            start, end = max(self.results.index(month.start), 0), self.results.index(month.end) + 1
            level = average(series, start, end)
            known = [index for index in range(start, end) if not math.isnan(series.values[index])]
            if level is not None and known:
                peak = max(known, key=lambda index: series.values[index])
                most = _write_peak(self.results, series, peak)
                rows.append(
                    (month.path, month.name, write_number(level.value), write_range(level.lower, level.upper), most)
                )
        return rows[::-1]

    def _rank_parts(self, key: Key) -> list[Bar]:
        """Rank the transports of a country's addresses, or the countries of a transport's: averages of four weeks."""
        parts: dict[Key, Level] = {}
        for part, series in self.results.addresses.items():
            is_part = part[1] == key[1] and part[0] if key[1] else part[0] == key[0] and part[1]
            if is_part and (level := average(series, self.results.days - 28, self.results.days)):
                parts[(part[0], "") if key[1] else ("", part[1])] = level
        ranked = sorted(parts.items(), key=lambda item: (-item[1].value, item[0]))
        rows = [(title_name(part), level.lower, level.upper) for part, level in ranked[:TOP]]
        if rest := [level for _, level in ranked[TOP:]]:
            rows.append((f"Others ({len(rest)})", sum(part.lower for part in rest), sum(part.upper for part in rest)))
        longest = max((upper for _, _, upper in rows), default=0) or 1
        bars = []
        for name, lower, upper in rows:
            sure, all_of_it = round(100 * lower / longest), round(100 * upper / longest)
            bars.append(Bar(name, write_range(lower, upper), sure, all_of_it - sure))
        return bars


def _count_changes(changes: Sequence[Change | None]) -> str:
    """Say in how many countries usage has fallen and risen."""
    classes = [change_class(change) for change in changes]
    falls = sum(0 < number < NO_CHANGE for number in classes)
    rises = sum(number > NO_CHANGE for number in classes)
    others = sum(number == NO_CHANGE for number in classes)
    sure = f"Compared with {_BEFORE}, usage has surely fallen in {_count(falls)} and surely risen in {_count(rises)}"
    return f"{sure}; {others} others show no sure change." if others else f"{sure}."


def _count(number: int) -> str:
    return "1 country" if number == 1 else f"{number or 'no'} countries"


def _write_peak(results: Results, series: Series, index: int) -> str:
    return f"{write_number(series.values[index])} on {full_date(results.first + timedelta(days=index))}"


def _list_days(results: Results, series: Series, end: int, length: int = YEAR) -> list[tuple[str, str, str, str]]:
    """Say of each day before `end`: its date, users, their interval, and what was expected; the last day first."""
    rows = []
    for index in reversed(range(max(0, end - length), end)):
        day = str(results.first + timedelta(days=index))
        if math.isnan(series.values[index]):
            rows.append((day, "no numbers", "", ""))
            continue
        interval, expected = (
            "" if math.isnan(lower[index]) else write_range(lower[index], upper[index])
            for lower, upper in ((series.lower, series.upper), (series.expected_lower, series.expected_upper))
        )
        rows.append((day, write_number(series.values[index]), interval, expected))
    return rows
