"""The command `obfstats explain`: why a number of users changed against the same day of the week before.

The published estimate is a sum over bridges, divided by `frac`, so its change can be divided exactly:

    users = responses / (10 * frac)
    a bridge's part = (its responses now - before) * (weight now + weight before) / 2        weight = 1 / (10 * frac)
    frac's part     = (weight now - weight before) * (all responses now + before) / 2

A bridge that reported on both days has two parts: one of the hours that its reports cover, one of its responses an
hour. All parts add up to the difference of the unrounded numbers; what rounding adds is the remainder. Our own estimate
of both days, with its intervals, its caps and what it predicts for missing reports, is given beside.
"""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow.compute as pc

from obfstats.analyse.annotations import AnnotationsError, find_annotations, load_annotations
from obfstats.analyse.days import day_number
from obfstats.analyse.engine import DuckDbEngine, EngineError
from obfstats.analyse.published import compute_fracs, round_estimates
from obfstats.analyse.published_sums import sum_responses
from obfstats.analyse.store import SCHEMAS, Store, StoreError
from obfstats.analyse.summary import WEEK, NoAnalysisError, print_events, read_result
from obfstats.commandline import fail, one_line, print_error
from obfstats.country_names import country_name
from obfstats.terminal import format_change, format_number, make_console, print_table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from obfstats.analyse.annotations import Annotation

_TENTHS_OF_A_USER: Final = 100
"""Tenths of a response that are one user."""

_SERVER_DAYS: Final = 60
"""How old the descriptor may be that names a bridge's version of tor."""


class Cause(StrEnum):
    """Why a bridge's part of the number changed."""

    WENT = "went"
    CAME = "came"
    LOST = "lost"
    RETURNED = "returned"
    HOURS = "hours"
    SERVED = "served"
    USERS = "users"


_MEANINGS: Final = {
    Cause.WENT: "the bridge went away: no status of this day lists it as running",
    Cause.CAME: "the bridge came: no status of the day a week before lists it as running",
    Cause.LOST: "it runs, but no report covers the day: an interval lost at a restart, or a lost report",
    Cause.RETURNED: "it reports again; it ran without a report before",
    Cause.HOURS: "its reports cover more or fewer hours of the day",
    Cause.SERVED: "its tor writes served= now, or no longer: ok counts completed answers only, or all",
    Cause.USERS: "more or fewer users at the same bridge",
}


@dataclass(frozen=True, slots=True)
class Contribution:
    """A bridge's part of the change that has one cause.

    Attributes:
        fingerprint: the bridge's hashed fingerprint.
        cause: why.
        users: how much it adds to the number; negative for a loss.
        before: users of the bridge the week before, with the mean weight of both days.
        now: the same on the day.
        detail: hours or versions.
    """

    fingerprint: str
    cause: Cause
    users: float
    before: float
    now: float
    detail: str


