"""What statistics give away, by simulation: the figures of docs/what-leaves-your-bridge.md.

No time is measured: the same seed gives the same tables on any machine. The project's own recorder writes the logs, its
own reader counts them, and its own code rounds them and adds noise (simulation.py).
"""

from __future__ import annotations

import itertools
import math
import statistics
import sys
import tempfile
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from bench.report import BrokenError, main, progress
from bench.simulation import (
    CODES,
    COUNTRIES,
    SEED,
    ZIPF_EXPONENT,
    Keys,
    Regulars,
    dating_errors,
    draw_countries,
    passers_by,
    time_of_day,
    write_batches,
    write_log,
)
from obfstats.formats.counts import round_up
from obfstats.publish.logfiles import find
from obfstats.publish.noise import add_noise, discrete_laplace, parse_epsilon, write_epsilon
from obfstats.publish.plain import count_logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from fractions import Fraction

    from obfstats.formats.counts import Counts

REGULARS, MONTH = 100, 30
BUFFERS = (100, 1_000, 10_000)
SIZES = (30, 100, 300, 1_000)
EPSILON = parse_epsilon("0.5")
EPSILONS = ("0.1", "0.5", "1", "2")
BRIDGES, MEDIAN_SIZES, SPREAD = 1_000, (20, 200), 1.2
THRESHOLD = 8
SURE = 0.95


class Plan(NamedTuple):
    """How much is simulated.

    Attributes:
        dated: connections a day, and days, of the logs whose lines are dated.
        days: days of the logs whose countries are counted.
        draws: draws of noise, for its error.
        attackers: attackers who average noise away.
        sums: how often a thousand bridges are summed up.
        regulars: bridges with returning clients.
    """

    dated: Sequence[tuple[int, int]]
    days: int
    draws: int
    attackers: int
    sums: int
    regulars: int


_FULL = Plan(dated=((300, 200), (10_000, 10)), days=100, draws=200_000, attackers=1_000, sums=20, regulars=50)
_QUICK = Plan(dated=((300, 30), (10_000, 1)), days=10, draws=20_000, attackers=200, sums=2, regulars=5)


