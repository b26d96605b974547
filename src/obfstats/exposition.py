"""Numbers in Prometheus's text format, and what a bridge's documents say in it. Used by `bridge` and `show`.

Rules:

- Client statistics are those of the last published interval, as they were published: rounded, or with noise.
- A country of the last 30 days that the last interval does not have is 0. A series that is missing for a day would hide
  a drop to nothing, and `increase()` would miss a country's first day.
- Names, HELP texts and labels are part of the interface: packaging/grafana and people's dashboards use them.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/ (text format 0.0.4).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from obfstats.formats.interval import INTERVAL_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeAlias

    from prometheus_client.core import Metric

    from obfstats.formats.document import Document

    Value: TypeAlias = float | Mapping[str, float]
    """One number, or one for each value of a label."""

MONTH: Final = timedelta(days=30)
"""How long a country has zeros after its last number."""

_NOTHING_YET: Final = (
    "There is nothing until the first interval is over and published (--publish), a day after the start: numbers of a "
    "running interval would date clients."
)
_ROUNDED: Final = "as published: rounded up to a multiple of 8, or with noise if there is an epsilon"


class _Given(Collector):
    """Metrics that are collected already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """Give them."""
        return self._metrics


def gauge(name: str, text: str, value: Value | None, label: str = "") -> Metric:
    """Make a gauge.

    Args:
        name: of the metric.
        text: of its HELP line.
        value: its number, or one for each value of the label; None for a gauge without any number.
        label: the name of the label, if there is one.
    """
    return _fill(GaugeMetricFamily(name, text, labels=[label] if label else []), value)


def counter(name: str, text: str, value: Value, label: str = "") -> Metric:
    """Make a counter; arguments as for `gauge`, the name without `_total`."""
    return _fill(CounterMetricFamily(name, text, labels=[label] if label else []), value)


def write_metrics(metrics: Iterable[Metric]) -> bytes:
    """Write metrics in the text format."""
    registry = CollectorRegistry()
    registry.register(_Given(metrics))
    return generate_latest(registry)


def describe_documents(documents: Sequence[Document]) -> list[Metric]:
    """Describe the last interval of a bridge's documents.

    Args:
        documents: in any order; each must have an interval.
    """
    last = max(documents, key=lambda document: document.interval.end, default=None)
    month = [] if last is None else [each for each in documents if each.interval.end > last.interval.end - MONTH]

    def numbers(read: Callable[[Document], Mapping[str, int] | None]) -> dict[str, float] | None:
        """Give the last interval's numbers, with zeros for the other names of the month."""
        found = None if last is None else read(last)
        if found is None:
            return None
        names = sorted({name for each in month for name in read(each) or ()})
        return {name: found.get(name, 0) for name in names}

    return [
        gauge(
            "obfstats_interval_end_timestamp_seconds",
            f"End of the last published interval. {_NOTHING_YET}",
            None if last is None else last.interval.end.timestamp(),
        ),
        gauge(
            "obfstats_interval_seconds",
            "Length of the last published interval.",
            None if last is None else last.seconds,
        ),
        gauge(
            "obfstats_interval_epsilon",
            "Epsilon of the noise in the last published interval. There is none where numbers are rounded.",
            None if last is None or last.epsilon is None else float(last.epsilon),
        ),
        gauge(
            "obfstats_published_documents",
            "Documents of whole days in the 30 days before the end of the last one.",
            sum(each.seconds == INTERVAL_SECONDS for each in month),
        ),
        gauge(
            "obfstats_interval_addresses",
            f"Different addresses of the last published interval by country, {_ROUNDED}. "
            f"0 for other countries of the last 30 days. {_NOTHING_YET}",
            numbers(lambda document: document.ips),
            "country",
        ),
        gauge(
            "obfstats_interval_connections",
            f"Connections of the last published interval by country, {_ROUNDED}. "
            f"0 for other countries of the last 30 days. {_NOTHING_YET}",
            numbers(lambda document: document.requests),
            "country",
        ),
        gauge(
            "obfstats_interval_transport_addresses",
            f"Different addresses of the last published interval by transport, {_ROUNDED}. Needs --extended.",
            numbers(lambda document: document.ip_transports),
            "transport",
        ),
        gauge(
            "obfstats_interval_family_addresses",
            f"Different addresses of the last published interval by address family, {_ROUNDED}. Needs --extended.",
            numbers(lambda document: document.ip_versions),
            "family",
        ),
    ]


def _fill(metric: GaugeMetricFamily | CounterMetricFamily, value: Value | None) -> Metric:
    if isinstance(value, Mapping):
        for name, number in value.items():
            metric.add_metric([name], number)
    elif value is not None:
        metric.add_metric([], value)
    return metric
