"""What has been published need not be kept: old intervals' lines are taken out of the log, while it is written."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from obfstats.bridge.logs import NOTICE
from obfstats.bridge.threads import on_a_thread
from obfstats.formats.interval import INTERVAL_SECONDS, format_time
from obfstats.ownfile import sync_folder

if TYPE_CHECKING:
    from collections.abc import Collection

    from obfstats.record.clock import Clock
    from obfstats.record.journal import Journal

_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
_SHAPE = "2012-02-07 14:01:04"
_DAY = timedelta(seconds=INTERVAL_SECONDS)

_log = logging.getLogger(__name__)


class Forgetting:
    """Takes lines out of a log so long after the end of their interval."""

    def __init__(self, journal: Journal, clock: Clock, after: timedelta) -> None:
        """Forget nothing yet.

        Args:
            journal: the log.
            clock: what tells the time.
            after: how long after the end of an interval its lines go.
        """
        self._journal = journal
        self._clock = clock
        self._after = after

    async def look(self, needed: Collection[str], *, whole: bool) -> None:
        """Take out what is old.

        Args:
            needed: starts of intervals whose lines stay, whatever their age.
            whole: look at every line. Otherwise the log's first one tells whether there is anything old: lines are in
                the order of time, unless somebody set the clock.

        Raises:
            OSError: if the log cannot be written anew; it is as it was then.
        """
        newest = format_time(datetime.fromtimestamp(self._clock.wall(), UTC) - _DAY - self._after)

        def keep(start: str) -> bool:
            # What is damaged stays: it is the operator's to look at.
            return start in needed or start > newest or _TIME.fullmatch(start) is None

        if not whole and keep(_first_start(self._journal.head())):
            return
        rewriting = self._journal.rewriting()
        try:
            await on_a_thread("forget", partial(rewriting.copy, keep))
        except Exception:
            # Not where this is cut off: the thread may still be writing.
            rewriting.abandon()
            raise
        if not rewriting.forgotten:
            rewriting.abandon()
            return
        self._journal.take_over(rewriting)
        # On the disk the old lines are there until the new name is.
        await on_a_thread("forget", partial(sync_folder, self._journal.path.parent))
        _log.log(NOTICE, "lines of intervals up to %s are taken out of the log", newest)


def _first_start(head: bytes) -> str:
    """Give the start of the interval that a log's first line belongs to; empty if there is none."""
    starts = (line[: len(_SHAPE)] for line in head.decode("ascii", "replace").split("\n"))
    return next((start for start in starts if _TIME.fullmatch(start)), "")
