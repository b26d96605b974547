"""The claims about the steps of ticket 5047, held against what a run saw: 1 to 4 here, the others in `remains`."""

from __future__ import annotations

import stat
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from demo import remains
from demo.claims import Claims
from demo.observed import shorten, written_time
from obfstats.formats.logline import LINE_LENGTH
from obfstats.record.recorder import DEFAULT_BUFFER, INTERVAL

if TYPE_CHECKING:
    from demo.observed import Observed

_SHOWN = 12


def check_all(seen: Observed) -> Claims:
    """Look into every claim."""
    claims = Claims()
    for check in (_start, _connection, _interval_end, _full_buffer):
        check(claims, seen)
    remains.check(claims, seen)
    return claims


def _start(claims: Claims, seen: Observed) -> None:
    """Step 1."""
    earliest, latest = (written_time(second) for second in seen.main.started)
    first = seen.logs[seen.main.transport][0].start
    claims.check(
        1,
        "kept",
        "TS, the time when it started",
        f"{first} in its lines; by its clock it was started at {earliest[11:]} and ready at {latest[11:]}",
        holds=earliest <= first <= latest,
    )
    where, locked = f"VmLck in /proc/{seen.main.pid}/status: {seen.locked} kB", seen.locked > 0
    if any("does not lock memory" in line for line in seen.main.words()):
        where, locked = "this machine lets nobody lock memory (ulimit -l), and obfsproxy says so", True
    claims.check(1, "kept", "S, in a page of memory that is locked, so that no swap file gets it", where, holds=locked)
    mode, size = stat.S_IMODE(seen.mode), seen.sizes["started"]
    claims.check(
        1,
        "kept",
        "a log with nothing in it, which only its operator can read",
        f"{size} bytes, mode {mode:04o}",
        holds=mode == 0o600 and size == 0,
    )


def _connection(claims: Claims, seen: Observed) -> None:
    """Step 2."""
    served = sum(len(day.visits) for days in (seen.first, seen.second) for day in days.values())
    came = sum(len(day.visits) for day in seen.first.values())
    lines = sum(len(seen.first_lines(name)) for name in seen.first)
    claims.check(
        2,
        "kept",
        "one message for each client that is served",
        f"{came} connections on the first day, {lines} lines of it in the two logs",
        holds=came == lines,
    )
    claims.check(
        2,
        "forgotten",
        "strangers who finish no handshake",
        f"{seen.strangers} connected, sent noise and went away: {lines - came} lines more than clients",
        holds=seen.strangers > 0 and came == lines,
    )
    marked = [name for name, text in seen.texts().items() if seen.mark in text or seen.mark.hex().encode() in text]
    claims.check(
        2,
        "forgotten",
        "what goes through",
        f"{served} clients had {seen.echoed:,} random bytes echoed, and all came back as sent; the mark that they "
        f"began with is in {len(marked)} files",
        holds=seen.echoed > served and not marked,
    )


def _interval_end(claims: Claims, seen: Observed) -> None:
    """Step 3."""
    name = seen.main.transport
    first, second = seen.first_lines(name), seen.second_lines(name)
    evening, night = (seen.sizes[moment] // LINE_LENGTH for moment in ("evening", "night"))
    held = len(seen.first[name].visits) - evening
    late = seen.logs[name][evening:night]
    claims.check(
        3,
        "kept",
        "the old interval's last messages, written after a random delay",
        f"{held} were left in the buffer; the log grew from {evening} to {night} lines, all of the old TS",
        holds=len(late) == held and all(line.start == first[0].start for line in late),
    )
    due = datetime.fromisoformat(first[0].start) + timedelta(seconds=INTERVAL)
    starts = sorted({line.start for line in second})
    claims.check(
        3,
        "kept",
        "TS, later by 24 hours to the second",
        f"{', '.join(starts)}; the new day's first client came at {written_time(seen.morning)}",
        holds=[datetime.fromisoformat(start) for start in starts] == [due],
    )
    hashes = [{line.hash for line in lines} for lines in (first, second)]
    alone = seen.loner.country
    before, after = ([line.hash for line in lines if line.country == alone] for lines in (first, second))
    both = set(seen.first[name].visits) & set(seen.second[name].visits[:DEFAULT_BUFFER])
    claims.check(
        3,
        "forgotten",
        "S: there is a new one, and nobody can be followed into the new day",
        f"the only client from {alone} was {shorten(before)}, now it is {shorten(after)}; {len(both)} clients are in "
        f"the log on both days, and {len(hashes[0] & hashes[1])} hashes",
        holds=bool(before and after and both) and not hashes[0] & hashes[1],
    )


def _full_buffer(claims: Claims, seen: Observed) -> None:
    """Step 4."""
    name = seen.main.transport
    full, more = seen.sizes["buffer full"], seen.sizes["one more"]
    claims.check(
        4,
        "kept",
        f"{DEFAULT_BUFFER} messages in memory, until one more comes",
        f"the log after {DEFAULT_BUFFER} connections: {full} bytes; after {DEFAULT_BUFFER + 1}: {more:,} bytes, "
        f"{more // LINE_LENGTH} lines",
        holds=full == 0 and more == DEFAULT_BUFFER * LINE_LENGTH,
    )
    lines = seen.logs[name]
    last = len(seen.first_lines(name))
    edges = [*range(0, last, DEFAULT_BUFFER), *range(last, len(lines), DEFAULT_BUFFER), len(lines)]
    batches = [lines[start:end] for start, end in pairwise(edges)]
    in_order = [batch == sorted(batch, key=lambda line: (line.start, line.country, line.hash)) for batch in batches]
    came = " ".join(visitor.country for visitor in seen.first[name].visits[:_SHOWN])
    stand = " ".join(line.country for line in lines[:_SHOWN])
    claims.check(
        4,
        "forgotten",
        "the order in which they came",
        f"sent: {came} ...; written: {stand} ...; {sum(in_order)} of {len(batches)} batches are sorted",
        holds=all(in_order),
    )
