"""The tables that ingest writes and estimates read: Parquet files below DIR/store, partitioned by month.

    DIR/store/reports/month=2026-03/part-000001.parquet

Rules:

- Times are seconds since 1970-01-01 UTC, days are numbers of days since then; so every engine compares them alike.
- A row holds what a descriptor says. The rules of an estimate (what is imported, merged, rounded) are not applied here.
- Every row names its `source`, the number of the input file that it came from, so that a changed file's rows can be
  replaced.
- A month is that of the row's `day`. Rows of a part are sorted by day, so that a query of a few days reads little.
- `fingerprint` is the hashed fingerprint in upper-case hex; (fingerprint, nickname) is one instance of a bridge.
- Country codes are in lower case, `??` is unknown. Transports, versions and nicknames are as in the descriptor.

The manifest (DIR/store/manifest.json) says which parts belong to the store and which files they came from. It is
replaced in one step after its parts are on disk; parts that it does not name are leftovers of a run that was ended, and
the next one removes them. One program at a time writes.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from obfstats.analyse.days import DAY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

VERSION = 1
"""Of the tables and the manifest. A store of another version is read anew from its inputs."""

_ROW_GROUP = 1 << 17
_FORMAT = "obfstats store"

SCHEMAS: Mapping[str, pa.Schema] = {
    # One row for each bridge extra-info descriptor (dir-spec, extra-info).
    "reports": pa.schema(
        [
            pa.field("report", pa.int64(), nullable=False),  # its number in this store
            pa.field("source", pa.int32(), nullable=False),
            pa.field("day", pa.int32(), nullable=False),  # of stats_end, else bridge_end, else published
            pa.field("fingerprint", pa.string(), nullable=False),
            pa.field("nickname", pa.string(), nullable=False),
            pa.field("published", pa.int64(), nullable=False),
            pa.field("stats_end", pa.int64()),  # dirreq-stats-end
            pa.field("stats_seconds", pa.int32()),
            pa.field("ok", pa.int32()),  # of dirreq-v3-resp; null without that line
            pa.field("served", pa.int32()),  # null where dirreq-v3-resp has no served=
            pa.field("has_requests", pa.bool_(), nullable=False),  # whether dirreq-v3-reqs is there, even empty
            pa.field("bridge_end", pa.int64()),  # bridge-stats-end
            pa.field("bridge_seconds", pa.int32()),
        ]
    ),
    # One row for each CC=N, transport=N or v4=N of a report.
    "cells": pa.schema(
        [
            pa.field("report", pa.int64(), nullable=False),
            pa.field("source", pa.int32(), nullable=False),
            pa.field("day", pa.int32(), nullable=False),  # of the report
            pa.field("line", pa.string(), nullable=False),  # requests, ips, transports or versions
            pa.field("key", pa.string(), nullable=False),
            pa.field("number", pa.int32(), nullable=False),
        ]
    ),
    # One row for each value of dirreq-write-history.
    "histories": pa.schema(
        [
            pa.field("source", pa.int32(), nullable=False),
            pa.field("day", pa.int32(), nullable=False),  # of end_time
            pa.field("fingerprint", pa.string(), nullable=False),
            pa.field("nickname", pa.string(), nullable=False),
            pa.field("published", pa.int64(), nullable=False),  # of the descriptor
            pa.field("history_end", pa.int64(), nullable=False),  # of the whole line
            pa.field("start_time", pa.int64(), nullable=False),
            pa.field("end_time", pa.int64(), nullable=False),
            pa.field("bytes", pa.int64(), nullable=False),
        ]
    ),
    # One row for each bridge, day and source: the hours that begin in it in which a status had the flag Running.
    "statuses": pa.schema(
        [
            pa.field("source", pa.int32(), nullable=False),
            pa.field("day", pa.int32(), nullable=False),
            pa.field("fingerprint", pa.string(), nullable=False),
            pa.field("hours", pa.int32(), nullable=False),  # bit 0 is the hour from 00:00 to 01:00
        ]
    ),
    # One row for each bridge server descriptor: which tor a bridge runs.
    "servers": pa.schema(
        [
            pa.field("source", pa.int32(), nullable=False),
            pa.field("day", pa.int32(), nullable=False),  # of published
            pa.field("fingerprint", pa.string(), nullable=False),
            pa.field("nickname", pa.string(), nullable=False),
            pa.field("published", pa.int64(), nullable=False),
            pa.field("tor", pa.string()),  # version of tor, from the platform line
        ]
    ),
    # One row for each of our documents (docs/document.md).
    "documents": pa.schema(
        [
            pa.field("document", pa.int64(), nullable=False),  # its number in this store
            pa.field("source", pa.int32(), nullable=False),
            pa.field("day", pa.int32(), nullable=False),  # of end_time
            pa.field("fingerprint", pa.string(), nullable=False),  # empty where the document has none
            pa.field("instance", pa.string(), nullable=False),  # empty where the document names none
            pa.field("end_time", pa.int64(), nullable=False),
            pa.field("seconds", pa.int32(), nullable=False),
            pa.field("epsilon", pa.float64()),  # of the noise on `ips`; null where numbers are rounded
        ]
    ),
    # One row for each number of a document.
    "document_cells": pa.schema(
        [
            pa.field("document", pa.int64(), nullable=False),
            pa.field("source", pa.int32(), nullable=False),
            pa.field("day", pa.int32(), nullable=False),  # of the document
            pa.field("line", pa.string(), nullable=False),  # ips, requests, versions, transports, country_transports
            pa.field("country", pa.string(), nullable=False),  # empty where the line has none
            pa.field("key", pa.string(), nullable=False),  # transport or version; empty where the line has none
            pa.field("number", pa.int64(), nullable=False),
        ]
    ),
}
"""The columns of each table."""


class StoreError(Exception):
    """The store cannot be used. Its text is one sentence for the user: what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Part:
    """One Parquet file.

    Attributes:
        table: the table it belongs to.
        month: YYYY-MM.
        number: its number in the store.
        rows: its number of rows.
        days: the days that it has rows of, in order.
    """

    table: str
    month: str
    number: int
    rows: int
    days: tuple[int, ...]

    @property
    def path(self) -> str:
        """Where it is, relative to the store's folder."""
        return f"{self.table}/month={self.month}/part-{self.number:06}.parquet"