@dataclass(frozen=True, slots=True)
class Published:
    """The published estimate of a day.

    Attributes:
        users: not rounded.
        published: as Tor Metrics publishes it; None where frac is out of its limits or the country has no responses.
        frac: the share of the bridges' time that their reports cover.
        bridges: bridges that a status lists as running.
        reporting: bridges with a report.
    """

    users: float
    published: int | None
    frac: float
    bridges: int
    reporting: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a number changed.

    Attributes:
        day: the day.
        country: its code; empty for all.
        before: the week before.
        now: the day.
        contributions: of bridges, the largest first.
        frac: what the change of frac adds.
        remainder: what rounding adds, where both numbers are published.
        estimates: our estimate of both days: users, lower, upper, predicted, capped; empty if there is none.
        bridge_tables: rows of our table of bridges of both days; empty if there are none.
        events: rows of the table of events between the two days, of the country and of all.
        annotations: what is known to have happened at that time.
    """

    day: date
    country: str
    before: Published
    now: Published
    contributions: Sequence[Contribution]
    frac: float
    remainder: float
    estimates: Sequence[Mapping[str, Any]]
    bridge_tables: Sequence[Mapping[str, Any]]
    events: Sequence[Mapping[str, Any]]
    annotations: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Bridge:
    """A bridge on a day.

    Attributes:
        tenths: of responses of the country.
        seconds: of the day that its reports cover.
        hours: in which a status lists it as running.
        serves: whether its reports write `served=`.
        answers: answers for each one that `ok` counts, where `served` tells; else 1.
        tor: its version; empty if it is not known.
    """

    tenths: float = 0
    seconds: float = 0
    hours: int = 0
    serves: bool = False
    answers: float = 1
    tor: str = ""


_NOT_THERE: Final = _Bridge()


def run_explain(options: argparse.Namespace) -> int:
    """Run the command.

    Args:
        options: folder, date, country, top, annotations, json.

    Returns:
        The exit status: 0; 2 if something cannot be read or there is nothing to compare.
    """
    warn = partial(print_error, "obfstats explain")
    try:
        annotations = [] if options.annotations is None else load_annotations(options.annotations, warn)
        explanation = explain(options.folder, options.date, options.country or "", annotations)
    except (AnnotationsError, EngineError, NoAnalysisError, StoreError) as error:
        return fail("obfstats explain", str(error))
    if options.json:
        print(json.dumps(asdict(explanation), default=str, indent=2))
    else:
        print_explanation(make_console(), explanation, options.top)
    return 0


def explain(folder: Path, day: date, country: str, annotations: Sequence[Annotation] = ()) -> Explanation:
    """Explain a number of the published estimate.

    Args:
        folder: where `obfstats analyse` wrote.
        day: the day.
        country: a code in lower case; empty for all.
        annotations: what is known to have happened, beside what is joined to events.

    Raises:
        NoAnalysisError: if there is no analysis, or no estimate of one of the days.
        StoreError: if the store cannot be read.
    """
    store = Store(folder / "store")
    if not store.days():
        raise NoAnalysisError(f"{folder} has no analysis; make one with: obfstats analyse INPUT... --to {folder}")
    days = (day - WEEK, day)
    with tempfile.TemporaryDirectory(prefix="obfstats-") as temporary:
        engine = DuckDbEngine(Path(temporary))
        (before, bridges_before), (now, bridges_now) = (
            _read_day(engine, store, folder, each, country) for each in days
        )
        engine.close()
    contributions = _divide(bridges_before, bridges_now, (_weight(before) + _weight(now)) / 2)
    responses = sum(bridge.tenths for bridges in (bridges_before, bridges_now) for bridge in bridges.values())
    frac = (_weight(now) - _weight(before)) * responses / 2
    difference = sum(contribution.users for contribution in contributions) + frac
    remainder = 0.0
    if before.published is not None and now.published is not None:
        remainder = now.published - before.published - difference
    return Explanation(
        day=day,
        country=country,
        before=before,
        now=now,
        contributions=contributions,
        frac=frac,
        remainder=remainder,
        estimates=_select_days(folder, "obfstats-users", days, country=country, transport=""),
        bridge_tables=_select_days(folder, "obfstats-bridges", days),
        events=_select_events(folder, days, country),
        annotations=_select_annotations(annotations, days, country),
    )


def _weight(published: Published) -> float:
    """Users of a tenth of a response."""
    return 1 / (published.frac * _TENTHS_OF_A_USER)


def _read_day(
    engine: DuckDbEngine, store: Store, folder: Path, day: date, country: str
) -> tuple[Published, dict[str, _Bridge]]:
    """Compute a day's published number and the bridges that it consists of, by fingerprint."""
    number = day_number(day)
    sums = sum_responses(engine, store, [number])
    frac = compute_fracs(sums).get(number, 0.0)
    if not frac:
        raise NoAnalysisError(
            f"the archive in {folder} has no published estimate of {day}: reports, histories of bytes, or statuses of "
            "that day are missing"
        )
    key = engine.query(f"SELECT key_number FROM keys WHERE dimension = 1 AND key = '{country}'")
    # Number 0 of dimension 0 is a report's total.
    dimension, key_number = (1, key["key_number"][0].as_py() if len(key) else -1) if country else (0, 0)
    columns = {
        "seconds": f"SELECT b.fingerprint, c.seconds FROM cells_by_bridge c JOIN bridges b ON b.bridge = c.bridge "
        f"WHERE c.day = {number} AND c.dimension = 0",
        "tenths": f"SELECT b.fingerprint, c.tenths FROM cells_by_bridge c JOIN bridges b ON b.bridge = c.bridge "
        f"WHERE c.day = {number} AND c.dimension = {dimension} AND c.key_number = {key_number}",
        "hours": f"SELECT fingerprint, bit_count(bit_or(hours)) FROM statuses WHERE day = {number} "
        "GROUP BY fingerprint",
        "serves": f"SELECT fingerprint, bool_or(served IS NOT NULL) FROM reports "
        f"WHERE day BETWEEN {number} AND {number} + 1 GROUP BY fingerprint",
        "answers": f"SELECT fingerprint, sum(coalesce(served, ok)) / sum(ok) FROM reports "
        f"WHERE day BETWEEN {number} AND {number} + 1 AND ok > 0 GROUP BY fingerprint",
        "tor": f"SELECT fingerprint, coalesce(arg_max(tor, published), '') FROM servers "
        f"WHERE day BETWEEN {number} - {_SERVER_DAYS} AND {number} GROUP BY fingerprint",
    }
    engine.open_table("servers", store.files("servers", range(number - _SERVER_DAYS, number + 1)), SCHEMAS["servers"])
    values: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for name, sql in columns.items():
        fingerprints, numbers = engine.query(sql).to_pydict().values()
        for fingerprint, value in zip(fingerprints, numbers, strict=True):
            values[fingerprint][name] = value
    bridges = {fingerprint: _Bridge(**found) for fingerprint, found in values.items()}
    userstats = round_estimates(sums).userstats
    row = pc.and_(
        pc.equal(userstats["country"], country),
        pc.and_(pc.equal(userstats["transport"], ""), pc.equal(userstats["version"], "")),
    )
    users = userstats.filter(row)["users"].to_pylist()
    published = Published(
        users=sum(bridge.tenths for bridge in bridges.values()) / (frac * _TENTHS_OF_A_USER),
        published=users[0] if users else None,
        frac=frac,
        bridges=sum(bridge.hours > 0 for bridge in bridges.values()),
        reporting=sum(bridge.seconds > 0 for bridge in bridges.values()),
    )
    return published, bridges


