"""The claims about what remains: a message, the stopped program, the script's tables (ticket 5047, steps 5 and 6)."""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import TYPE_CHECKING

from demo.convert import true_tables, written
from demo.observed import Day, clients, connections, shorten
from demo.traces import FORMS, find_addresses, forms, plain_hashes
from obfstats.record.recorder import DEFAULT_BUFFER

if TYPE_CHECKING:
    from demo.claims import Claims
    from demo.observed import Observed

_GONE_SECONDS = 1.0
"""How soon a stopped program must be gone, on a machine that is not overloaded."""


def check(claims: Claims, seen: Observed) -> None:
    """Look into these claims."""
    for look in (_message, _addresses, _stop, _script):
        look(claims, seen)


def _message(claims: Claims, seen: Observed) -> None:
    """Step 5."""
    days = [(seen.first_lines(name), day) for name, day in seen.first.items()]
    lines = [line for log in seen.logs.values() for line in log]
    countries = {line.country for line in lines}
    claims.check(
        5,
        "kept",
        "the country",
        f"{len(countries)} of them on the first day, each as often as its clients connected",
        holds=all(connections(those) == day.connections for those, day in days),
    )
    different = sum((clients(those) for those, _ in days), Counter[str]()).total()
    claims.check(
        5,
        "kept",
        "H(address | S), the same for a client until the interval ends",
        f"on the first day {different} different hashes, {sum(day.clients.total() for _, day in days)} different "
        "clients, and as many in each country",
        holds=all(clients(those) == day.clients for those, day in days),
    )
    times = {(name, line.start) for name, log in seen.logs.items() for line in log}
    intervals = len(seen.logs) + sum(bool(seen.second_lines(name)) for name in seen.logs)
    claims.check(
        5,
        "forgotten",
        "when somebody came",
        f"{len(times)} different times in {len(lines)} lines, those at which {intervals} intervals began",
        holds=len(times) == intervals,
    )


def _addresses(claims: Claims, seen: Observed) -> None:
    """Step 5: what must be nowhere."""
    texts = seen.texts()
    found = [f"{form} in {name}" for name, text in texts.items() for form in find_addresses(text, seen.addresses)]
    noticed = find_addresses(b"\n".join(forms(seen.loner.address)), seen.addresses)
    claims.check(
        5,
        "forgotten",
        "the address, in whatever form",
        f"{len(seen.addresses)} addresses looked for in {len(texts)} files and outputs, as {', '.join(FORMS)}: "
        f"{', '.join(found) or 'none'}. The same search finds {len(noticed)} of {len(FORMS)} forms of one that is put "
        "before it on purpose",
        holds=not found and len(noticed) == len(FORMS),
    )
    plain = set(plain_hashes(seen.addresses))
    hashes = {line.hash for log in (*seen.logs.values(), seen.again) for line in log}
    claims.check(
        5,
        "forgotten",
        "the way back to the address, for whoever has no S",
        f"{len(plain):,} hashes of these addresses without S (SHA-1, SHA-256, BLAKE2b): {len(plain & hashes)} of them "
        "in the logs",
        holds=bool(plain) and not plain & hashes,
    )


def _stop(claims: Claims, seen: Observed) -> None:
    """Step 6."""
    name = seen.main.transport
    lost = {each: len(day.visits) - len(seen.second_lines(each)) for each, day in seen.second.items()}
    batch = Day(seen.second[name].visits[:DEFAULT_BUFFER])
    claims.check(
        6,
        "forgotten",
        "the buffer: what is in it is never written",
        "; ".join(
            f"{each}: {lost[each]} messages lost, its log of {stop.before:,} bytes still has {stop.after:,}"
            for each, stop in seen.stops.items()
        ),
        holds=all(stop.before == stop.after for stop in seen.stops.values())
        and all(lost.values())
        and connections(seen.second_lines(name)) == batch.connections,
    )
    waiting = os.getloadavg()[0] / len(os.sched_getaffinity(0))
    soon = _GONE_SECONDS * max(1.0, waiting)
    took = ", ".join(f"{each} {stop.seconds * 1000:.0f} ms" for each, stop in seen.stops.items())
    claims.check(
        6,
        "forgotten",
        "S, and all else in the process",
        f"gone after SIGTERM: {took}; exit status {' and '.join(str(stop.status) for stop in seen.stops.values())}",
        holds=all(stop.seconds < soon and stop.status == 0 for stop in seen.stops.values()),
    )
    earlier = {line.hash for line in seen.logs[name] if line.country == seen.loner.country}
    again = [line.hash for line in seen.again]
    claims.check(
        6,
        "forgotten",
        "S, on the disk too: a program that starts on the same log does not find it",
        f"the only client from {seen.loner.country} is {shorten(again)} then",
        holds=bool(again) and not earlier & set(again),
    )


def _script(claims: Claims, seen: Observed) -> None:
    """The conversion."""
    true = true_tables(seen.finished_days())
    numbers = [int(number) for number in re.findall(r" ([0-9]+)$", seen.tables, re.MULTILINE)]
    odd = sum(number % 8 != 0 for number in numbers)
    hashes = len(re.findall("[0-9a-f]{40}", seen.tables))
    claims.check(
        7,
        "kept",
        "connections and clients by country, rounded up to multiples of 8",
        f"{len(numbers)} rows, byte for byte what the {sum(map(len, true))} true numbers give when rounded up",
        holds=seen.tables == written(true),
    )
    claims.check(
        7,
        "forgotten",
        "the hashes, and the exact numbers",
        f"in what it printed: {hashes} hashes, {odd} numbers that are no multiple of 8",
        holds=hashes == odd == 0,
    )
    unfinished = {line.start for line in seen.second_lines(seen.main.transport)}
    lines = len(seen.second_lines(seen.main.transport))
    claims.check(
        7,
        "left out",
        "the interval that is not over yet, which must not be published",
        f"{lines} lines of it in the log, {sum(seen.tables.count(start) for start in unfinished)} rows in the tables; "
        "it says so",
        holds=bool(unfinished) and all(start in seen.remarks and start not in seen.tables for start in unfinished),
    )
