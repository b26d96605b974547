"""Archives of simulated bridges with known blockings, and both estimates of them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.event_series import FIRST_DAYS, draw_blockings
from obfstats.analyse.days import day_number
from obfstats.analyse.engine import DuckDbEngine
from obfstats.analyse.ingest import ingest
from obfstats.analyse.published import estimate_published
from obfstats.analyse.robust import estimate_users
from obfstats.analyse.simulate import COUNTRIES, Blocking, Forgery, Settings, simulate
from obfstats.analyse.simulate_files import write_files
from obfstats.analyse.store import SCHEMAS, Store

if TYPE_CHECKING:
    import pyarrow as pa

    from bench import event_series

CODES = tuple(code for code in COUNTRIES if code != "??")
"""Countries of archives."""


def draw_settings(seed: int, bridges: int, days: int) -> tuple[Settings, list[event_series.Blocking]]:
    """Draw what happens in a world of bridges: blockings; and what must not be taken for one, holidays and forgers."""
    random = np.random.default_rng(seed)
    blockings = draw_blockings(random, days=days, countries=len(CODES))
    losses = [(CODES[country], start, end - start, lost) for country, start, end, lost in blockings]
    for _ in range(days // 30):
        start, length, lost = int(random.integers(0, days)), int(random.integers(2, 7)), random.uniform(0.05, 0.25)
        losses += [(code, start, length, lost) for code in CODES if random.random() < 0.12]
    settings = Settings(
        bridges=bridges,
        days=days,
        seed=seed,
        users=20.0 * bridges,
        countries=CODES,
        noise=0.3,
        blockings=tuple(Blocking(*loss) for loss in losses),
        forgeries=tuple(
            Forgery(3, str(code), int(random.integers(FIRST_DAYS, days)), 1_000)
            for code in random.choice(CODES, 3, replace=False)
        ),
    )
    return settings, blockings


def estimate_archive(settings: Settings) -> tuple[pa.Table, pa.Table]:
    """Write an archive, read it, and estimate users: as Tor publishes them, and as we do."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        archive, store = folder / "archive", Store(folder / "store")
        archive.mkdir()
        write_files(simulate(settings), archive, lambda _: None)
        ingest([archive], store, workers=1, advance=lambda _: None)
        first = day_number(settings.first_day)
        days = range(first, first + settings.days)
        engine = DuckDbEngine(folder)
        published = estimate_published(engine, store, days)
        for table in ("reports", "cells", "statuses"):
            engine.open_table(table, store.files(table), SCHEMAS[table])
        users = estimate_users(engine.query, days).users
        engine.close()
        return published.userstats, users
