"""Documents of a bridge whose exact numbers are known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from obfstats.formats.counts import round_up
from obfstats.formats.document import Document, write_document
from obfstats.formats.interval import format_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

END = datetime(2026, 11, 29, 9, 22, 4, tzinfo=UTC)
"""End of the last interval."""

FINGERPRINT = "7cb8c8b7a9e2f1d0c3b4a5968778695a4b3c2d1e"


def publish(counts: Sequence[Mapping[str, int] | None]) -> list[Document]:
    """Publish clients by country, rounded up as a bridge does.

    Args:
        counts: of each day until END; None for a day without a document.
    """
    return [
        publish_day(countries, days_before=len(counts) - 1 - number)
        for number, countries in enumerate(counts)
        if countries is not None
    ]


def publish_day(countries: Mapping[str, int], days_before: int = 0, seconds: int = 86_400) -> Document:
    """Publish one interval, without the lines of `--extended`."""
    return Document(
        format_time(END - timedelta(days=days_before)),
        seconds,
        fingerprint=FINGERPRINT,
        ips={code: round_up(number) for code, number in countries.items() if number},
        requests={code: round_up(3 * number) for code, number in countries.items() if number},
    )


def write_folder(folder: Path, documents: Sequence[Document]) -> Path:
    """Write documents as `--publish DIR` does."""
    folder.mkdir(exist_ok=True)
    for document in documents:
        name = document.end.replace(" ", "-").replace(":", "-") + "-obfsproxy-stats"
        (folder / name).write_bytes(write_document(document))
    return folder
