"""The claims about each step of ticket 5047, each checked against what a run saw.

The last part searches for what must not be found: clients' addresses in every form, and hashes that lead back to them.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections import Counter
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, TypeAlias

from demo.observed import hashes_by_country, lines_by_country, shorten, true_tables, write_tables, write_time
from obfstats.formats.interval import Interval, parse_time
from obfstats.formats.logline import LINE_LENGTH
from obfstats.record.batches import DEFAULT_BUFFER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from demo.observed import Observed
    from demo.screen import Screen

Fate: TypeAlias = Literal["kept", "forgotten", "left out"]

STEPS = {
    1: "1. When obfsproxy starts: a secret S, the time TS, a buffer for 100 messages",
    2: "2. Whenever a client connects",
    3: "3. When 24 hours have passed since TS",
    4: "4. When the buffer is full",
    5: "5. A log message: TS, country, H(address | S)",
    6: "6. When obfsproxy stops",
    7: "   And the script that makes what may be published",
}
"""The ticket's steps in its own order; the script has no number in the ticket."""

FORMS = ("text", "text with dashes", "decimal", "hexadecimal", "reversed hexadecimal", "packed", "reversed packed")
"""The forms of an address that are looked for."""

_GONE_SECONDS = 1.0
"""How soon a stopped program must be gone, on a machine that is not overloaded."""

_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim.

    Attributes:
        step: the step that it is about.
        fate: whether it is about something that is kept, forgotten or left out.
        text: the claim, as a sentence without its full stop.
        evidence: what was seen.
        holds: whether the evidence supports it.
    """

    step: int
    fate: Fate
    text: str
    evidence: str
    holds: bool


class Claims:
    """Claims of a run, in the order in which they were checked."""

    def __init__(self, titles: Mapping[int, str]) -> None:
        """Begin with none.

        Args:
            titles: of the steps, in the order in which they are shown.
        """
        self._titles = titles
        self._claims: list[Claim] = []

    def check(self, step: int, fate: Fate, text: str, evidence: str, *, holds: bool) -> None:
        """Note a claim and whether it holds."""
        self._claims.append(Claim(step, fate, text, evidence, holds))

    @property
    def number(self) -> int:
        """How many there are."""
        return len(self._claims)

    @property
    def failed(self) -> int:
        """How many did not hold."""
        return sum(not claim.holds for claim in self._claims)

    def show(self, screen: Screen) -> None:
        """Print all, step by step."""
        for step, title in self._titles.items():
            screen.line()
            screen.line(f"  {title}")
            for claim in self._claims:
                if claim.step == step:
                    mark = screen.style("    ok", "green") if claim.holds else screen.style("FAILED", "red")
                    screen.columns(f"{mark}  {claim.fate:9}  ", 19, claim.text, claim.evidence)


def summarise(*parts: Claims) -> str:
    """Give the result of all claims in a few words."""
    number, failed = (sum(numbers) for numbers in zip(*((part.number, part.failed) for part in parts), strict=True))
    held = f"{number - failed} of {number} claims held"
    return f"{held}, {failed} FAILED" if failed else held


def check_all(seen: Observed) -> Claims:
    """Check every claim about the ticket's steps."""
    claims = Claims(STEPS)
    for check in (
        _check_start,
        _check_connection,
        _check_interval_end,
        _check_full_buffer,
        _check_message,
        _check_traces,
        _check_stop,
        _check_script,
    ):
        check(claims, seen)
    return claims


def _check_start(claims: Claims, seen: Observed) -> None:
    """Step 1."""
    earliest, latest = (write_time(second) for second in seen.main.started)
    first = seen.logs[seen.main.transport][0].start
    claims.check(
        1,
        "kept",
        "TS, the time when it started",
        f"{first} in its lines; by its clock it was started at {earliest[11:]} and ready at {latest[11:]}",
        holds=earliest <= first <= latest,
    )
    where, locked = f"VmLck in /proc/{seen.main.pid}/status: {seen.locked} kB", seen.locked > 0
    if any("does not lock memory" in line for line in seen.main.output()):
        where, locked = "this machine allows no locked memory (ulimit -l), and obfsproxy logs that", True
    claims.check(1, "kept", "S, in a page of memory that is locked, so that no swap file gets it", where, holds=locked)
    mode, size = stat.S_IMODE(seen.mode), seen.sizes["started"]
    claims.check(
        1,
        "kept",
        "a log with nothing in it, which only its operator can read",
        f"{size} bytes, mode {mode:04o}",
        holds=mode == 0o600 and size == 0,
    )


