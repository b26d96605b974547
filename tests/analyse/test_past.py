"""What instances reported in the past."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from obfstats.analyse.past import load_past
from obfstats.analyse.store import SCHEMAS
from tests.analyse.stores import write_store
from tests.analyse.texts import FINGERPRINT

if TYPE_CHECKING:
    from pathlib import Path

    from obfstats.analyse.engine import DuckDbEngine
    from obfstats.analyse.past import Past

DAY = 86_400
FIRST = 20_500


def load(engine: DuckDbEngine, folder: Path, copies: int) -> Past:
    """The past of an instance with ten daily reports, each so many times in the archive."""
    instance: dict[str, Any] = {
        "fingerprint": FINGERPRINT,
        "nickname": "jarod",
        "stats_seconds": DAY,
        "has_requests": True,
    }
    reports: list[dict[str, Any]] = []
    cells: list[dict[str, Any]] = []
    for number in range(10):
        day = FIRST + number
        for copy in range(copies):
            report = {"report": 100 * number + copy, "day": day}
            stats_end = day * DAY + 60 * copy
            reports.append({**instance, **report, "published": stats_end + 60, "stats_end": stats_end, "ok": 40})
            cells.append({**report, "line": "requests", "key": "ir", "number": 8})
    store = write_store(folder, reports=reports, cells=cells)
    for name in ("reports", "cells"):
        engine.open_table(name, store.files(name), SCHEMAS[name])
    return load_past(engine.query, FIRST, FIRST + 20)


def test_copies_of_a_report_do_not_add_to_trust(engine: DuckDbEngine, tmp_path: Path) -> None:
    """An archive may have a descriptor twice, and a bridge may publish as many reports of a day as it likes."""
    once, often = load(engine, tmp_path / "once", 1), load(engine, tmp_path / "often", 50)
    assert (once.reports.sum(), often.reports.sum()) == (10, 10)
    for line, key in (("total", ""), ("requests", "ir")):
        trust, often_trust = (past.trust(line, key, np.array([0]), FIRST + 20) for past in (once, often))
        assert np.array_equal(trust, often_trust)
