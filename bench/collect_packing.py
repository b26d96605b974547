"""Packing and indexing: a year of 2,000 bridges' daily documents through the ledger into months' archives.

Each month is accepted, then published at once: its recent file, its archive, the index. Then one more month is
published day by day, as a collector does it. Texts and signatures have the size and the randomness of real ones.
"""

from __future__ import annotations

import argparse
import base64
import random
import resource
import sys
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.report import describe_machine, progress, warn_if_busy
from obfstats.collect.archive.publishing import PUBLIC, Publication
from obfstats.collect.signing import SigningKey
from obfstats.collect.store.database import open_database
from obfstats.collect.store.ledger import Ledger
from obfstats.collect.submission import Submission
from obfstats.formats.interval import format_time

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY = 86_400
FIRST_DAY = 1_764_547_200
"""2025-12-01."""

_BATCH = 500
_COUNTRIES = [first + second for first in "BCDFGILMNPRSTU" for second in "AERU"]


class Packed(NamedTuple):
    """One publication.

    Attributes:
        documents: that it had.
        seconds: of processor time that it took.
        size: of the month's archive in bytes.
        peak: MiB of memory that the process has held at most so far.
    """

    documents: int
    seconds: float
    size: int
    peak: float


class Bridges:
    """Bridges that make a document a day."""

    def __init__(self, count: int) -> None:
        self._random = random.Random(5047)
        self.all = [(self._random.randbytes(20).hex(), f"RW{self._base64(40)[:54]}") for _ in range(count)]

    def make_day(self, day: int) -> Iterator[Submission]:
        """Make the documents of a day, 86,400 seconds each, which end at its beginning."""
        for number, (bridge, key) in enumerate(self.all):
            end = day + number * DAY // len(self.all)
            text = self._write(bridge, end)
            signature = (
                f"untrusted comment: signature by {key}\n{self._base64(74)}\ntrusted comment: obfstats\n"
                f"{self._base64(64)}\n"
            ).encode()
            yield Submission(key, text, signature, bridge, "", end, DAY, sha256(text).hexdigest())

    def _write(self, bridge: str, end: int) -> bytes:
        codes = self._random.sample(_COUNTRIES, self._random.randint(5, 50))
        sizes = sorted((8 * int(self._random.paretovariate(0.9)) for _ in codes), reverse=True)
        cells = ",".join(f"{code}={size}" for code, size in zip(codes, sizes, strict=True))
        by_transport = ",".join(f"{code}/obfs4={size}" for code, size in zip(codes, sizes, strict=True))
        return (
            f"@type obfsproxy-stats 1.0\nhashed-fingerprint {bridge}\n"
            f"obfsproxy-stats-end ({DAY} s) {format_time(datetime.fromtimestamp(end, UTC))}\n"
            f"obfsproxy-ips {cells}\nobfsproxy-reqs {cells}\nobfsproxy-ip-versions v4=800,v6=80\n"
            f"obfsproxy-ip-transports obfs3=80,obfs4=800\nobfsproxy-ip-country-transports {by_transport}\n"
        ).encode()

    def _base64(self, size: int) -> str:
        return base64.b64encode(self._random.randbytes(size)).decode()


def pack(folder: Path, bridges: int, months: int) -> tuple[list[Packed], list[Packed]]:
    """Publish months, each at once, and one more day by day.

    Args:
        folder: the collector's, which is made.
        bridges: how many.
        months: how many.

    Returns:
        The publications of the months, and of the days.
    """
    folder.mkdir()
    database = str(folder / "ledger.sqlite")
    made = Bridges(bridges)
    with closing(open_database(database)) as opened:
        ledger = Ledger(opened)
        for bridge, key in made.all:
            ledger.admit(key, [bridge])
        publisher = Publication(folder, database, SigningKey.create(folder / "collector.key")).open_publisher(ledger)

        def publish(first: int, after: int) -> Packed:
            count = 0
            for day in range(first, after, DAY):
                documents = list(made.make_day(day))
                count += len(documents)
                for start in range(0, len(documents), _BATCH):
                    ledger.accept(documents[start : start + _BATCH], day)
            began = time.process_time()
            publisher.publish(after + 540)
            seconds = time.process_time() - began
            month = datetime.fromtimestamp(first, UTC).strftime("%Y-%m")
            size = (folder / PUBLIC / "archive" / f"obfsproxy-stats-{month}.tar.xz").stat().st_size
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            progress(f"{month}: {count:,} documents in {seconds:.1f} s, {size / 1e6:.1f} MB, {peak:.0f} MiB of memory")
            return Packed(count, seconds, size, peak)

        starts = [FIRST_DAY]
        for _ in range(months + 1):
            starts.append(_next_month(starts[-1]))
        at_once = [publish(first, after) for first, after in pairwise(starts[: months + 1])]
        by_day = [publish(day, day + DAY) for day in range(starts[months], starts[months + 1], DAY)]
    return at_once, by_day


def measure(bridges: int, months: int) -> str:
    """Measure, and give the tables."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        at_once, by_day = pack(Path(name) / "collector", bridges, months)
    documents, seconds = sum(each.documents for each in at_once), sum(each.seconds for each in at_once)
    rate = documents / seconds
    lines = [
        describe_machine(),
        "",
        f"{documents:,} documents of {bridges:,} bridges packed and indexed in {seconds:,.0f} CPU s, {rate:,.0f}/s",
        "",
        "| month | documents | CPU s | CPU ms a document | MB | memory at most so far, MiB |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {number} | {each.documents:,} | {each.seconds:.1f} | {each.seconds / each.documents * 1000:.3f} "
        f"| {each.size / 1e6:.1f} | {each.peak:.0f} |"
        for number, each in enumerate(at_once, 1)
    ]
    lines += ["", "| day of a month | CPU s |", "|---|---|"]
    lines += [f"| {day} | {by_day[day - 1].seconds:.1f} |" for day in (1, 10, 20, len(by_day))]
    return "\n".join(lines)


def _next_month(day: int) -> int:
    later = datetime.fromtimestamp(day, UTC).replace(day=28).timestamp() + 4 * DAY
    return int(datetime.fromtimestamp(later, UTC).replace(day=1, hour=0).timestamp())


def main() -> int:
    """Run it as a program; gives its exit status."""
    parser = argparse.ArgumentParser(prog="bench.collect_packing")
    parser.add_argument("--quick", action="store_true", help="100 bridges and 3 months: rougher figures")
    arguments = parser.parse_args()
    warn_if_busy()
    sys.stdout.write(f"{measure(100, 3) if arguments.quick else measure(2000, 12)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