def _check_connection(claims: Claims, seen: Observed) -> None:
    """Step 2."""
    served = sum(len(day.connections) for days in (seen.first, seen.second) for day in days.values())
    connections = sum(len(day.connections) for day in seen.first.values())
    lines = sum(len(seen.first_lines(name)) for name in seen.first)
    claims.check(
        2,
        "kept",
        "one message for each client that is served",
        f"{connections} connections on the first day, {lines} lines of it in the two logs",
        holds=connections == lines,
    )
    claims.check(
        2,
        "forgotten",
        "strangers who finish no handshake",
        f"{seen.strangers} connected, sent noise and left: {lines - connections} lines more than clients",
        holds=seen.strangers > 0 and connections == lines,
    )
    marked = [name for name, text in seen.texts().items() if seen.mark in text or seen.mark.hex().encode() in text]
    claims.check(
        2,
        "forgotten",
        "what they send",
        f"{served} clients had {seen.echoed:,} random bytes echoed, all as they were sent; the mark that they "
        f"began with is in {len(marked)} files",
        holds=seen.echoed > served and not marked,
    )


def _check_interval_end(claims: Claims, seen: Observed) -> None:
    """Step 3."""
    name = seen.main.transport
    first, second = seen.first_lines(name), seen.second_lines(name)
    evening, night = (seen.sizes[moment] // LINE_LENGTH for moment in ("evening", "night"))
    held = len(seen.first[name].connections) - evening
    late = seen.logs[name][evening:night]
    claims.check(
        3,
        "kept",
        "the old interval's last messages, written after a random delay",
        f"{held} were left in the buffer; the log grew from {evening} to {night} lines, all of the old TS",
        holds=len(late) == held and all(line.start == first[0].start for line in late),
    )
    due = Interval.parse(first[0].start).end
    starts = sorted({line.start for line in second})
    claims.check(
        3,
        "kept",
        "TS, later by 24 hours to the second",
        f"{', '.join(starts)}; the new day's first client connected at {write_time(seen.morning)}",
        holds=[parse_time(start) for start in starts] == [due],
    )
    hashes = [{line.hash for line in lines} for lines in (first, second)]
    alone = seen.single.country
    before, after = ([line.hash for line in lines if line.country == alone] for lines in (first, second))
    both = set(seen.first[name].connections) & set(seen.second[name].connections)
    claims.check(
        3,
        "forgotten",
        "S: there is a new one, and no client can be followed into the new day",
        f"the only client from {alone} was {shorten(before)}, now it is {shorten(after)}; {len(both)} clients "
        f"connected on both days, and the log has {len(hashes[0] & hashes[1])} hashes of both",
        holds=bool(before and after and both) and not hashes[0] & hashes[1],
    )


def _check_full_buffer(claims: Claims, seen: Observed) -> None:
    """Step 4."""
    name = seen.main.transport
    full, share = seen.sizes["buffer full"], seen.sizes["share written"] // LINE_LENGTH
    claims.check(
        4,
        "kept",
        f"messages of {DEFAULT_BUFFER} networks in memory; after a random delay a random half of them is written",
        f"the log after {seen.filling} connections: {full} bytes; up to ten minutes later: {share} lines",
        holds=full == 0 and seen.filling / 4 < share < seen.filling,
    )
    lines = seen.logs[name]
    edges = sorted({0, *(size // LINE_LENGTH for size in seen.sizes.values())})
    batches = [lines[start:end] for start, end in pairwise(edges)]
    in_order = [batch == sorted(batch, key=lambda line: (line.start, line.country, line.hash)) for batch in batches]
    sent = " ".join(client.country for client in seen.first[name].connections[:_SHOWN])
    written = " ".join(line.country for line in lines[:_SHOWN])
    claims.check(
        4,
        "forgotten",
        "the order in which they connected",
        f"sent: {sent} ...; written: {written} ...; {sum(in_order)} of {len(batches)} batches are sorted",
        holds=all(in_order),
    )


def _check_message(claims: Claims, seen: Observed) -> None:
    """Step 5."""
    days = [(seen.first_lines(name), day) for name, day in seen.first.items()]
    lines = [line for log in seen.logs.values() for line in log]
    countries = {line.country for line in lines}
    claims.check(
        5,
        "kept",
        "the country",
        f"{len(countries)} of them on the first day, each as often as its clients connected",
        holds=all(lines_by_country(those) == day.connections_by_country for those, day in days),
    )
    different = sum((hashes_by_country(those) for those, _ in days), Counter[str]()).total()
    clients = sum(day.clients_by_country.total() for _, day in days)
    claims.check(
        5,
        "kept",
        "H(address | S), the same for a client until the interval ends",
        f"on the first day {different} different hashes, {clients} different clients, and as many in each country",
        holds=all(hashes_by_country(those) == day.clients_by_country for those, day in days),
    )
    times = {(name, line.start) for name, log in seen.logs.items() for line in log}
    intervals = len(seen.logs) + sum(bool(seen.second_lines(name)) for name in seen.logs)
    claims.check(
        5,
        "forgotten",
        "when a client connected",
        f"{len(times)} different times in {len(lines)} lines, those at which {intervals} intervals began",
        holds=len(times) == intervals,
    )


def _check_traces(claims: Claims, seen: Observed) -> None:
    """Step 5: what must not be found anywhere."""
    texts = seen.texts()
    found = [f"{form} in {name}" for name, text in texts.items() for form in find_addresses(text, seen.addresses)]
    noticed = find_addresses(b"\n".join(write_forms(seen.single.address)), seen.addresses)
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
    hashes = {line.hash for log in (*seen.logs.values(), seen.restarted) for line in log}
    claims.check(
        5,
        "forgotten",
        "the way back to the address, without S",
        f"{len(plain):,} hashes of these addresses without S (SHA-1, SHA-256, BLAKE2b): {len(plain & hashes)} of them "
        "in the logs",
        holds=bool(plain) and not plain & hashes,
    )


def _check_stop(claims: Claims, seen: Observed) -> None:
    """Step 6."""
    name = seen.main.transport
    lost = {each: len(day.connections) - len(seen.second_lines(each)) for each, day in seen.second.items()}
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
        and not lines_by_country(seen.second_lines(name)) - seen.second[name].connections_by_country,
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
    earlier = {line.hash for line in seen.logs[name] if line.country == seen.single.country}
    again = [line.hash for line in seen.restarted]
    claims.check(
        6,
        "forgotten",
        "S, on the disk too: a program that starts on the same log does not find it",
        f"the only client from {seen.single.country} is {shorten(again)} then",
        holds=bool(again) and not earlier & set(again),
    )


def _check_script(claims: Claims, seen: Observed) -> None:
    """The conversion script."""
    true = true_tables(seen.finished_days())
    numbers = [int(number) for number in re.findall(r" ([0-9]+)$", seen.tables, re.MULTILINE)]
    odd = sum(number % 8 != 0 for number in numbers)
    hashes = len(re.findall("[0-9a-f]{40}", seen.tables))
    claims.check(
        7,
        "kept",
        "connections and clients by country, rounded up to multiples of 8",
        f"{len(numbers)} rows, byte for byte what the {sum(map(len, true))} true numbers give when rounded up",
        holds=seen.tables == write_tables(true),
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
        "it prints that",
        holds=bool(unfinished) and all(start in seen.remarks and start not in seen.tables for start in unfinished),
    )


def write_forms(address: str) -> tuple[bytes, ...]:
    """Write an address down in every form, in the order of `FORMS`."""
    packed = IPv4Address(address).packed
    backwards = packed[::-1]
    texts = (address, address.replace(".", "-"), str(int.from_bytes(packed, "big")), packed.hex(), backwards.hex())
    return (*(text.encode() for text in texts), packed, backwards)


def find_addresses(text: bytes, addresses: Iterable[str]) -> list[str]:
    """Give the forms in which any of the addresses is in a text; the addresses themselves are not repeated.

    Eight hexadecimal digits turn up inside the log's hashes by chance, so that form counts as a word of its own only;
    what the hashes may hide is looked for with `plain_hashes`.
    """
    lowered = text.lower()
    words = set(re.findall(rb"[0-9a-f]+", lowered.replace(b"0x", b" ")))
    found = set()
    for address in addresses:
        for name, form in zip(FORMS, write_forms(address), strict=True):
            if name.endswith("hexadecimal"):
                here = form in words
            elif name.endswith("packed"):
                here = form in text
            else:
                here = form in lowered
            if here:
                found.add(name)
    return sorted(found)


def plain_hashes(addresses: Iterable[str]) -> Iterator[str]:
    """Hash addresses without a secret in the obvious ways, which could be looked up: 40 digits each."""
    for address in addresses:
        for form in (address.encode(), IPv4Address(address).packed):
            for name in ("sha1", "sha256", "blake2b"):
                yield hashlib.new(name, form, usedforsecurity=False).hexdigest()[:40]
            yield hashlib.blake2b(form, digest_size=20).hexdigest()
