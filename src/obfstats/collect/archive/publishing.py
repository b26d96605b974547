"""Publishes at the moments that are due, until it is stopped: a thread of `obfstats collect serve`.

An error ends nothing. It is reported once, in one sentence, and the publication is tried again until it succeeds.
"""

from __future__ import annotations

import time
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from obfstats.collect.archive.monthly import MonthError
from obfstats.collect.archive.published_files import PUBLIC_KEY, Archive
from obfstats.collect.archive.publisher import ArchivePublisher, next_publication
from obfstats.collect.signing import SigningError, SigningKey
from obfstats.collect.store.database import DatabaseError, open_database
from obfstats.collect.store.ledger import Ledger
from obfstats.lockedfile import FileInUseError, LockedFileError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

PUBLIC = "public"
"""The folder of public files, in the collector's folder."""

_LOCK = ".publishing"
_KEY = "collector.key"
# Another collector's publication takes seconds; a full disk stays full for longer.
_BUSY_SECONDS = 1.0
_RETRY_SECONDS = 60.0


class Stopped(Exception):  # noqa: N818 - not an error
    """The program ends: what is undone is done after its next start."""


@dataclass(frozen=True, slots=True)
class Publication:
    """What is published, and where.

    Attributes:
        folder: the collector's.
        database: the ledger's URL.
        key: the collector's.
        period: seconds between publications.
        url: the archive's, for its index; None for that of the index that is there.
    """

    folder: Path
    database: str
    key: SigningKey
    period: int = 3600
    url: str | None = None

    def open_publisher(self, ledger: Ledger, checkpoint: Callable[[], None] = lambda: None) -> ArchivePublisher:
        """Make the publisher of a ledger; `checkpoint` as in `Archive`."""
        archive = Archive(self.folder / PUBLIC, self.key, checkpoint)
        return ArchivePublisher(ledger, archive, self.folder / _LOCK, period=self.period, url=self.url)


def open_collector_key(folder: Path) -> SigningKey:
    """Read the collector's key; make it at the first start.

    Raises:
        SigningError: if it can be neither read nor made, or if the archive that is there needs another one: files that
            are signed with two keys are refused by every mirror.
    """
    path, published = folder / _KEY, folder / PUBLIC / PUBLIC_KEY
    if published.exists() and not path.exists():
        raise SigningError(f"there is no {path}, which signs the archive; put it back from a backup")
    key = SigningKey.open(path)
    with suppress(FileNotFoundError):
        if key.public not in published.read_text("ascii", "replace").split():
            raise SigningError(
                f"{path} is not the key of {published}, which signs the archive; put that one back from a backup"
            )
    return key


def publish_until(
    stop: threading.Event,
    publication: Publication,
    report: Callable[[str], None],
    clock: Callable[[], float] = time.time,
) -> None:
    """Publish at once, and then whenever it is due.

    Args:
        stop: ends the work, also within a publication.
        publication: what is published.
        report: takes a sentence for the operator's log.
        clock: epoch seconds.
    """
    reported = ""
    while not stop.is_set():
        try:
            with closing(open_database(publication.database)) as database:
                publisher = publication.open_publisher(Ledger(database), lambda: _check(stop))
                while not stop.is_set():
                    now = int(clock())
                    try:
                        publisher.publish(now)
                    except FileInUseError:
                        stop.wait(_BUSY_SECONDS)
                        continue
                    if reported:
                        report("publishing works again")
                        reported = ""
                    _wait(now, next_publication(now, publication.period), stop, clock)
        except Stopped:
            return
        except (OSError, LockedFileError, DatabaseError, MonthError) as error:
            sentence = describe(error)
            if sentence != reported:
                report(f"cannot publish, trying again: {sentence}")
                reported = sentence
            stop.wait(min(_RETRY_SECONDS, publication.period))


def describe(error: Exception) -> str:
    """Put an error of a publication into words."""
    if isinstance(error, OSError):
        return f"{error.filename or 'the public folder'}: {error.strerror}"
    return str(error)


def _check(stop: threading.Event) -> None:
    if stop.is_set():
        raise Stopped


def _wait(now: int, due: int, stop: threading.Event, clock: Callable[[], float]) -> None:
    """Wait from now until a publication is due, or until the clock is set back: another one may be due then."""
    # In steps: the clock may be set, and the machine may sleep.
    while not stop.is_set() and now <= (moment := clock()) < due:
        stop.wait(min(due - moment, _RETRY_SECONDS))
