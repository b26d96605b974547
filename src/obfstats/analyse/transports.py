"""Requests by transport: tor counts requests by country alone, and unique addresses by transport.

A report's requests are divided as its addresses are. The addresses are rounded up to 8 as well, so their numbers are
estimated first, transport by transport, with the same model (fit.py). Where a report has one transport, all of its
requests are of that one, and their bin is kept. Where it has none, they are of `<OR>`, as in the published method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from obfstats.analyse.fit import Observations, fit_cell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obfstats.analyse.fit import Floats, Integers, Noise, Window
    from obfstats.analyse.panel import SparseNumbers

PLAIN_TRANSPORT = "<OR>"
"""tor's name of connections without a transport."""

MAX_TRANSPORTS = 50
"""Those of most reports are estimated. Bridges can claim any names, and each costs a fit."""

_LEAST_UNCERTAINTY = 1e-6


@dataclass(frozen=True)
class Requests:
    """Requests of the reports of a window.

    Attributes:
        bins: of each report, the published number after caps, a multiple of 8.
        means: of each report, the expected exact number.
        variances: of that.
    """

    bins: Floats
    means: Floats
    variances: Floats


def divide_requests(
    window: Window, places: Integers, transports: SparseNumbers, requests: Requests, prior: Noise
) -> Iterator[tuple[str, Observations]]:
    """Give what the reports say about each transport.

    Args:
        window: the reports.
        places: of each report of the panel, its number in the window, or -1.
        transports: addresses of the panel's reports.
        requests: of the window's reports.
        prior: what is known about noise.
    """
    size = len(requests.bins)
    uncapped = np.ones(len(window.covered))
    addresses: dict[str, tuple[Integers, Floats, Floats]] = {}
    sums, variances, kinds = np.zeros((3, size))
    for name in transports.largest_first()[:MAX_TRANSPORTS]:
        part = transports.places[name]
        at = places[transports.reports[part]]
        used = at >= 0
        reports, numbers = at[used], transports.numbers[part][used].astype(np.float64)
        if len(reports):
            fit = fit_cell(window, Observations(reports, numbers, np.zeros(len(reports))), uncapped, prior)
            addresses[name] = reports, fit.means, fit.spreads
            sums[reports] += fit.means
            variances[reports] += fit.spreads
            kinds[reports] += 1
    without = np.flatnonzero((kinds == 0) & (requests.bins > 0))
    plain = addresses.get(PLAIN_TRANSPORT, (np.zeros(0, np.intp), np.zeros(0), np.zeros(0)))
    if len(without) or PLAIN_TRANSPORT in addresses:
        ones, zeros = np.ones(len(without)), np.zeros(len(without))
        sums[without] = 1.0
        added = (without, ones, zeros)
        addresses[PLAIN_TRANSPORT] = tuple(np.concatenate(pair) for pair in zip(plain, added, strict=True))  # type: ignore[assignment]
    for name, (reports, mean, own) in addresses.items():
        share, of_all = mean / sums[reports], sums[reports]
        # One address makes more requests than another: addresses are a sample of requests.
        error = share * (1 - share) / np.maximum(of_all, 1)
        error += ((1 - share) ** 2 * own + share**2 * (variances[reports] - own)) / of_all**2
        means, spread = requests.means[reports], requests.variances[reports]
        is_bin = kinds[reports] <= 1
        values = np.where(is_bin, requests.bins[reports], share * means)
        uncertainty = share**2 * spread + means**2 * error + _LEAST_UNCERTAINTY
        used = requests.bins[reports] > 0
        yield name, Observations(reports[used], values[used], np.where(is_bin, 0.0, uncertainty)[used])
