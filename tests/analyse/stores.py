"""Stores for tests: of golden's descriptors, and of given rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from obfstats.analyse.ingest import ingest
from obfstats.analyse.store import SCHEMAS, Manifest, Store, write_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

GOLDEN = Path(__file__).parent / "golden"
GOLDEN_DAYS = range(20_500, 20_535)
"""2026-02-16 to 2026-03-22: more than the descriptors are of."""


def ingest_golden(folder: Path) -> Store:
    """Read golden's descriptors."""
    store = Store(folder)
    ingest([GOLDEN / "descriptors.tar.xz"], store, workers=1, advance=lambda _: None)
    return store


def write_store(folder: Path, **tables: Sequence[dict[str, Any]]) -> Store:
    """Write rows; columns that a row leaves out are null, or 0 for `source`, the day's default for `day`."""
    store = Store(folder)
    store.folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for number, (name, rows) in enumerate(tables.items(), 1):
        if rows:
            table = pa.Table.from_pylist([{"source": 0, **row} for row in rows], SCHEMAS[name])
            parts += write_parts(store.folder, name, number, table)
    store.commit(Manifest(parts=parts))
    return store