def _divide(before: Mapping[str, _Bridge], now: Mapping[str, _Bridge], weight: float) -> list[Contribution]:
    """Divide the change of responses by bridge and cause, the largest first.

    Args:
        before: the bridges of the week before.
        now: those of the day.
        weight: users of a tenth of a response.
    """
    contributions = []
    for fingerprint in sorted(before.keys() | now.keys()):
        old, new = before.get(fingerprint, _NOT_THERE), now.get(fingerprint, _NOT_THERE)
        for cause, tenths, detail in _find_causes(old, new):
            if tenths:
                users = tenths * weight, old.tenths * weight, new.tenths * weight
                contributions.append(Contribution(fingerprint, cause, *users, detail))
    return sorted(contributions, key=lambda contribution: (-abs(contribution.users), contribution.fingerprint))


def _find_causes(old: _Bridge, new: _Bridge) -> list[tuple[Cause, float, str]]:
    """Divide the change of one bridge's responses; give cause, tenths and detail."""
    change = new.tenths - old.tenths
    if not old.seconds:
        cause = Cause.RETURNED if old.hours else Cause.CAME
        return [(cause, change, f"in statuses of {old.hours} hours before" if old.hours else "")]
    if not new.seconds:
        cause = Cause.LOST if new.hours else Cause.WENT
        return [(cause, change, f"in statuses of {new.hours} hours" if new.hours else "")]
    rates = old.tenths / old.seconds, new.tenths / new.seconds
    seconds = (old.seconds + new.seconds) / 2
    of_hours = (new.seconds - old.seconds) * sum(rates) / 2
    # What `ok` leaves out is not counted on the day with served=; it was counted on the other one.
    left_out = [rate * (bridge.answers - 1) for rate, bridge in zip(rates, (old, new), strict=True)]
    of_served = (left_out[0] - left_out[1]) * seconds if old.serves != new.serves else 0.0
    hours = f"{old.seconds / 3600:.0f} to {new.seconds / 3600:.0f} hours"
    upgrade = f"tor {old.tor} to {new.tor}" if old.tor and new.tor and old.tor != new.tor else ""
    return [
        (Cause.HOURS, of_hours, hours),
        (Cause.SERVED, of_served, upgrade),
        (Cause.USERS, change - of_hours - of_served, upgrade),
    ]


