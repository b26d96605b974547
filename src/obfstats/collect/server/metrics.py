"""What /metrics shows: numbers of documents, requests and errors. No label names a bridge, a key or an address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from obfstats.collect.store.admission import Outcome

if TYPE_CHECKING:
    from pathlib import Path

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of Prometheus's text format, which `CollectorMetrics.render` writes."""

REFUSED = {401: "bad_signature", 413: "too_long", 422: "bad_document"}
"""Outcomes of documents that never get to the ledger, by the status that they are answered with."""

_REFUSED_REQUESTS = (400, 404, 405, 413, 415, 422, 429, 500, 503)
_COMMIT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class CollectorMetrics:
    """The numbers of one service.

    Attributes:
        documents: documents that were judged, by outcome.
        refused: requests that were refused as a whole, by HTTP status.
        commit_seconds: how long the ledger took to make a group of documents durable.
        quarantined: documents in quarantine.
        ledger_errors: how often the ledger failed.
    """

    def __init__(self) -> None:
        # Each number would come with the time at which it was first counted.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self.documents = Counter(
            "obfstats_collect_documents", "Documents judged.", ["outcome"], registry=self._registry
        )
        self.refused = Counter(
            "obfstats_collect_refused_requests", "Requests refused as a whole.", ["status"], registry=self._registry
        )
        # From the start: that a number appears would tell that it was counted for the first time.
        for outcome in (*(each.name.lower() for each in Outcome), *REFUSED.values()):
            self.documents.labels(outcome)
        for status in _REFUSED_REQUESTS:
            self.refused.labels(str(status))
        self.commit_seconds = Histogram(
            "obfstats_collect_commit_seconds",
            "Time of a group commit.",
            buckets=_COMMIT_SECONDS,
            registry=self._registry,
        )
        self.quarantined = Gauge("obfstats_collect_quarantined", "Documents in quarantine.", registry=self._registry)
        self.ledger_errors = Counter(
            "obfstats_collect_ledger_errors", "Failures of the ledger.", registry=self._registry
        )

    def show_last_publication(self, index: Path) -> None:
        """Show when the archive was last published, by whichever collector; 0 before the first time.

        Args:
            index: the archive's index, which a publication writes last.
        """

        def read_time() -> float:
            try:
                return index.stat().st_mtime
            except OSError:
                return 0

        Gauge(
            "obfstats_collect_last_publication_timestamp_seconds", "Last publication.", registry=self._registry
        ).set_function(read_time)

    def render(self) -> bytes:
        """Write all numbers in Prometheus's text format."""
        return generate_latest(self._registry)
