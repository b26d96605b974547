"""Input files become rows of the store (store.py), several files at a time, and only those that are new or changed.

Rules:

- A file is known by the SHA-256 of its bytes. What is known is not read again, under whatever path.
- A path whose content changed is read again; the rows of its old content are removed in the same step.
- Files are never forgotten because they are gone: CollecTor's `recent` folder keeps its files for three days.
- Until the manifest is replaced at the end, the store is what it was before. A run that is ended leaves nothing that
  counts.
- A file that changes while it is read counts as it was read, and is read again next time.
- Memory does not depend on the size of the inputs: a process holds one batch of text and the rows of one part.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from obfstats.analyse.archives import ArchiveError, find_files, input_error, read_pieces
from obfstats.analyse.descriptors import Text, split
from obfstats.analyse.processes import WorkerPool, add_progress, take_part_number
from obfstats.analyse.store import Manifest, Part, Store, StoreError, write_parts
from obfstats.analyse.tables import TableMaker
from obfstats.commandline import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BATCH_SIZE = 12 << 20
"""Bytes of text that are split at once."""

_PART = 16 << 20
"""Bytes of rows in memory that are written as a part."""

_TASK = 32 << 20
"""Bytes of small files that one process reads in a row."""

_ALONE = 8 << 20
"""Bytes of inputs that are read before another process would have started."""

_MAX_LABELS = 100
_SMALL_ROWS = 200_000
_MAX_SMALL_PARTS = 8


@dataclass(slots=True)
class DamageCount:
    """Damage of one kind.

    Attributes:
        count: how often it was found.
        first: where it was found first: file, member, line.
    """

    count: int
    first: str


@dataclass(slots=True)
class IngestResult:
    """What an ingest did.

    Attributes:
        changed_days: numbers of the days of which rows were added or removed.
        files: number of files that were read.
        known: number of files that were known and not read.
        read: number of descriptors by type.
        skipped: number of what was left out without being damaged, by type or annotation.
        damaged: what was damaged and left out, by type and reason.
    """

    changed_days: set[int] = field(default_factory=set)
    files: int = 0
    known: int = 0
    read: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    damaged: dict[str, DamageCount] = field(default_factory=dict)

    def add_damage(self, what: str, locate: Callable[[], str], count: int = 1) -> None:
        """Count damage; only the first of its kind is located."""
        if what not in self.damaged:
            self.damaged[what] = DamageCount(0, locate())
        self.damaged[what].count += count

    def add_skipped(self, skipped: Counter[str]) -> None:
        """Count what was left out; a file may name any number of types, of which so many are told apart."""
        for what, count in skipped.items():
            name = one_line(what)
            self.skipped[name if name in self.skipped or len(self.skipped) < _MAX_LABELS else "others"] += count


class _File(NamedTuple):
    """A file to read. `state` is its device, inode, size and modification time when its digest was made."""

    path: str
    digest: str
    size: int
    state: tuple[int, ...]
    source: int = 0


class _TaskResult(NamedTuple):
    parts: list[Part]
    found: IngestResult
    changed_sources: list[int]


def ingest(inputs: Sequence[Path], store: Store, *, workers: int, advance: Callable[[int], None]) -> IngestResult:
    """Read input files into a store. The caller has its lock, if others may write to it.

    Args:
        inputs: files and folders.
        store: the store; it is made if it does not exist.
        workers: number of processes that read; 1 reads in this one.
        advance: takes the number of bytes of the inputs that are done since the last call.

    Returns:
        What was read, and which days changed.

    Raises:
        InputError: if an input cannot be read.
        StoreError: if the store cannot be used.
    """
    # Not resolved: what a link points to may change its name with its content.
    paths = list(dict.fromkeys(os.path.abspath(path) for path in find_files(inputs)))  # noqa: PTH100 - as above
    own = os.path.abspath(store.folder) + os.sep  # noqa: PTH100 - as above
    paths = [path for path in paths if not path.startswith(own)]
    try:
        return _ingest(paths, store, workers, advance)
    except OSError as error:
        raise StoreError(f"cannot write to {store.folder}: {error.strerror}; free some space there") from None


def _ingest(paths: Sequence[str], store: Store, workers: int, advance: Callable[[int], None]) -> IngestResult:
    old = store.read_manifest()
    store.remove_leftovers(old)
    with WorkerPool(workers if _size_of(paths) > _ALONE else 1, old.next_part, advance) as pool:
        files = list(pool.run(_digest, [(path,) for path in paths]))
        new, to_read, dropped = _plan(old, files)
        result = IngestResult(files=len(to_read), known=len(files) - len(to_read))
        advance(sum(file.size for file in files) - sum(file.size for file in to_read))
        for task in pool.run(_read_files, [(str(store.folder), group) for group in _group(to_read, workers)]):
            new.parts += task.parts
            new.digests |= dict.fromkeys(task.changed_sources, "")
            _add(result, task.found)
        new.next_part = pool.next_part()
    result.changed_days |= {day for part in new.parts[len(old.parts) :] for day in part.days}
    result.changed_days |= _remove_sources(store.folder, new, dropped)
    _merge_small_parts(store.folder, new)
    new.pending_days = sorted({*old.pending_days, *result.changed_days})
    if new != old:
        store.commit(new)
        store.remove_leftovers(new)
    return result


def _plan(old: Manifest, files: Sequence[_File]) -> tuple[Manifest, list[_File], set[int]]:
    """Choose what to read; give the new manifest without new parts, the files to read, and sources that are gone."""
    digests, paths = dict(old.digests), dict(old.paths)
    known = {digest: source for source, digest in digests.items() if digest}
    next_source = old.next_source
    to_read = []
    for file in files:
        source = known.get(file.digest)
        if source is None:
            source, next_source = next_source, next_source + 1
            digests[source], known[file.digest] = file.digest, source
            to_read.append(file._replace(source=source))
        paths[file.path] = source
    dropped = set(old.digests) - set(paths.values())
    for source in dropped:
        del digests[source]
    new = Manifest(digests, paths, list(old.parts), next_source, old.next_part, old.pending_days)
    return new, to_read, dropped


def _group(files: Sequence[_File], workers: int) -> list[list[_File]]:
    """Group files into tasks: large ones alone and first, small ones in the order of their paths."""
    limit = min(_TASK, sum(file.size for file in files) // (2 * workers))
    groups = [[file] for file in sorted(files, key=lambda file: -file.size) if file.size >= limit]
    group: list[_File] = []
    size = 0
    for file in files:
        if file.size < limit:
            group.append(file)
            size += file.size
            if size >= limit:
                groups.append(group)
                group, size = [], 0
    return [*groups, group] if group else groups


def _add(result: IngestResult, found: IngestResult) -> None:
    result.read += found.read
    result.add_skipped(found.skipped)
    for what, damage in found.damaged.items():
        result.add_damage(what, partial(str, damage.first), damage.count)


def _size_of(paths: Sequence[str]) -> int:
    try:
        return sum(Path(path).stat().st_size for path in paths)
    except OSError as error:
        raise input_error(error.filename, error) from None


def _digest(path: str) -> _File:
    try:
        with Path(path).open("rb") as file:
            before = _state(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise input_error(path, error) from None
    return _File(path, digest, before[2], before)


def _state(file: int) -> tuple[int, ...]:
    status = os.fstat(file)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _read_files(folder: str, files: Sequence[_File]) -> _TaskResult:
    reader = _Reader(Path(folder))
    try:
        for file in files:
            reader.read(file)
        reader.finish()
    finally:
        reader.close()
    return reader.result


class _Reader:
    """Reads the files of one task and writes their rows as parts."""

    def __init__(self, folder: Path) -> None:
        self.result = _TaskResult([], IngestResult(), [])
        self._folder = folder
        self._maker = TableMaker()
        self._texts: list[Text] = []
        self._text_size = 0
        self._rows: dict[str, list[pa.Table]] = {}
        self._row_size = 0

    def close(self) -> None:
        self._maker.close()

    def read(self, file: _File) -> None:
        offset, found = 0, self.result.found
        try:
            with Path(file.path).open("rb") as opened:
                try:
                    for piece in read_pieces(opened, add_progress):
                        text = Text(file.source, file.path, piece.member, piece.first_line, offset, piece.text)
                        if piece.problem:
                            found.add_damage(f"file: {piece.problem}", text.locate)
                            continue
                        offset += len(piece.text)
                        self._texts.append(text)
                        self._text_size += len(piece.text)
                        if self._text_size >= BATCH_SIZE:
                            self._make_rows()
                except ArchiveError as error:
                    found.add_damage(f"file: {error.reason}", partial(error.locate, one_line(file.path)))
                if _state(opened.fileno()) != file.state:
                    self.result.changed_sources.append(file.source)
        except OSError as error:
            raise input_error(file.path, error) from None

    def finish(self) -> None:
        self._make_rows()
        self._write_but_statuses()
        if self._rows:
            self._write()

    def _make_rows(self) -> None:
        if not self._texts:
            return
        columns = split(self._texts)
        tables, read, damaged = self._maker.make(columns)
        found = self.result.found
        found.read += read
        found.add_skipped(columns.skipped)
        for damage in damaged:
            found.add_damage(f"{damage.kind}: {damage.reason}", partial(columns.locate, damage))
        for name, table in tables.items():
            self._rows.setdefault(name, []).append(table)
            if name != "statuses":
                self._row_size += table.nbytes
        self._texts, self._text_size = [], 0
        if self._row_size >= _PART:
            self._write_but_statuses()

    def _write_but_statuses(self) -> None:
        """Write the rows; keep those of statuses, merged by day, as long as the task has more of the same days."""
        statuses = self._rows.pop("statuses", [])
        self._write()
        if statuses:
            self._rows["statuses"] = [self._maker.merge_statuses(pa.concat_tables(statuses))]

    def _write(self) -> None:
        rows = {name: pa.concat_tables(tables) for name, tables in self._rows.items()}
        number = take_part_number()
        for name, table in rows.items():
            if table.num_rows:
                self.result.parts.extend(write_parts(self._folder, name, number, table))
        self._rows, self._row_size = {}, 0


def _read_part(folder: Path, part: Part, columns: list[str] | None = None) -> pa.Table:
    try:
        return pq.read_table(folder / part.path, columns=columns, partitioning=None)
    except (OSError, pa.ArrowInvalid):
        raise StoreError(f"cannot read {folder / part.path}; remove {folder}, and its inputs are read again") from None


def _remove_sources(folder: Path, manifest: Manifest, dropped: set[int]) -> set[int]:
    """Write parts again without the rows of sources; give the days of the removed rows."""
    days: set[int] = set()
    if not dropped:
        return days
    values = pa.array(sorted(dropped), pa.int32())
    kept_parts = []
    for part in manifest.parts:
        sources = _read_part(folder, part, ["source", "day"])
        is_dropped = pc.is_in(sources["source"], value_set=values)
        if not pc.any(is_dropped).as_py():
            kept_parts.append(part)
            continue
        days |= set(pc.unique(sources["day"].filter(is_dropped)).to_pylist())
        rows = _read_part(folder, part).filter(pc.invert(is_dropped))
        if rows.num_rows:
            kept_parts += write_parts(folder, part.table, manifest.next_part, rows)
        manifest.next_part += 1
    manifest.parts = kept_parts
    return days


def _merge_small_parts(folder: Path, manifest: Manifest) -> None:
    """Merge the small parts of a month where there are many, so that hourly runs do not make thousands of them."""
    small: dict[tuple[str, str], list[Part]] = {}
    for part in manifest.parts:
        if part.rows < _SMALL_ROWS:
            small.setdefault((part.table, part.month), []).append(part)
    for (table, _), parts in small.items():
        if len(parts) <= _MAX_SMALL_PARTS:
            continue
        for start in range(0, len(parts), _MAX_SMALL_PARTS):
            some = parts[start : start + _MAX_SMALL_PARTS]
            rows = pa.concat_tables([_read_part(folder, part) for part in some])
            merged = write_parts(folder, table, manifest.next_part, rows)
            manifest.next_part += 1
            manifest.parts = [part for part in manifest.parts if part not in some] + merged
