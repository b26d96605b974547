"""Our estimate of users: with a 90 % interval for every number, and robust against single bridges.

users = requests / 10, as in the published method. The rest differs: instances are told apart, the rounding up to 8 is
undone by its likelihood (fit.py, bins.py), bridges that ran without a report are predicted, and caps (caps.py) bound
what one instance can add. docs/how-sure.md describes the method and shows how often the intervals hold.

Rules:

- Days are estimated in blocks of 14 days, each from the 28 days that end with it, so a day is never estimated from less
  than a fortnight before it where the archive has one. Blocks start at fixed day numbers: the same archive gives the
  same numbers, whatever was estimated before.
- The total comes from `dirreq-v3-resp`, countries from `dirreq-v3-reqs`. Transports have no requests of their own: a
  report's requests are divided as its unique addresses are.
- Nothing is learned from a truth. What noise there is, how sizes of bridges are distributed, how much countries vary,
  and a factor for all intervals follow from the reports alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from obfstats.analyse.calibration import Calibration, SharedNoise, choose_checked
from obfstats.analyse.caps import FREE_TOTAL, MEDIAN_DAYS, Reports, cap_cell
from obfstats.analyse.days import DAY
from obfstats.analyse.fit import Observations, find_interval, fit_cell, number_chosen, sum_by
from obfstats.analyse.panel import find_span, load_panel, plan_blocks
from obfstats.analyse.past import load_past
from obfstats.analyse.rows import Rows
from obfstats.analyse.transports import Requests, divide_requests

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from obfstats.analyse.fit import Booleans, Fit, Floats, Integers, Window
    from obfstats.analyse.panel import Block, Panel, Query
    from obfstats.analyse.past import Past

REQUESTS_PER_USER = 10

UNPROVEN_SHARE = 0.1
"""What caps took off may be honest: up to this share of a number, the upper end of its interval includes it."""

USERS_SCHEMA = pa.schema(
    [
        ("date", pa.date32()),
        ("country", pa.string()),
        ("transport", pa.string()),
        ("users", pa.float64()),
        ("lower", pa.float64()),
        ("upper", pa.float64()),
        ("predicted", pa.float64()),
        ("capped", pa.float64()),
    ]
)
"""obfstats-users. Of country and transport at most one is given; `predicted` is the part of `users` of bridges that ran
without a report, `capped` what the caps took off."""

BRIDGES_SCHEMA = pa.schema(
    [
        ("date", pa.date32()),
        ("running", pa.float64()),
        ("reporting", pa.float64()),
        ("served_share", pa.float64()),
        ("completed_share", pa.float64()),
        ("capped_bridges", pa.int64()),
        ("capped_users", pa.float64()),
        ("series_break", pa.bool_()),
    ]
)
"""obfstats-bridges. `running`: instances on average over the day, null without a status; `reporting`: instances that
reports cover, on average; `served_share`: of the reports, those with `served=`; `completed_share`: ok / served of
these; `series_break`: whether most reports have `served=` from this day on, which breaks the published series."""


class Tables(NamedTuple):
    """The estimate.

    Attributes:
        users: with USERS_SCHEMA, sorted by date, country and transport.
        bridges: with BRIDGES_SCHEMA, sorted by date.
    """

    users: pa.Table
    bridges: pa.Table


def estimate_users(query: Query, days: Iterable[int], advance: Callable[[int], None] = lambda _: None) -> Tables:
    """Estimate users of some days, by country and by transport.

    Args:
        query: runs SQL over the views `reports`, `cells` and `statuses` of the whole archive.
        days: numbers of the days since 1970-01-01.
        advance: takes the number of days that are done.
    """
    wanted = set(days)
    users, bridges = Rows(USERS_SCHEMA), Rows(BRIDGES_SCHEMA)
    span = find_span(query, "reports", f"stats_seconds = {DAY} AND ok IS NOT NULL")
    if span is None or not wanted:
        return Tables(users.table(), bridges.table())
    first, last = span
    past = load_past(query, first, min(max(wanted), last))
    served_before = None
    for block in plan_blocks(wanted, first, last):
        panel = load_panel(query, block.window_first - 1 - MEDIAN_DAYS, min(block.window_last + 1, last))
        estimate = estimate_block(panel, block, past)
        # Where the archive has a gap there is no number, which is not the number 0.
        window = panel.window(0, panel.days - 1)
        is_covered = window[0].covered.sum(axis=0) > 0
        known = is_covered | (panel.has_status & is_covered.any())
        chosen = [day for day in range(block.first, block.last + 1) if day in wanted and known[day - panel.first_day]]
        at = np.array(chosen, dtype=np.intp) - block.first
        for cell in estimate.cells:
            users.add(chosen, cell.country, cell.transport, *(values[at] for values in cell.columns()))
        served_before = _add_bridges(bridges, panel, window, block, estimate, chosen=chosen, before=served_before)
        advance(len(chosen))
    return Tables(users.table(), bridges.table())


@dataclass(frozen=True)
class CellEstimate:
    """Users of one cell on the days of a block.

    Attributes:
        country: its code, or empty.
        transport: its name, or empty.
        users: (day).
        lower: (day).
        upper: (day).
        predicted: (day) part of `users` without a report.
        capped: (day) what caps took off.
    """

    country: str
    transport: str
    users: Floats
    lower: Floats
    upper: Floats
    predicted: Floats
    capped: Floats

    def columns(self) -> tuple[Floats, ...]:
        """Give the columns in the order of the table."""
        return self.users, self.lower, self.upper, self.predicted, self.capped


@dataclass(frozen=True)
class BlockEstimate:
    """All cells of a block.

    Attributes:
        cells: the total first.
        capped_instances: (day) how many were capped in the total.
    """

    cells: list[CellEstimate]
    capped_instances: Integers


def estimate_block(panel: Panel, block: Block, past: Past) -> BlockEstimate:
    """Estimate all cells on the days of one block.

    Args:
        panel: from a fortnight and a day before the window to a day after it.
        block: the days.
        past: of all instances.
    """
    return _BlockEstimator(panel, block, past).estimate()


class _BlockEstimator:
    """Estimates the cells of one block one after the other; each learns from the noise of those before."""

    def __init__(self, panel: Panel, block: Block, past: Past) -> None:
        self.panel = panel
        self.block = block
        self.past = past
        self.first = block.window_first - 1 - panel.first_day
        self.last = min(block.window_last + 1 - panel.first_day, panel.days - 1)
        self.history = Reports(panel.instance, panel.day, panel.days, past.first_day - panel.first_day)
        self.offset = block.first - panel.first_day - self.first
        self.length = block.last - block.first + 1
        self.rows = past.find(panel)
        self.noise = SharedNoise()
        self.calibration = Calibration(np.random.default_rng(block.window_first))

    def estimate(self) -> BlockEstimate:
        """Estimate the total, the countries and the transports."""
        panel = self.panel
        fits: list[tuple[str, str, Fit, Floats]] = []
        everything = panel.window(self.first, self.last)
        reports = np.flatnonzero(panel.total)
        total = self._cap(everything, reports, panel.total[reports], line="total", free=FREE_TOTAL)
        total_fit = self._fit(everything[0], total, check=True)
        fits.append(("", "", total_fit, total.cut))
        window = everything if panel.has_countries.all() else panel.window(self.first, self.last, panel.has_countries)
        # The largest first: they know most about the noise.
        names = panel.countries.largest_first()
        checked = choose_checked(len(names))
        for number, name in enumerate(names):
            place = panel.countries.places[name]
            cell = self._cap(
                window, panel.countries.reports[place], panel.countries.numbers[place], line="requests", key=name
            )
            if len(cell.seen.reports):
                fits.append((name, "", self._fit(window[0], cell, check=number in checked), cell.cut))
        fits += self._fit_transports(everything[1], total, total_fit)
        factor = self.calibration.factor()
        cells = [self._finish(country, transport, found, cut, factor) for country, transport, found, cut in fits]
        return BlockEstimate(cells, self._count_capped(everything, total))

    def _fit(self, window: Window, cell: _CappedCell, *, check: bool) -> Fit:
        """Fit a cell, and learn from it for the others."""
        prior = self.noise.prior()
        fit = fit_cell(window, cell.seen, cell.kept, prior)
        self.noise.learn(fit)
        if check:
            self.calibration.check(window, cell.seen, cell.kept, prior, fit)
        return fit

    def _cap(
        self,
        window: tuple[Window, Integers],
        reports: Integers,
        numbers: Integers,
        *,
        line: str,
        key: str = "",
        free: int | None = None,
    ) -> _CappedCell:
        """Cap a cell; `reports` are those of the panel whose number is not 0, `numbers` what they say."""
        frame, chosen = window
        place = number_chosen(chosen, len(self.panel.instance))
        in_window = place[reports] >= 0
        trust = self.past.trust(line, key, self.rows, self.block.window_first)
        exposure = frame.covered.sum(axis=1)
        capped = cap_cell(
            self.history, reports, numbers, in_window=in_window, exposure=exposure, trust=trust, free=free
        )
        seen = place[reports[in_window]]
        cut = (numbers[in_window] - capped.numbers).astype(float)
        day, share = frame.day[seen], frame.share[seen]
        days = frame.covered.shape[1]
        by_day = sum_by(day, cut * share, days) + sum_by(day - 1, cut * (1 - share), days)
        observations = Observations(seen, capped.numbers.astype(float), np.zeros(len(seen)))
        return _CappedCell(observations, capped.kept, by_day, capped.is_capped)

    def _fit_transports(self, chosen: Integers, total: _CappedCell, fit: Fit) -> Iterator[tuple[str, str, Fit, Floats]]:
        """Fit the transports. Their caps are those of the total, whose requests, of `chosen` reports, are divided."""
        panel = self.panel
        of_panel = np.zeros((3, len(panel.instance)))
        of_panel[:, chosen[total.seen.reports]] = total.seen.numbers, fit.means, fit.spreads
        window, chosen = panel.window(self.first, self.last, panel.has_transports)
        requests = Requests(*of_panel[:, chosen])
        places = number_chosen(chosen, len(panel.instance))
        for name, seen in divide_requests(window, places, panel.transports, requests, self.noise.prior()):
            if len(seen.reports):
                found = fit_cell(window, seen, total.kept, self.noise.prior())
                yield "", name, found, np.zeros(window.covered.shape[1])

    def _finish(self, country: str, transport: str, fit: Fit, cut: Floats, factor: float) -> CellEstimate:
        days = slice(self.offset, self.offset + self.length)
        totals, variances = fit.totals[days], fit.variances[days]
        lower, upper = find_interval(totals, variances, factor)
        capped = np.maximum(fit.capped[days] + cut[days], 0)
        upper += np.minimum(capped, UNPROVEN_SHARE * totals)
        columns = (totals, lower, upper, fit.predicted[days], capped)
        return CellEstimate(country, transport, *(column / REQUESTS_PER_USER for column in columns))

    def _count_capped(self, window: tuple[Window, Integers], total: _CappedCell) -> Integers:
        """Count the instances whose number in the total was capped, by the days of their reports."""
        frame, _ = window
        capped = (frame.covered > 0) & (total.kept < 1)[:, None]
        reports = total.seen.reports[total.is_capped]
        capped[frame.instance[reports], frame.day[reports]] = True
        return np.asarray(capped.sum(axis=0)[self.offset : self.offset + self.length])


@dataclass(frozen=True)
class _CappedCell:
    """Observations of one cell after its caps.

    Attributes:
        seen: the observations in the window.
        kept: (instance) what the cap of a window leaves.
        cut: (day) what caps of reports took off.
        is_capped: of each observation, whether its number was cut.
    """

    seen: Observations
    kept: Floats
    cut: Floats
    is_capped: Booleans


def _add_bridges(
    rows: Rows,
    panel: Panel,
    everything: tuple[Window, Integers],
    block: Block,
    estimate: BlockEstimate,
    *,
    chosen: list[int],
    before: float | None,
) -> float | None:
    """Add the days of a block to the table of bridges; gives the share with `served=` of the last one."""
    window, reports = everything
    total = estimate.cells[0]
    has_served = panel.completed[reports] >= 0
    served = np.where(has_served, panel.total[reports], 0)
    completed = np.where(has_served, panel.completed[reports], 0)
    ended = np.bincount(window.day, minlength=panel.days)
    with_served = np.bincount(window.day, weights=has_served, minlength=panel.days)
    sums = np.bincount(window.day, weights=served, minlength=panel.days)
    done = np.bincount(window.day, weights=completed, minlength=panel.days)
    covered, running = window.covered.sum(axis=0), panel.running.sum(axis=0)
    share = with_served / np.maximum(ended, 1)
    for day in chosen:
        at, place = day - panel.first_day, day - block.first
        if before is None:
            before = float(share[at - 1]) if at and ended[at - 1] else None
        now = float(share[at]) if ended[at] else None
        rows.add(
            [day],
            running[at] if panel.has_status[at] else None,
            covered[at],
            now,
            float(done[at] / sums[at]) if sums[at] else None,
            int(estimate.capped_instances[place]),
            total.capped[place],
            before is not None and now is not None and before < 0.5 <= now,
        )
        before = now if now is not None else before
    return before