@dataclass(slots=True)
class Manifest:
    """What a store consists of.

    Attributes:
        digests: SHA-256 of each source's file in hex; empty where the file changed while it was read.
        paths: the source of each path. Files with the same content are one source.
        parts: the Parquet files.
        next_source: the number that the next source gets.
        next_part: the number that the next part gets.
        pending_days: days whose rows changed since estimates of them were last written.
    """

    digests: dict[int, str] = field(default_factory=dict)
    paths: dict[str, int] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    next_source: int = 1
    next_part: int = 1
    pending_days: list[int] = field(default_factory=list)


class Store:
    """The tables below a folder.

    Attributes:
        folder: the folder; it need not exist yet.
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is opened."""
        self.folder = folder

    def files(self, table: str, days: range | None = None) -> list[str]:
        """Give the Parquet files that hold all rows of a table of these days; they may hold rows of other days too.

        Raises:
            StoreError: if the store cannot be read.
        """
        return [
            str(self.folder / part.path)
            for part in self.read_manifest().parts
            if part.table == table and (days is None or any(day in days for day in part.days))
        ]

    def days(self) -> list[int]:
        """Give the numbers of the days that any table has rows of, in order.

        Raises:
            StoreError: if the store cannot be read.
        """
        return sorted({day for part in self.read_manifest().parts for day in part.days})

    def pending_days(self) -> list[int]:
        """Give the days that are still to be estimated since their rows changed, in order.

        Raises:
            StoreError: if the store cannot be read.
        """
        return self.read_manifest().pending_days

    def clear_pending_days(self, before: int) -> None:
        """Forget changed days: everything that depends on them has been written. The caller has the lock.

        Args:
            before: days from this one on stay pending, because they are not estimated yet.

        Raises:
            StoreError: if the store cannot be read.
        """
        manifest = self.read_manifest()
        manifest.pending_days = [day for day in manifest.pending_days if day >= before]
        self.commit(manifest)

    def read_manifest(self) -> Manifest:
        """Read the manifest; an empty one where the store does not exist yet.

        Raises:
            StoreError: if it cannot be read, or another version of obfstats wrote it.
        """
        path = self._manifest_path
        try:
            content: Any = json.loads(path.read_bytes())
        except FileNotFoundError:
            return Manifest()
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror}; run this as a user who may read it") from None
        except ValueError:
            content = None
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise self._not_a_manifest()
        if content.get("version") != VERSION:
            raise StoreError(
                f"{self.folder} was written by another version of obfstats; remove it, and its inputs are read again"
            )
        try:
            return Manifest(
                {int(number): digest for number, digest in content["digests"].items()},
                content["paths"],
                [Part(**{**part, "days": tuple(part["days"])}) for part in content["parts"]],
                content["next_source"],
                content["next_part"],
                content["pending_days"],
            )
        except (AttributeError, KeyError, TypeError, ValueError):
            raise self._not_a_manifest() from None

    def _not_a_manifest(self) -> StoreError:
        return StoreError(
            f"{self._manifest_path} is not a manifest of obfstats; give another folder, or remove {self.folder}"
        )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Make the folder, and keep other programs from writing while the context is open.

        Raises:
            StoreError: if another program is writing, or the folder cannot be made or written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise StoreError(f"cannot write to {self.folder}: {error.strerror}; give another folder") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise StoreError(f"another program is writing to {self.folder}; run this again when it is done") from None
        try:
            yield
        finally:
            os.close(descriptor)

    def commit(self, manifest: Manifest) -> None:
        """Make a manifest the store's own; the parts that it names must be on disk."""
        for folder in {(self.folder / part.path).parent for part in manifest.parts}:
            _sync_folder(folder)
            _sync_folder(folder.parent)
        content = {"format": _FORMAT, "version": VERSION, **asdict(manifest)}
        temporary = self.folder / "manifest.json.new"
        with temporary.open("w", encoding="ascii") as file:
            json.dump(content, file, separators=(",", ":"))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._manifest_path)
        _sync_folder(self.folder)

    def remove_leftovers(self, manifest: Manifest) -> None:
        """Remove the parts that a manifest does not name."""
        named = {self.folder / part.path for part in manifest.parts}
        for path in self.folder.glob("*/month=*/part-*.parquet"):
            if path not in named:
                path.unlink()

    @property
    def _manifest_path(self) -> Path:
        return self.folder / "manifest.json"


