"""Tor Metrics' estimate, taken literally: one row after the other, in plain Python.

It reads the same rows as src/obfstats/analyse/published.py and shares no code with it.
"""

from __future__ import annotations

from collections import defaultdict
from math import floor
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DAY = 86_400
WEEK = 7 * DAY

Row: TypeAlias = dict[str, Any]
Imported: TypeAlias = tuple[str, str, dict[str, str], int, int, float]
Merged: TypeAlias = tuple[float, float]

DEFAULTS = {"country": "??", "transport": "<OR>", "version": "v4"}


class Key(NamedTuple):
    """What is merged together."""

    fingerprint: str
    metric: str
    country: str
    transport: str
    version: str
    day: int


class Literal(NamedTuple):
    """The results, unrounded.

    Attributes:
        fracs: by day.
        responses: by day, country, transport, version.
        combined: low and high by day, country, transport.
    """

    fracs: dict[int, float]
    responses: dict[tuple[int, str, str, str], float]
    combined: dict[tuple[int, str, str], tuple[float, float]]


def estimate_literally(
    reports: Sequence[Row], cells: Sequence[Row], histories: Sequence[Row], statuses: Sequence[Row]
) -> Literal:
    """Import, merge, aggregate and combine."""
    pieces: dict[Key, list[tuple[int, int, float]]] = defaultdict(list)
    for fingerprint, metric, names, start, end, value in import_rows(reports, cells, histories, statuses):
        country, transport, version = (names.get(name, "") for name in DEFAULTS)
        key = Key(fingerprint, metric, country, transport, version, start // DAY)
        pieces[key].append((start, end, floor(value * 10 + 0.5) / 10))
    return aggregate({key: merge(found) for key, found in pieces.items()})


def import_rows(
    reports: Sequence[Row], cells: Sequence[Row], histories: Sequence[Row], statuses: Sequence[Row]
) -> Iterator[Imported]:
    """Give fingerprint, metric, names, start, end and value of each row that is imported."""
    lines: dict[tuple[int, str], dict[str, int]] = defaultdict(dict)
    for cell in cells:
        lines[cell["report"], cell["line"]][cell["key"]] = cell["number"]
    for report in reports:
        yield from import_report(report, lines)
    for history in histories:
        start, end = history["start_time"], history["end_time"]
        if history["published"] - history["history_end"] <= WEEK:
            midnight = end // DAY * DAY
            cuts = [(start, midnight), (midnight, end)] if start < midnight else [(start, end)]
            for begin, finish in cuts:
                value = history["bytes"] * ((finish - begin) / (end - start))
                yield history["fingerprint"], "bytes", {}, begin, finish, value
    for status in statuses:
        for hour in range(24):
            if status["hours"] >> hour & 1:
                start = status["day"] * DAY + hour * 3600
                yield status["fingerprint"], "status", {}, start, start + 3600, 0.0


def import_report(report: Row, lines: dict[tuple[int, str], dict[str, int]]) -> Iterator[Imported]:
    """The same for the responses of a report."""
    end, ok = report["stats_end"], report["ok"]
    if ok is None or ok <= 4 or report["stats_seconds"] != DAY or report["published"] - end > WEEK:
        return
    countries = "requests" if report["has_requests"] else "ips"
    midnight = end // DAY * DAY
    for begin, finish in ((end - DAY, midnight), (midnight, end)):
        if begin == finish:
            continue
        value = (ok - 4) * ((finish - begin) / DAY)
        yield report["fingerprint"], "responses", {}, begin, finish, value
        for dimension, line in (("country", countries), ("transport", "transports"), ("version", "versions")):
            weights = {key: number - 4 for key, number in lines[report["report"], line].items() if number >= 4}
            if not sum(weights.values()):
                weights[DEFAULTS[dimension]] = 4
            for key, weight in weights.items():
                share = value * weight / sum(weights.values())
                yield report["fingerprint"], "responses", {dimension: key}, begin, finish, share


def merge(pieces: list[tuple[int, int, float]]) -> Merged:
    """Drop what overlaps; give the sums of seconds and values."""
    seconds = total = 0.0
    last_end = 0
    for start, end, value in sorted(pieces):
        if start >= last_end:
            seconds += end - start
            total += value
            last_end = end
    return seconds, total


def aggregate(merged: dict[Key, Merged]) -> Literal:
    """Sum over bridges, and combine countries with transports."""
    totals: dict[str, dict[int, dict[str, Merged]]] = defaultdict(lambda: defaultdict(dict))
    responses: dict[tuple[int, str, str, str], float] = defaultdict(float)
    for key, (seconds, value) in merged.items():
        if not key.country + key.transport + key.version:
            totals[key.metric][key.day][key.fingerprint] = seconds, value
        if key.metric == "responses":
            responses[key.day, key.country, key.transport, key.version] += value
    fracs = {}
    for day, reported in totals["bytes"].items():
        running = sum(seconds for seconds, _ in totals["status"][day].values())
        if sum(value for _, value in reported.values()) * running > 0:
            fracs[day] = compute_frac(reported, totals["responses"][day], running)
    return Literal(fracs, dict(responses), combine(merged))


def compute_frac(reported: dict[str, Merged], answered: dict[str, Merged], running: float) -> float:
    """The share of one day.

    Args:
        reported: seconds and bytes by fingerprint.
        answered: seconds and responses by fingerprint.
        running: seconds of all bridges.
    """
    hh = sum(value for _, value in reported.values())
    nh = sum(seconds for seconds, _ in reported.values())
    hrh = nrh = 0.0
    for fingerprint in reported.keys() & answered.keys():
        seconds, value = reported[fingerprint]
        if seconds > 0:
            hrh += min(seconds, answered[fingerprint][0]) * value / seconds
        nrh += max(0.0, answered[fingerprint][0] - seconds)
    return (hrh * nh + hh * nrh) / (hh * running)


def combine(merged: dict[Key, Merged]) -> dict[tuple[int, str, str], tuple[float, float]]:
    """Bounds of the responses by country and transport."""
    values = {key: value for key, (_, value) in merged.items() if key.metric == "responses" and value > 0}
    combined: dict[tuple[int, str, str], tuple[float, float]] = {}
    for one, country_value in values.items():
        for other, transport_value in values.items():
            total = values.get(one._replace(country=""), 0.0)
            if one.country and other.transport and total and (one[0], one.day) == (other[0], other.day):
                place = one.day, one.country, other.transport
                low, high = combined.get(place, (0.0, 0.0))
                low += max(0.0, country_value + transport_value - total)
                combined[place] = low, high + min(country_value, transport_value)
    return combined
