"""Our own documents in numbers: different addresses and connections per day, by country and transport.

These are no users: an address may be several people, one client may have several addresses a day, and an address that
uses two bridges counts twice. The model is that of the users (fit.py): rounding is undone, noise is averaged out, and
what bridges had whose documents are missing is predicted. A bridge counts from its first document to its last; where
Tor's statuses list it, only while they do.

Rules:

- Only documents of whole days (86,400 s) count. A (fingerprint, instance) counts as a bridge; without a fingerprint, a
  (source, instance) does.
- A document with noise has addresses by country alone. Its numbers enter as they are, negative ones too, with the
  variance of discrete Laplace noise, 2 q / (1 - q)^2 with q = exp(-epsilon).
- A line that a document does not have is missing, not 0.
- Documents never contain a total beside its cells. Totals are sums of the countries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from obfstats.analyse.calibration import Calibration, SharedNoise, choose_checked
from obfstats.analyse.days import DAY
from obfstats.analyse.fit import Observations, find_interval, fit_cell, number_chosen
from obfstats.analyse.panel import (
    SparseNumbers,
    add_coverage,
    choose_reports,
    cut_window,
    find_span,
    integers,
    place_ends,
    plan_blocks,
    read_statuses,
    sort_cells,
    texts,
)
from obfstats.analyse.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from obfstats.analyse.fit import Booleans, Floats, Integers
    from obfstats.analyse.panel import Block, Query

CLIENTS_SCHEMA = pa.schema(
    [
        ("date", pa.date32()),
        ("country", pa.string()),
        ("transport", pa.string()),
        ("addresses", pa.float64()),
        ("addresses_lower", pa.float64()),
        ("addresses_upper", pa.float64()),
        ("connections", pa.float64()),
        ("connections_lower", pa.float64()),
        ("connections_upper", pa.float64()),
        ("bridges", pa.float64()),
    ]
)
"""obfstats-clients. An empty country or transport means all; connections are null by transport, as documents have none.
`bridges`: those that documents cover, on average over the day."""


@dataclass(frozen=True)
class Documents:
    """Documents of consecutive UTC days.

    Attributes:
        first_day: number of the first day; all days below are counted from it.
        days: their number.
        instance: of each document.
        day: of each document, the day in which it ends, at least 1.
        share: of each document, the share of its 24 hours in that day.
        running: (instance, day) share of the day in which the bridge is expected to have counted.
        variance: of each document, of its noise; 0 where its numbers are rounded.
        lines: of each line, which documents have it.
        cells: of each line, its numbers.
    """

    first_day: int
    days: int
    instance: Integers
    day: Integers
    share: Floats
    running: Floats
    variance: Floats
    lines: Mapping[str, Booleans]
    cells: Mapping[str, SparseNumbers]


def laplace_variance(epsilon: Floats) -> Floats:
    """Give the variance of discrete Laplace noise (publish/noise.py)."""
    q = np.exp(-epsilon)
    return np.asarray(2 * q / (1 - q) ** 2)


def load_documents(query: Query, first_day: int, last_day: int) -> Documents:
    """Read the documents that end after the first day and until the last.

    Args:
        query: runs SQL over the views `documents`, `document_cells` and `statuses`.
        first_day: number of a day since 1970-01-01.
        last_day: the same.
    """
    days = last_day - first_day + 1
    table = query(
        "SELECT document, source, fingerprint, instance, end_time, epsilon FROM documents "
        f"WHERE day BETWEEN {first_day} AND {last_day + 1} AND seconds = {DAY} "
        f"AND end_time > {(first_day + 1) * DAY} AND end_time <= {(last_day + 1) * DAY}"
    )
    parts = zip(texts(table, "fingerprint"), texts(table, "instance"), integers(table, "source"), strict=True)
    names = [
        (fingerprint, instance if fingerprint else f"{source} {instance}") for fingerprint, instance, source in parts
    ]
    numbers = {name: number for number, name in enumerate(sorted(set(names)))}
    instance = np.array([numbers[name] for name in names], dtype=np.intp)
    ends, ids = integers(table, "end_time"), integers(table, "document")
    order = choose_reports(instance, ends, ids)
    instance, ends, ids = instance[order], ends[order], ids[order]
    day, share = place_ends(ends, first_day)
    epsilon = table["epsilon"].combine_chunks().to_numpy(zero_copy_only=False).astype(np.float64)[order]
    is_noisy = ~np.isnan(epsilon)
    variance = np.where(is_noisy, laplace_variance(np.where(is_noisy, epsilon, 1.0)), 0.0)
    cells = query(
        "SELECT document, line, country, key, number FROM document_cells "
        f"WHERE day BETWEEN {first_day} AND {last_day + 1} AND line <> 'versions'"
    )
    lines, found = {}, {}
    for line in ("ips", "requests", "transports", "country_transports"):
        part = cells.filter(pc.equal(cells["line"], line))
        key = pc.binary_join_element_wise(part["country"], part["key"], "/").combine_chunks()
        owners = integers(part, "document")
        found[line] = sort_cells(key, owners, integers(part, "number"), ids)
        lines[line] = np.isin(ids, owners)
    # A document without clients has empty lines, and says 0 by them.
    is_empty = ~lines["ips"] & ~lines["requests"] & ~is_noisy
    lines = {line: has | is_empty for line, has in lines.items()}
    running = _expect(query, list(numbers), add_coverage((len(numbers), days), instance, day, share), first_day)
    return Documents(first_day, days, instance, day, share, running, variance, lines, found)


def _expect(query: Query, names: list[tuple[str, str]], covered: Floats, first_day: int) -> Floats:
    """Expect each bridge to run from its first document to its last, while its fingerprint is listed if it ever is."""
    days = covered.shape[1]
    there = covered > 0
    begun = np.maximum.accumulate(there, axis=1)
    not_over = np.maximum.accumulate(there[:, ::-1], axis=1)[:, ::-1]
    running = (begun & not_over).astype(np.float64)
    statuses = query(
        f"SELECT day, fingerprint, hours FROM statuses WHERE day BETWEEN {first_day} AND {first_day + days - 1}"
    )
    listed, has_status, fingerprints = read_statuses(statuses, first_day, days)
    rows = {fingerprint: row for row, fingerprint in enumerate(fingerprints)}
    for number, (fingerprint, _) in enumerate(names):
        if fingerprint in rows:
            running[number] *= np.where(has_status, listed[rows[fingerprint]], 1.0)
    return running


def estimate_clients(query: Query, days: Iterable[int], advance: Callable[[int], None] = lambda _: None) -> pa.Table:
    """Estimate addresses and connections of some days, by country and transport.

    Args:
        query: runs SQL over the views `documents`, `document_cells` and `statuses` of the whole archive.
        days: numbers of the days since 1970-01-01.
        advance: takes the number of days that are done.

    Returns:
        A table with CLIENTS_SCHEMA, sorted by date, country and transport.
    """
    wanted = set(days)
    rows = Rows(CLIENTS_SCHEMA)
    span = find_span(query, "documents", f"seconds = {DAY}")
    if span is None or not wanted:
        return rows.table()
    first, last = span
    for block in plan_blocks(wanted, first, last):
        documents = load_documents(query, block.window_first - 1, min(block.window_last + 1, last))
        covered = add_coverage(documents.running.shape, documents.instance, documents.day, documents.share).sum(axis=0)
        # Where the archive has a gap there is no number, which is not the number 0.
        known = (covered > 0) | (documents.running.sum(axis=0) > 0)
        at = np.array([day for day in range(block.first, block.last + 1) if day in wanted], int) - documents.first_day
        at = at[known[at]]
        chosen = (at + documents.first_day).tolist()
        bridges = covered[at]
        for (country, transport), columns in estimate_documents(documents, block).items():
            rows.add(chosen, country, transport, *(None if one is None else one[at] for one in columns), bridges)
        advance(len(chosen))
    return rows.table()


class Sums(NamedTuple):
    """Numbers of all bridges.

    Attributes:
        totals: (day).
        variances: (day) of their errors.
    """

    totals: Floats
    variances: Floats


def estimate_documents(documents: Documents, block: Block) -> Mapping[tuple[str, str], list[Floats | None]]:
    """Estimate all cells of one window; by country and transport, numbers and ends of intervals of all its days."""
    noise = {line: SharedNoise() for line in documents.cells}
    calibration = Calibration(np.random.default_rng(block.window_first))
    fits: dict[str, dict[tuple[str, str], Sums]] = {line: {} for line in documents.cells}
    for line, cells in documents.cells.items():
        window, chosen = cut_window(
            documents.instance,
            documents.day,
            documents.share,
            documents.running,
            first=0,
            last=documents.days - 1,
            mask=documents.lines[line],
        )
        places = number_chosen(chosen, len(documents.instance))
        kept = np.ones(len(documents.running))
        names = cells.largest_first()
        checked = choose_checked(len(names))
        for number, name in enumerate(names):
            place = cells.places[name]
            at = places[cells.reports[place]]
            used = at >= 0
            numbers = cells.numbers[place][used].astype(np.float64)
            variances = documents.variance[cells.reports[place]][used]
            # A rounded 0 says what a number that is not there says.
            used_now = (numbers > 0) | (variances > 0)
            seen = Observations(at[used][used_now], numbers[used_now], variances[used_now])
            if not (seen.numbers > 0).any():
                continue
            prior = noise[line].prior()
            fit = fit_cell(window, seen, kept, prior)
            noise[line].learn(fit)
            if number in checked:
                calibration.check(window, seen, kept, prior, fit)
            country, transport = name.split("/", 1)
            fits[line][country, transport] = Sums(fit.totals, fit.variances)
    factor = calibration.factor()
    for line in ("ips", "requests"):
        if fits[line]:
            found = list(fits[line].values())
            fits[line]["", ""] = Sums(
                np.sum([one.totals for one in found], axis=0), np.sum([one.variances for one in found], axis=0)
            )
    addresses = fits["ips"] | fits["transports"] | fits["country_transports"]
    result: dict[tuple[str, str], list[Floats | None]] = {}
    for cell in sorted({*addresses, *fits["requests"]}):
        result[cell] = [*_columns(addresses.get(cell), factor), *_columns(fits["requests"].get(cell), factor)]
    return result


def _columns(fit: Sums | None, factor: float) -> list[Floats | None]:
    if fit is None:
        return [None, None, None]
    return [np.maximum(fit.totals, 0), *find_interval(fit.totals, fit.variances, factor)]