def write_parts(folder: Path, table: str, number: int, rows: pa.Table) -> list[Part]:
    """Write rows as one part for each month that they belong to, and see them to disk.

    Args:
        folder: the store's.
        table: the table's name.
        number: the parts' number; no other part of the table has it.
        rows: the rows, at least one, in any order.

    Returns:
        The parts.
    """
    days = rows["day"].to_numpy()
    # All days are in one century, and a stable sort of 16 bits takes one pass.
    order = np.argsort((days - days.min()).astype(np.uint16), kind="stable")
    rows, days = rows.unify_dictionaries().combine_chunks().take(pa.array(order)), days[order]
    parts = []
    distinct, firsts = np.unique(days, return_index=True)
    months = [month_of(int(day)) for day in distinct]
    begin = 0
    for index in range(len(distinct)):
        if index + 1 < len(distinct) and months[index + 1] == months[index]:
            continue
        start, end = int(firsts[begin]), int(firsts[index + 1]) if index + 1 < len(distinct) else len(days)
        month_days = tuple(int(day) for day in distinct[begin : index + 1])
        part = Part(table, months[index], number, end - start, month_days)
        path = folder / part.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            pq.write_table(
                rows.slice(start, end - start),
                file,
                compression="zstd",
                row_group_size=_ROW_GROUP,
                use_dictionary=[column.name for column in SCHEMAS[table] if column.type == pa.string()],
                store_schema=False,
            )
            file.flush()
            os.fsync(file.fileno())
        parts.append(part)
        begin = index + 1
    return parts


def month_of(day: int) -> str:
    """Give the month of a day as YYYY-MM."""
    return f"{datetime.fromtimestamp(day * DAY, UTC):%Y-%m}"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
