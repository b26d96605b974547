"""Descriptors to columns and to Parquet, against stem reading the same ten fields of the same descriptors.

The descriptors are clones of real ones (tests/analyse/samples) with fingerprints, times and numbers of their own. Both
sides run in this process, one after the other, and their processor time is compared.
"""

from __future__ import annotations

import io
import random
import re
import sys
import tarfile
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import stem
import stem.descriptor
import stem.descriptor.extrainfo_descriptor

from bench.process import run
from bench.report import BrokenError, Comparison, in_turn, main, progress, surroundings, table
from obfstats.analyse.descriptors import Text, split
from obfstats.analyse.ingest import BATCH_SIZE, ingest
from obfstats.analyse.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Input = TypeVar("_Input")

SAMPLE = Path(__file__).parents[1] / "tests" / "analyse" / "samples" / "bridge-extra-infos-2019-03-cropped.tar"

_TIME = re.compile(rb"2019-0[23]-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}")
_CELL = re.compile(rb"(?<=[a-z?>]=)[0-9]+")
_HISTORY = re.compile(rb"(?<=[ ,])[0-9]{4,}(?=[,\n])")
_FIELDS = (
    "fingerprint", "nickname", "published", "dir_stats_end", "dir_v3_responses", "dir_v3_requests", "bridge_ips",
    "ip_transports", "ip_versions", "dir_write_history_values",
)  # fmt: skip


class Size(NamedTuple):
    """How much is read, and how often."""

    descriptors: int
    rounds: int


def measure(size: Size) -> str:
    """Measure both, and write the table."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        archive = Path(name) / "bridge-extra-infos.tar"
        progress(f"writing {size.descriptors:,} descriptors")
        contents = list(clone(size.descriptors))
        write_archive(archive, contents)
        progress(f"{size.rounds} rounds in memory")
        text = b"".join(contents)
        del contents
        columns = _in_turn(size, _split, _stem, text)
        del text
        progress(f"{size.rounds} rounds from an archive to Parquet")
        whole = _in_turn(size, _ingest, _stem_archive, archive)
        ran = run((sys.executable, "-m", "bench.analyse", "ingest", str(archive)), Path(__file__).parents[1])
    rows = [
        Comparison(f"{what}: CPU µs", goal, 1, ours=_each(ours, size), peer=_each(peer, size))
        for what, goal, (ours, peer) in (
            ("a descriptor in memory to columns", 1 / 15, columns),
            ("a descriptor in an archive to Parquet", 1 / 6, whole),
        )
    ]
    return "\n".join(
        [
            surroundings(f"stem {stem.__version__}"),
            table("`obfstats analyse`", "stem", rows),
            "",
            f"Memory of a process that reads {size.descriptors:,} descriptors, in MiB: {ran.memory:.0f}.",
        ]
    )


def clone(count: int) -> Iterator[bytes]:
    """Give so many descriptors that differ in fingerprint, times and numbers."""
    generator = random.Random(1)
    with tarfile.open(SAMPLE) as archive:
        originals = [archive.extractfile(member).read() for member in archive if member.isfile()]  # type: ignore[union-attr]
    identity = re.compile(rb"(?<=^extra-info )([A-Za-z0-9]+) [0-9A-F]{40}", re.MULTILINE)
    for number in range(count):
        day, second = generator.randrange(2, 29), generator.randrange(86_400)
        moment = f"2019-03-{day:02} {second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}".encode()
        text = _TIME.sub(moment, originals[number % len(originals)])
        text = identity.sub(rb"\1 " + generator.randbytes(20).hex().upper().encode(), text)
        text = _CELL.sub(lambda _: b"%d" % (8 * int(generator.expovariate(0.2) + 1)), text)
        yield _HISTORY.sub(lambda _: b"%d" % (1024 * generator.randrange(1, 100_000)), text)


def write_archive(path: Path, contents: list[bytes]) -> None:
    """Write descriptors as CollecTor's archives of a month."""
    with tarfile.open(path, "w") as archive:
        for number, content in enumerate(contents):
            name = f"{number * 0x9E3779B97F4A7C15 % (1 << 160):040x}"
            member = tarfile.TarInfo(f"bridge-extra-infos-2019-03/{name[-1]}/{name[-2]}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def _in_turn(
    size: Size, ours: Callable[[_Input], int], peer: Callable[[_Input], int], source: _Input
) -> tuple[list[float], list[float]]:
    """Give the processor times of both sides on the same input; each gives the number of descriptors it read."""

    def measure(work: Callable[[_Input], int]) -> float:
        begin = time.process_time()
        count = work(source)
        taken = time.process_time() - begin
        if count != size.descriptors:
            raise BrokenError(f"{count} of {size.descriptors} descriptors were read")
        return taken

    return in_turn(size.rounds, partial(measure, ours), partial(measure, peer))


def _each(seconds: list[float], size: Size) -> list[float]:
    return [taken / size.descriptors * 1e6 for taken in seconds]


def _split(text: bytes) -> int:
    """Split in batches of the length that ingest uses."""
    count, begin = 0, 0
    while begin < len(text):
        end = text.find(b"\n@type ", begin + BATCH_SIZE) + 1 or len(text)
        count += split([Text(1, "archive", "", 1, begin, text[begin:end])]).extra_infos.num_rows
        begin = end
    return count


def _ingest(archive: Path) -> int:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        return ingest([archive], Store(Path(name)), workers=1, advance=lambda _: None).read["bridge-extra-info"]


def _stem_archive(archive: Path) -> int:
    count = 0
    with tarfile.open(archive, "r|") as opened:
        for member in opened:
            content = opened.extractfile(member)
            count += _stem(content.read()) if content is not None else 0
    return count


def _stem(text: bytes) -> int:
    """Read the fields with stem, into a column each."""
    columns: dict[str, list[object]] = {field: [] for field in _FIELDS}
    for descriptor in stem.descriptor.parse_file(io.BytesIO(text), "bridge-extra-info 1.3"):
        for field, column in columns.items():
            column.append(getattr(descriptor, field))
    return len(columns["fingerprint"])


if __name__ == "__main__":
    if sys.argv[1:2] == ["ingest"]:
        sys.exit(0 if _ingest(Path(sys.argv[2])) else 1)
    sys.exit(main("analyse", measure, Size(100_000, 5), Size(40_000, 3)))
