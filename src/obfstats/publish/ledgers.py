"""The ledgers that `obfstats convert` asks before it prints anything: the one beside each log, or one that is named.

- What was released with noise is not printed again, in no form. What was printed or published rounded is printed again
  in the same form only. `ticket`, `json` and `csv` have the same numbers, so they are one form.
- What is printed is written down first, by one write for each ledger. To look at the numbers (`--all`) writes nothing
  down, except with noise, and prints other forms, but nothing that was released with noise.
- Standard input has no folder for a ledger, and the folder of a log may be read-only. Rounded numbers are printed all
  the same, with a warning; noise is refused. A ledger that exists and cannot be used is an error in any case.
- Root uses a ledger as the owner of its folder, so that a bridge that runs as that user can use it as well.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from obfstats.formats.counts import Counts
from obfstats.formats.lognames import ledger_of
from obfstats.lockedfile import acting_as_owner_of
from obfstats.publish.intervals import name_intervals
from obfstats.publish.ledger import Ledger, LedgerError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from obfstats.publish.budget import EpsilonBudget


class Printing(NamedTuple):
    """How intervals are printed.

    Attributes:
        method: as the ledger names it.
        is_noisy: whether that is with noise.
        is_look: whether rounded numbers are only looked at.
        ledger: the ledger of all logs; None for the one beside each log.
        budget: what the noise of several intervals may spend; None for any sum.
    """

    method: str
    is_noisy: bool = False
    is_look: bool = False
    ledger: Path | None = None
    budget: EpsilonBudget | None = None


def release_once(
    intervals: Sequence[Counts],
    logs: Mapping[Path | None, Collection[datetime]],
    printing: Printing,
    warn: Callable[[str], None],
) -> list[Counts]:
    """Leave out the intervals that must not be printed, and write down the others.

    Args:
        intervals: those that are to be printed, sorted by start.
        logs: the starts of each log's intervals; None is the log that is no file.
        printing: how they are printed.
        warn: gets sentences for the operator about what is left out.

    Returns:
        What may be printed now.

    Raises:
        LedgerError: if a ledger cannot be used.
    """
    starts = {counts.interval.start for counts in intervals}
    of_ledger: dict[Path, set[datetime]] = {}
    for log, all_starts in logs.items():
        path = printing.ledger or (ledger_of(log) if log is not None else None)
        some = starts & set(all_starts)
        if some and (path is None or not _can_be_used(path, printing)):
            _do_without(path, printing, warn)
        elif some and path is not None:
            of_ledger.setdefault(path, set()).update(some)
    released = list(intervals)
    with ExitStack() as stack:
        ledgers: list[tuple[Ledger, set[datetime]]] = []
        for path, some in sorted(of_ledger.items()):
            if printing.is_look and not printing.is_noisy and not path.exists():
                continue
            with acting_as_owner_of(path.parent):
                ledger = stack.enter_context(Ledger.open(path))
            ledgers.append((ledger, some))
            released = _leave_out(released, ledger, some, printing, warn)
        if printing.is_noisy or not printing.is_look:
            for ledger, some in ledgers:
                with acting_as_owner_of(ledger.path.parent):
                    ledger.convert([one.interval for one in released if one.interval.start in some], printing.method)
    return released


def _leave_out(
    intervals: Sequence[Counts],
    ledger: Ledger,
    starts: Collection[datetime],
    printing: Printing,
    warn: Callable[[str], None],
) -> list[Counts]:
    """Leave out the intervals that one ledger does not allow, of those with the given starts."""
    noisy, others, allowed = list[Counts](), list[Counts](), list[Counts]()
    for one in intervals:
        if one.interval.start not in starts or ledger.allows(one.interval, printing.method):
            allowed.append(one)
        elif printing.is_noisy or ledger.is_released_with_noise(one.interval):
            noisy.append(one)
        else:
            (allowed if printing.is_look else others).append(one)
    if noisy:
        name, are, they, _ = name_intervals(noisy)
        warn(f"{name} {are} left out: {ledger.path} records that {they} released before")
    if others:
        name, are, they, them = name_intervals(others)
        warn(
            f"{name} {are} left out: {ledger.path} records that {they} released in another form;"
            f" print the same form, or give --all to look at {them}"
        )
    return _keep_budget(allowed, ledger, starts, printing, warn)


def _keep_budget(
    intervals: Sequence[Counts],
    ledger: Ledger,
    starts: Collection[datetime],
    printing: Printing,
    warn: Callable[[str], None],
) -> list[Counts]:
    """Leave out the intervals with the given starts that would spend more noise than there is."""
    if printing.budget is None:
        return list(intervals)
    spent = ledger.spent_epsilon()
    refused, allowed = list[Counts](), list[Counts]()
    for one in intervals:
        start = one.interval.start
        if start not in starts:
            allowed.append(one)
        elif printing.budget.allows(start, spent):
            spent[start] = printing.budget.epsilon
            allowed.append(one)
        else:
            refused.append(one)
    if refused:
        name, are, *_ = name_intervals(refused)
        warn(f"{name} {are} left out: {printing.budget}")
    return allowed


def _can_be_used(path: Path, printing: Printing) -> bool:
    """Tell whether there is a ledger, or one can be created; an error with a ledger that is named comes later."""
    with acting_as_owner_of(path.parent):
        return bool(printing.ledger) or path.exists() or os.access(path.parent, os.W_OK, effective_ids=True)


def _do_without(path: Path | None, printing: Printing, warn: Callable[[str], None]) -> None:
    """Warn that nothing will be written down, or raise LedgerError because it must be."""
    reason = "standard input has no folder" if path is None else f"{path.parent} cannot be written"
    if printing.is_noisy:
        raise LedgerError(f"{reason}, to keep a ledger in: give --ledger FILE")
    if not printing.is_look:
        warn(f"{reason}, so what is printed is not recorded: publish it once and in one form, or give --ledger FILE")