def _select_days(folder: Path, name: str, days: Sequence[date], **equal: str) -> list[dict[str, Any]]:
    """Select the rows of two days of a result; none unless there is one of each."""
    table = read_result(folder, name)
    if table is None:
        return []
    by_date = {row["date"]: row for row in table.to_pylist() if all(row[key] == equal[key] for key in equal)}
    return [by_date[day] for day in days] if all(day in by_date for day in days) else []


def _select_events(folder: Path, days: Sequence[date], country: str) -> list[dict[str, Any]]:
    """Select the events after the week before until the day, of the country and of all countries."""
    events = read_result(folder, "obfstats-events")
    if events is None:
        return []
    wanted = pc.and_(pc.greater(events["date"], days[0]), pc.less_equal(events["date"], days[1]))
    rows: list[dict[str, Any]] = events.filter(wanted).to_pylist()
    return [row for row in rows if row["country"] in {country, ""}]


def _select_annotations(annotations: Sequence[Annotation], days: Sequence[date], country: str) -> list[str]:
    """Select what happened between the two days."""
    found: dict[str, None] = {}
    for number in range((days[1] - days[0]).days + 1):
        found |= dict.fromkeys(
            annotation.description
            for annotation in find_annotations(annotations, days[0] + timedelta(days=number), country, "")
        )
    return list(found)


def print_explanation(console: Console, explanation: Explanation, top: int) -> None:
    """Print an explanation.

    Args:
        console: where.
        explanation: what.
        top: how many bridges to name.
    """
    before, now, day = explanation.before, explanation.now, explanation.day
    name = country_name(explanation.country)
    console.print(f"Published estimate of bridge users, {name}: {day - WEEK} and {day} (UTC)")
    console.print()
    rows = [
        _describe_pair("users", before.users, now.users),
        ("frac", f"{before.frac:.1%}", f"{now.frac:.1%}", ""),
        _describe_pair("bridges that ran", before.bridges, now.bridges),
        _describe_pair("bridges that reported", before.reporting, now.reporting),
        *_describe_estimates(explanation),
    ]
    print_table(console, ["", f"{day - WEEK}", f"{day}", "change"], rows, (1, 2, 3))
    causes = [
        (
            f"{cause}: {_MEANINGS[cause]}",
            f"{len({part.fingerprint for part in parts}):,}",
            sum(part.users for part in parts),
        )
        for cause in Cause
        if (parts := [part for part in explanation.contributions if part.cause is cause])
    ]
    causes.sort(key=lambda row: -abs(row[2]))
    causes.append(("frac: reports cover a smaller or larger share of the bridges' time", "", explanation.frac))
    causes.append(("rounding", "", explanation.remainder))
    causes.append(("together", "", sum(users for *_, users in causes)))
    table = [(text, bridges, format_change(users)) for text, bridges, users in causes]
    print_table(console, ["what the change consists of", "bridges", "users"], table, (1, 2))
    if explanation.contributions:
        print_table(
            console,
            ["bridge (hashed fingerprint)", "before", "now", "change", "cause"],
            [
                (
                    part.fingerprint,
                    format_number(part.before),
                    format_number(part.now),
                    format_change(part.users),
                    f"{part.cause}{part.detail and ': '}{part.detail}",
                )
                for part in explanation.contributions[:top]
            ],
            (1, 2, 3),
        )
    if explanation.events:
        print_events(console, explanation.events)
    for text in explanation.annotations:
        console.print(f"Known: {one_line(text)}")


def _describe_estimates(explanation: Explanation) -> list[tuple[str, str, str, str]]:
    """Describe our estimate of both days, and what it took off and predicted."""
    rows = []
    if explanation.estimates:
        before, now = explanation.estimates
        intervals = [f"{format_number(row['lower'])} to {format_number(row['upper'])}" for row in (before, now)]
        rows += [
            _describe_pair("our estimate", before["users"], now["users"]),
            ("its 90 % interval", intervals[0], intervals[1], ""),
            _describe_pair("predicted for missing reports", before["predicted"], now["predicted"]),
            _describe_pair("taken off by caps", before["capped"], now["capped"]),
        ]
    if explanation.bridge_tables:
        shares = [f"{row['served_share'] or 0:.0%}" for row in explanation.bridge_tables]
        rows.append(("bridges that write served=", shares[0], shares[1], ""))
    return rows


def _describe_pair(text: str, before: float, now: float) -> tuple[str, str, str, str]:
    return text, format_number(before), format_number(now), format_change(now - before)
