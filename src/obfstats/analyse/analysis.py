"""The command `obfstats analyse`: from descriptors and documents to numbers of every day, in one step.

    INPUT... -> ingest -> DIR/store -> estimates -> DIR/tables/*.parquet, DIR/*.csv -> the summary

Rules:

- Only days that depend on changed rows are estimated again; other days keep their rows in DIR/tables. Events are found
  again in all days, which is fast.
- The store remembers changed days until the results are on the disk, so that the next run completes a killed one.
- Yesterday and later days (UTC) are left out, as Tor Metrics does: their reports have not all arrived. They stay
  pending.
- A table below DIR/tables that is missing or damaged is made anew, and so are the others, of all days.
- One run at a time: the store is locked until the results are on the disk.
- Results go to files, the summary to standard output, everything else to standard error.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pyarrow.compute as pc

from obfstats.analyse import clients, panel, published, robust
from obfstats.analyse.annotations import AnnotationsError, load_annotations
from obfstats.analyse.archives import InputError, find_files
from obfstats.analyse.commands import SPARK, SUMMARY_ROWS
from obfstats.analyse.days import day_date, day_number
from obfstats.analyse.engine import DuckDbEngine, EngineError, SparkEngine
from obfstats.analyse.events import find_events, make_annotations_table
from obfstats.analyse.ingest import ingest
from obfstats.analyse.outputs import read_table, replace_days, write_published, write_table
from obfstats.analyse.published import PublishedTables
from obfstats.analyse.store import SCHEMAS, Store, StoreError
from obfstats.analyse.summary import NoAnalysisError, find_complete_day, print_summary, summarise
from obfstats.analyse.tor_detector import add_ranges
from obfstats.commandline import UsageError, describe_missing_library, fail, print_error
from obfstats.progress import show_progress
from obfstats.terminal import make_console

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence
    from datetime import date
    from pathlib import Path

    import pyarrow as pa

    from obfstats.analyse.annotations import Annotation
    from obfstats.analyse.engine import Engine
    from obfstats.analyse.ingest import IngestResult

_PROGRAM = "obfstats analyse"
_KEPT_TABLES = ("userstats", "userstats-combined", "obfstats-users", "obfstats-bridges", "obfstats-clients")
"""Tables of which a run replaces the days that have changed."""


def run_analyse(options: argparse.Namespace) -> int:
    """Run the command.

    Args:
        options: those of commands.py.

    Returns:
        The exit status: 0; 1 if the store has no descriptor or document, old or new; 2 if something cannot be read or
        written.

    Raises:
        UsageError: if options do not go together.
    """
    if (options.spark is not None) != (options.engine == SPARK):
        raise UsageError("--engine spark and --spark sc://HOST:PORT go together")
    warn = partial(print_error, _PROGRAM)
    today = options.as_of or datetime.now(UTC).date()
    try:
        annotations = [] if options.annotations is None else load_annotations(options.annotations, warn)
        size = sum(path.stat().st_size for path in find_files(options.inputs))
        store = Store(options.to / "store")
        with pass_interrupts(), store.lock(), _open_engines(options.to, options.spark) as engines:
            with show_progress(size) as advance:
                found = ingest(options.inputs, store, workers=options.workers or os.cpu_count() or 1, advance=advance)
            _report(found, warn)
            if not store.days():
                warn("none of this is a descriptor of bridges or a document; see docs/analyse.md for what can be read")
                return 1
            estimate(options.to, store, engines, today=today, annotations=annotations)
    except (AnnotationsError, EngineError, InputError, StoreError) as error:
        return fail(_PROGRAM, str(error))
    except ModuleNotFoundError as error:
        return fail(_PROGRAM, describe_missing_library(error, "spark"))
    except OSError as error:
        return fail(_PROGRAM, f"{error.filename or options.to}: {error.strerror or error}")
    return _summarise(options.to, warn)


@contextmanager
def pass_interrupts() -> Iterator[None]:
    """Make KeyboardInterrupt of the error that DuckDB ends an interrupted query with."""
    try:
        yield
    except RuntimeError as error:
        if str(error) != "Query interrupted":
            raise
        raise KeyboardInterrupt from None


class Engines(NamedTuple):
    """What runs queries.

    Attributes:
        published: for the published estimate, which a cluster can compute.
        local: for our own estimates, whose arrays are in this process.
    """

    published: Engine
    local: Engine


@contextmanager
def _open_engines(folder: Path, spark: str | None) -> Iterator[Engines]:
    temporary = folder / ".duckdb"
    local = DuckDbEngine(temporary, threads=os.cpu_count() or 1)
    try:
        remote = local if spark is None else SparkEngine(spark)
        yield Engines(remote, local)
        if remote is not local:
            remote.close()
    finally:
        local.close()
        # A run that was killed has left its files there, too.
        shutil.rmtree(temporary, ignore_errors=True)


def _report(found: IngestResult, warn: Callable[[str], None]) -> None:
    """Say what was read, and what was not and why."""
    warn(f"read {found.files:,} new files of {found.files + found.known:,}: {_list(found.read) or 'no descriptors'}")
    if found.skipped:
        warn(f"left out, because no estimate needs it: {_list(found.skipped)}")
    for what, damage in found.damaged.items():
        warn(f"left out, because it is damaged: {damage.count:,} times {what}; the first at {damage.first}")


def _list(numbers: dict[str, int]) -> str:
    return ", ".join(f"{numbers[name]:,} {name}" for name in sorted(numbers))


def estimate(
    folder: Path, store: Store, engines: Engines, *, today: date, annotations: Sequence[Annotation] = ()
) -> None:
    """Estimate the days whose rows have changed, and write all results.

    Args:
        folder: of the results.
        store: the archive.
        engines: run the queries.
        today: yesterday and later days are left out.
        annotations: what is known to have happened.
    """
    yesterday = day_number(today) - 1
    is_whole = all(read_table(folder, name) is not None for name in _KEPT_TABLES)
    changed = store.pending_days() if is_whole else store.days()
    published_days = [day for day in sorted(published.affected_days(changed)) if day < yesterday]
    our_days = [day for day in sorted(panel.affected_days(changed)) if day < yesterday]

    with show_progress(len(published_days) + 2 * len(our_days), unit="days") as advance:
        estimate_ours(folder, store, engines.local, our_days, advance)
        estimate_as_published(folder, store, engines.published, published_days, advance)
    ranges = add_ranges(_read_rows(folder, "userstats"))
    write_table(folder, "clients", ranges)
    users = _read_rows(folder, "obfstats-users")
    # The last days of an archive have few reports. A drop there would be gone with the next run.
    complete_day = find_complete_day(_read_rows(folder, "obfstats-bridges"))
    if complete_day is not None:
        users = users.filter(pc.less_equal(users["date"], complete_day))
    events, expected = find_events(ranges, users, annotations)
    write_table(folder, "obfstats-events", events)
    write_table(folder, "obfstats-expected", expected)
    write_table(folder, "obfstats-annotations", make_annotations_table(annotations))
    store.clear_pending_days(before=yesterday)


def estimate_ours(
    folder: Path, store: Store, engine: Engine, days: Sequence[int], advance: Callable[[int], None]
) -> None:
    """Make our own estimates of some days, and write the tables of all days.

    Args:
        folder: of the results.
        store: the archive.
        engine: runs the queries.
        days: which days to estimate.
        advance: takes the number of days that are done, twice for each day.
    """
    for name in ("reports", "cells", "statuses", "documents", "document_cells"):
        engine.open_table(name, store.files(name), SCHEMAS[name])
    users, bridges = robust.estimate_users(engine.query, days, advance)
    tables = {
        "obfstats-users": users,
        "obfstats-bridges": bridges,
        "obfstats-clients": clients.estimate_clients(engine.query, days, advance),
    }
    for name, rows in tables.items():
        order = [(key, "ascending") for key in ("date", "country", "transport") if key in rows.column_names]
        write_table(folder, name, _merge_days(folder, name, rows, days, order))


def estimate_as_published(
    folder: Path,
    store: Store,
    engine: Engine,
    days: Sequence[int],
    advance: Callable[[int], None],
) -> None:
    """Make Tor Metrics' estimate of some days, and write the tables of all days.

    Args:
        folder: of the results.
        store: the archive.
        engine: runs the queries.
        days: which days to estimate.
        advance: takes the number of days that are done.
    """
    rows = published.estimate_published(engine, store, days, advance)
    userstats = _merge_days(folder, "userstats", rows.userstats, days, published.USERSTATS_ORDER)
    combined = _merge_days(folder, "userstats-combined", rows.combined, days, published.COMBINED_ORDER)
    write_published(folder, PublishedTables(userstats, combined))


def _merge_days(
    folder: Path, name: str, rows: pa.Table, days: Sequence[int], order: Sequence[tuple[str, str]]
) -> pa.Table:
    """Replace the rows of some days in a table that an earlier run has written, and sort it."""
    dates = [day_date(day) for day in days]
    return replace_days(read_table(folder, name), rows, dates).sort_by(list(order))


def _read_rows(folder: Path, name: str) -> pa.Table:
    """Read a table that was written before."""
    table = read_table(folder, name)
    assert table is not None  # noqa: S101 - written by estimate_ours or estimate_as_published
    return table


def _summarise(folder: Path, warn: Callable[[str], None]) -> int:
    try:
        summary = summarise(folder, None)
    except NoAnalysisError as error:
        warn(f"{error}")
        return 0
    print_summary(make_console(), summary, SUMMARY_ROWS)
    return 0