def measure(plan: Plan) -> str:
    """Simulate everything, and give the tables."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        return "\n\n".join(
            [
                f"Simulated with seed {SEED}: {COUNTRIES} countries, Zipf {ZIPF_EXPONENT}.",
                _linkage(folder, plan),
                _dating(plan),
                _single_clients(folder, plan),
                _added_clients(plan),
                _errors(folder, plan),
                *(_sums(plan, median) for median in MEDIAN_SIZES),
            ]
        )


def _linkage(folder: Path, plan: Plan) -> str:
    """Compare one secret forever with one for each interval."""
    progress(f"{REGULARS} clients on {MONTH} days, with one secret forever and with one for each interval")
    regulars = Regulars(Random(SEED), REGULARS, MONTH)
    rows, published = [], []
    for name, is_fixed in (("forever, as in the ticket", True), ("for each interval, as the recorder does", False)):
        log, keys = folder / f"{is_fixed}.log", Keys(Random(SEED), is_fixed=is_fixed)
        write_log(log, regulars.arrivals, MONTH, Random(SEED), keys)
        linkage = regulars.linkage(log, keys)
        rows.append((name, f"{linkage.hashes:,}", linkage.linking, linkage.of_one_client, linkage.longest))
        published.append([(each.interval, each.requests, each.addresses) for each in _counted(log)])
    if published[0] != published[1]:
        raise BrokenError("the secret changed what is published")
    by_country = []
    for clients in SIZES:
        links = [Regulars(Random(SEED + turn), clients, MONTH).country_links() for turn in range(plan.regulars)]
        known, right = sum(one[0] for one in links), sum(one[1] for one in links)
        by_country.append((f"{clients:,}", plan.regulars, f"{known:,}", f"{right / known:.0%}"))
    hashes = _table(
        f"An attacker who has the log: {REGULARS} clients on {MONTH} days, {Regulars.STATIC:.0%} with a static address,"
        f" the others with one of {Regulars.POOL} of their provider's. The published numbers of both are the same.",
        ("one secret", "hashes", "linking two days or more", "of these always one client's", "most days of one hash"),
        rows,
    )
    countries = _table(
        "A reader of the log, or of what is published: a country with a single client on a day, and a single one on the"
        f" next such day within {MONTH} days. How often both are the same client, whatever the secret is.",
        ("clients", "bridges", "pairs of days", "the same client"),
        by_country,
    )
    return f"{hashes}\n\n{countries}"


def _dating(plan: Plan) -> str:
    """Measure how well lines can be dated by their batch."""
    rows = []
    for clients, days in plan.dated:
        arrivals = passers_by(Random(SEED), clients, days)
        for buffer in BUFFERS:
            progress(f"{clients:,} connections a day for {days} days, buffer of {buffer:,}")
            keys = Keys(Random(SEED))
            batches = write_batches(arrivals, days, Random(SEED), keys, buffer=buffer)
            errors = sorted(error / 60 for error in dating_errors(batches, arrivals, keys))
            if len(errors) != clients * days:
                raise BrokenError("the log does not have every connection")
            rows.append((f"{clients:,}", days, f"{buffer:,}", *_minutes(errors)))
        blind = sorted(abs(arrival.moment % 86_400 - time_of_day(0.5)) / 60 for arrival in arrivals)
        rows.append((f"{clients:,}", days, "(without a log)", *_minutes(blind)))
    return _table(
        "An attacker who has the log: by how many minutes a guess of a connection's time is wrong, by the line's batch."
        " The busiest hour has 1.7 times the mean, the quietest 0.3 times, and the attacker knows that.",
        ("connections a day", "days", "buffer", "mean, min", "median, min", "95 %, min"),
        rows,
    )


def _minutes(errors: Sequence[float]) -> list[str]:
    """Write mean, median and what 95 % of sorted errors do not exceed."""
    return [f"{value:.1f}" for value in (statistics.fmean(errors), statistics.median(errors), _most(errors))]


def _single_clients(folder: Path, plan: Plan) -> str:
    """Count the country-days with one client."""
    rows = []
    for clients in SIZES:
        numbers = [number for each in _days(folder, clients, plan.days) for number in (each.addresses or {}).values()]
        single = numbers.count(1)
        eight = sum(number <= 8 for number in numbers)
        rows.append(
            (
                f"{clients:,}",
                plan.days,
                f"{len(numbers):,}",
                f"{single / len(numbers):.0%}",
                f"{eight / len(numbers):.0%}",
            )
        )
    return _table(
        "Country-days with a client, and those with a single client. All with up to eight are published as 8.",
        ("clients a day", "days", "country-days", "with a single client", "with up to eight"),
        rows,
    )


def _added_clients(plan: Plan) -> str:
    """Count the days until a stable number is known exactly, rounded and noisy."""
    progress("adding clients until the number is known")
    days = [_days_until_known(number) for number in range(1, 1_001)]
    averaged = _days_until_averaged(plan.attackers)
    rows: list[tuple[object, ...]] = [
        ("rounded up to 8", "adds clients", max(days), "all numbers from 1 to 1,000", ""),
        (
            f"noise, epsilon {write_epsilon(EPSILON)}",
            "takes the mean",
            averaged,
            f"{SURE:.0%} of {plan.attackers:,} means",
            f"{float(averaged * EPSILON):g}",
        ),
    ]
    for epsilon in map(parse_epsilon, EPSILONS):
        needed = _days_until_median(epsilon)
        rows.append(
            (
                f"noise, epsilon {write_epsilon(epsilon)}",
                "takes the median",
                f"{needed:,}",
                f"{SURE:.0%} of medians, computed",
                f"{float(needed * epsilon):g}",
            )
        )
    return _table(
        "A reader of what is published: days until the number of a country with the same clients every day is known"
        " exactly.",
        ("published", "the reader", "days", "enough for", "epsilon that is spent by then"),
        rows,
    )


def _days_until_known(number: int) -> int:
    """Add clients every day, so many that the possible values are halved; count the days until one is left."""
    shown = round_up(number)
    least, most, days = max(shown - 7, 0), shown, 1
    while least < most:
        middle = (least + most) // 2
        if round_up(number + shown - middle) > shown:
            least = middle + 1
        else:
            most = middle
        days += 1
    if least != number:
        raise BrokenError("the attacker found another number")
    return days


def _days_until_averaged(attackers: int) -> int:
    """Give the days after which nearly all means, rounded to integers, are right."""
    below = Random(SEED).randrange
    most = 200
    right = [0] * most
    for _ in range(attackers):
        # The true number is 0 here; any other gives the same result.
        sums = accumulate(discrete_laplace(EPSILON, below) for _ in range(most))
        right = [known + (2 * abs(total) < day) for day, (known, total) in enumerate(zip(right, sums, strict=True), 1)]
    return next(day for day, known in enumerate(right, 1) if known >= SURE * attackers)


def _days_until_median(epsilon: Fraction) -> int:
    """Give the odd number of days after which the median is right with a probability of SURE.

    The median is the number that makes the published ones most likely, so no reader does better who knows nothing else.
    It is wrong where the noise was above 0 on more than half of the days, or below 0.
    """
    ratio = math.exp(-epsilon)
    above = ratio / (1 + ratio)
    return next(days for days in itertools.count(1, 2) if 1 - 2 * _probability_of(days // 2 + 1, days, above) >= SURE)


def _probability_of(least: int, trials: int, probability: float) -> float:
    """Give the probability of at least so many successes."""
    odds = math.log(probability), math.log1p(-probability)
    return math.fsum(
        math.exp(
            math.lgamma(trials + 1)
            - math.lgamma(successes + 1)
            - math.lgamma(trials - successes + 1)
            + successes * odds[0]
            + (trials - successes) * odds[1]
        )
        for successes in range(least, trials + 1)
    )


def _errors(folder: Path, plan: Plan) -> str:
    """Compare the errors of single numbers, rounded and noisy."""
    progress("errors of rounding and of noise")
    rows = [
        _error_row("rounded, all numbers equally likely", (round_up(number) - number for number in range(8, 8_008)))
    ]
    for clients in SIZES:
        days = _days(folder, clients, plan.days)
        numbers = [number for each in days for number in (each.addresses or {}).values()]
        rows.append(
            _error_row(f"rounded, {clients:,} clients a day", (round_up(number) - number for number in numbers))
        )
    for epsilon in EPSILONS:
        below = Random(SEED).randrange
        drawn = (discrete_laplace(parse_epsilon(epsilon), below) for _ in range(plan.draws))
        rows.append(_error_row(f"noise, epsilon {epsilon}", drawn))
    return _table(
        f"Error of one published number: countries with a client on {plan.days} days, {plan.draws:,} draws of noise.",
        ("published", "mean error", "mean absolute error", "95 % are at most"),
        rows,
    )


def _error_row(name: str, errors: Iterable[int]) -> tuple[object, ...]:
    """Write one row of errors."""
    signed = list(errors)
    sizes = sorted(map(abs, signed))
    return (name, f"{statistics.fmean(signed):+.2f}", f"{statistics.fmean(sizes):.2f}", _most(sizes))


def _sums(plan: Plan, median: int) -> str:
    """Sum up a thousand bridges with a median of so many clients, published in each way."""
    regions = {
        "all countries": range(COUNTRIES),
        "the largest": [0],
        "the 10th": [9],
        "the 30th": [29],
        "the 60th": [59],
    }
    ways: dict[str, Callable[[int, int], int]] = {
        "noise as it is": lambda _, number: number,
        "noise, negative numbers clamped to 0": lambda _, number: max(number, 0),
        f"noise, below {THRESHOLD} left out": lambda _, number: number if number >= THRESHOLD else 0,
        "rounded up to 8": lambda true, _: round_up(true),
        "rounded up to 8, minus 4": lambda true, _: round_up(true) - 4 if true else 0,
    }
    off: dict[str, dict[str, list[float]]] = {way: {region: [] for region in regions} for way in ways}
    clients: dict[str, list[int]] = {region: [] for region in regions}
    for turn in range(plan.sums):
        progress(f"summing up {BRIDGES:,} bridges of {median} clients, {turn + 1} of {plan.sums}")
        random = Random(SEED + turn)
        bridges = [_bridge(random, median) for _ in range(BRIDGES)]
        for region, countries in regions.items():
            codes = [CODES[country] for country in countries]
            true = sum(bridge[0].get(code, 0) for bridge in bridges for code in codes)
            clients[region].append(true)
            for way, publish in ways.items():
                total = sum(publish(bridge[0].get(code, 0), bridge[1][code]) for bridge in bridges for code in codes)
                off[way][region].append(100 * (total - true) / true)
    head = [f"{region} ({statistics.fmean(numbers):,.0f} clients)" for region, numbers in clients.items()]
    rows = [(way, *map(_off, by_region.values())) for way, by_region in off.items()]
    return _table(
        f"Sums over {BRIDGES:,} bridges (clients a day: log-normal, median {median}, sigma {SPREAD}), epsilon"
        f" {write_epsilon(EPSILON)}: how far the sum is off, and its standard deviation over {plan.sums} days.",
        ("published", *head),
        rows,
    )


def _bridge(random: Random, median: int) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """Give one bridge's day: true numbers, and numbers with noise."""
    true: dict[str, int] = {}
    for country in draw_countries(random, max(1, round(median * random.lognormvariate(0, SPREAD)))):
        true[CODES[country]] = true.get(CODES[country], 0) + 1
    return true, add_noise(true, (*CODES, "??"), EPSILON, random.randrange)


def _off(percents: Sequence[float]) -> str:
    spread = statistics.stdev(percents)
    digits = 1 if spread < 10 else 0
    return f"{statistics.fmean(percents):+,.{digits}f} % ± {spread:,.{digits}f}"


def _days(folder: Path, clients: int, days: int) -> list[Counts]:
    """Give the numbers of a bridge with so many clients a day, each of which connects once."""
    log = folder / f"days-{clients}.log"
    if not log.exists():
        progress(f"{clients:,} clients a day for {days} days")
        write_log(log, passers_by(Random(SEED), clients, days), days, Random(SEED), Keys(Random(SEED)))
    return _counted(log)


def _counted(log: Path) -> list[Counts]:
    """Count a log."""
    counts, reports = count_logs(find([str(log)]), lambda _: None)
    if any(report.damaged for report in reports):
        raise BrokenError("the recorder wrote a damaged line")
    return counts


def _most(sizes: Sequence[float]) -> float:
    """Give what 95 % of sorted numbers do not exceed."""
    return sizes[min(len(sizes) - 1, int(SURE * len(sizes)))]


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a Markdown table below its title."""
    lines = [head, ["---"] * len(head), *rows]
    return f"{title}\n\n" + "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main("privacy", measure, _FULL, _QUICK))
