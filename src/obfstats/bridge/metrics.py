"""A bridge's metrics (`--metrics HOST:PORT`): its health and load, and the statistics of intervals that are over.

Rules:

- What is served is a text that is made at random moments, one to ten minutes apart: a snapshot. A scrape reads that
  text and nothing else, so however often it comes, it learns no more than these moments show.
- Numbers that clients change are coarse (coarse.py), and have no labels that divide clients: a single transport's or
  country's number would be smaller.
- Nothing about this process from elsewhere: its open descriptors are its connections, its processor time their
  handshakes. So prometheus-client's own collectors are left out.
- Client statistics are read from the documents that were released, never from the recorder.
- Numbers of other origin (the disk, the collector) are as they are.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

from obfstats import __version__
from obfstats.bridge import threads
from obfstats.bridge.coarse import BYTES_STEP, CoarseCounter, coarse
from obfstats.exposition import counter, describe_documents, gauge, write_metrics
from obfstats.formats.document import read_documents
from obfstats.proxy.totals import Failure
from obfstats.publish.release import is_document, read_released

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from prometheus_client.core import Metric

    from obfstats.bridge.statistics import Statistics
    from obfstats.formats.document import Document
    from obfstats.proxy.service import Context
    from obfstats.record.clock import Clock

SNAPSHOT_SECONDS: Final = (60.0, 600.0)
"""Between two snapshots; drawn anew each time."""

_MAX_DOCUMENTS: Final = 64
"""Documents that are read, the newest: more than there are in 30 days."""

_COARSE: Final = "In steps of 8 that come late at random, so that no scrape dates a client."


class Metrics:
    """What is served.

    Attributes:
        text: the last snapshot.
    """

    def __init__(
        self,
        context: Context,
        clock: Clock,
        statistics: Statistics | None,
        draw_below: Callable[[int], int],
    ) -> None:
        """Make the first snapshot, and count errors in the program's log from now on.

        Args:
            context: knows what was relayed and refused.
            clock: the clocks.
            statistics: what counts, or None.
            draw_below: returns a random number from 0 to below another one.
        """
        self._context = context
        self._clock = clock
        self._statistics = statistics
        self._draw_below = draw_below
        self._began = clock.wall()
        self._errors = _ErrorCounter()
        logging.getLogger("obfstats").addHandler(self._errors)
        self._bytes = CoarseCounter(draw_below, BYTES_STEP)
        self._uncounted = CoarseCounter(draw_below)
        self._failed = {failure: CoarseCounter(draw_below) for failure in Failure}
        self._pauses = {reason: CoarseCounter(draw_below) for reason in ("limit", "shortage")}
        self._documents: list[Document] = []
        self._is_reading = False
        self._live: list[Metric] = []
        self._renew()

    async def update(self) -> None:
        """Make a snapshot if that is due. A disk that hangs delays the documents alone."""
        if self._clock.boot() >= self._due:
            self._renew()
            await self.read_documents()

    async def read_documents(self) -> None:
        """Read the documents that have been released."""
        folder = None if self._statistics is None else self._statistics.published
        if folder is None or self._is_reading:
            return
        self._is_reading = True
        try:
            self._documents = await threads.run_in_thread("metrics", partial(_read_documents, folder))
        except OSError:
            # Publishing meets the same obstacle, and reports it.
            return
        finally:
            self._is_reading = False
        self._write()

    def _renew(self) -> None:
        self._due = self._clock.boot() + self._context.draw(*SNAPSHOT_SECONDS)
        self._live = self._describe_load() + self._describe_health()
        self._write()

    def _write(self) -> None:
        self.text = write_metrics([*self._live, *describe_documents(self._documents)])

    def _describe_load(self) -> list[Metric]:
        """Describe what clients change."""
        gate, totals = self._context.gate, self._context.totals
        pauses = {"limit": gate.times_full, "shortage": gate.times_short}
        return [
            gauge(
                "obfstats_connections",
                "Connections now, unfinished handshakes included: rounded to a multiple of 8 at random, and never "
                "below 8, so that no scrape dates a client.",
                coarse(gate.connections, self._draw_below),
            ),
            gauge("obfstats_max_connections", "Connections at once, at most; further ones wait.", gate.max_connections),
            counter(
                "obfstats_relayed_bytes",
                "Bytes relayed in both directions together, in steps of a gibibyte that come late at random.",
                self._bytes.update(totals.relayed_bytes),
            ),
            counter(
                "obfstats_failed_connections",
                "Connections that were not relayed. protocol: not the transport's protocol; unfinished: gone or silent "
                "before the handshake was done; shed: too many unfinished handshakes; network_share: too many of one "
                f"network; orport: not accepted by tor. {_COARSE}",
                {failure.value: each.update(totals.failed[failure]) for failure, each in self._failed.items()},
                "reason",
            ),
            counter(
                "obfstats_accept_pauses",
                "How often new connections had to wait. limit: there were obfstats_max_connections; shortage: no "
                f"descriptors or memory were left. {_COARSE}",
                {reason: each.update(pauses[reason]) for reason, each in self._pauses.items()},
                "reason",
            ),
            counter(
                "obfstats_uncounted_connections",
                "Connections that were relayed and not counted, because the transport does not tell whose they are. "
                f"{_COARSE}",
                self._uncounted.update(totals.uncounted),
            ),
        ]

    def _describe_health(self) -> list[Metric]:
        """Describe what clients do not change."""
        health = [
            gauge("obfstats_build_info", "The version that runs; always 1.", {__version__: 1}, "version"),
            gauge("obfstats_start_timestamp_seconds", "When the program started.", self._began),
            gauge(
                "obfstats_snapshot_timestamp_seconds",
                "When these numbers were taken: every one to ten minutes, at random. Between that they do not change.",
                self._clock.wall(),
            ),
            counter("obfstats_internal_errors", "Errors in the program's log; report them.", self._errors.number),
        ]
        if self._statistics is None:
            return health
        failing = {"statistics_log": self._statistics.is_log_failing}
        if self._statistics.published is not None:
            failing["publish"] = self._statistics.is_publishing_failing
        if self._statistics.failed_submissions is not None:
            failing["submit"] = self._statistics.failed_submissions > 0
        text = (
            "1 while writing the statistics log, publishing or submitting fails; it is tried again, the log says why."
        )
        return [*health, gauge("obfstats_failing", text, failing, "task")]


class _ErrorCounter(logging.Handler):
    """Counts errors in the program's log. Warnings are left out: some report a refused client."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.number = 0

    def emit(self, record: logging.LogRecord) -> None:  # noqa: ARG002
        """Count one."""
        self.number += 1


def _read_documents(folder: Path) -> list[Document]:
    """Read the newest documents of a folder; what is none is left out.

    Raises:
        OSError: if the folder or a document cannot be read.
    """
    documents: list[Document] = []
    names = sorted(path for path in folder.iterdir() if is_document(path))
    for path in names[-_MAX_DOCUMENTS:]:
        text = read_released(path)
        try:
            found = read_documents(text, keep_unknown=True)
            # An interval before the year 1 has no start.
            documents += [document for document in found if document.interval]
        except (ValueError, OverflowError):
            continue
    return documents
