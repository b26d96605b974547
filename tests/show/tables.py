"""Tables as `obfstats analyse` writes them, of a made-up world with a blocking, a break, missing days and addresses."""

from __future__ import annotations

import csv
import math
import random
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LAST = date(2026, 11, 28)
"""The last day."""

SIZES: dict[str, float] = {
    "ir": 1200, "ru": 900, "us": 700, "cn": 500, "de": 400, "tr": 300, "in": 250, "by": 220, "ua": 200, "ae": 180,
    "gb": 160, "fr": 150, "pk": 140, "nl": 120, "eg": 100, "hk": 90, "br": 80, "tm": 40, "sh": 1, "??": 30,
}  # fmt: skip
TRANSPORTS = {"obfs4": 0.6, "webtunnel": 0.3, "<OR>": 0.1}

COLUMNS = {
    "obfstats-users": ("date", "country", "transport", "users", "lower", "upper", "predicted", "capped"),
    "obfstats-expected": ("date", "country", "transport", "lower", "upper"),
    "obfstats-clients": (
        "date", "country", "transport", "addresses", "addresses_lower", "addresses_upper", "connections",
        "connections_lower", "connections_upper", "bridges",
    ),
    "obfstats-bridges": (
        "date", "running", "reporting", "served_share", "completed_share", "capped_bridges", "capped_users",
        "series_break",
    ),
    "obfstats-events": (
        "date", "country", "transport", "detector", "direction", "value", "expected_lower", "expected_upper",
        "annotations",
    ),
    "obfstats-annotations": ("start", "end", "approximate", "places", "protocols", "description", "links"),
}  # fmt: skip

Cell = str | float | None


@dataclass
class Tables:
    """Rows of each table, to be changed and written."""

    rows: dict[str, list[Sequence[Cell]]] = field(default_factory=lambda: {name: [] for name in COLUMNS})

    def add(self, name: str, *cells: Cell) -> None:
        """Add a row; cells that are left out are empty."""
        self.rows[name].append([*cells, *[None] * (len(COLUMNS[name]) - len(cells))])

    def write(self, folder: Path) -> Path:
        """Write all tables."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, columns in COLUMNS.items():
            with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(columns)
                writer.writerows(["" if cell is None else cell for cell in row] for row in self.rows[name])
        return folder


def add_users(tables: Tables, day: date, key: tuple[str, str], users: float, expected: float | None = None) -> None:
    """Add a number with its interval, and what was expected."""
    tables.add("obfstats-users", str(day), *key, round(users, 3), round(users * 0.95, 3), round(users * 1.05, 3), 0, 0)
    ends = [None, None] if expected is None else [math.floor(expected * 0.7), math.ceil(expected * 1.3)]
    tables.add("obfstats-expected", str(day), *key, *ends)


def make_tables(
    days: int = 120,
    *,
    missing: Sequence[int] = (),
    blocked: int = 20,
    sizes: dict[str, float] | None = None,
    seed: int = 1,
) -> Tables:
    """Make tables.

    Args:
        days: until LAST.
        missing: days without a number, counted back from LAST.
        blocked: for so many of the last days Iran has a tenth of its users; an event and an annotation say so.
        sizes: users by country.
        seed: of the dice.
    """
    dice = random.Random(seed)
    tables = Tables()
    sizes = SIZES if sizes is None else sizes
    for back in reversed(range(days)):
        if back in missing:
            continue
        day = LAST - timedelta(days=back)
        users = {
            country: size * dice.uniform(0.97, 1.03) * (0.1 if country == "ir" and back < blocked else 1)
            for country, size in sizes.items()
        }
        total = sum(users.values())
        add_users(tables, day, ("", ""), total, None if back == days - 1 else total)
        for transport, share in TRANSPORTS.items():
            add_users(tables, day, ("", transport), total * share, total * share)
        for country, number in users.items():
            add_users(tables, day, (country, ""), number, number)
        tables.add("obfstats-bridges", str(day), 200, 190, 0.5, 1, 0, 0, "true" if back == 60 else "false")
        for key in [("", ""), ("ir", ""), ("ir", "obfs4"), ("", "obfs4")]:
            tables.add("obfstats-clients", str(day), *key, 77, 70, 84, None, None, None, 20)
    if 1 < blocked < days:
        begin = LAST - timedelta(days=blocked - 1)
        event = (str(begin + timedelta(days=1)), "ir", "")
        tables.add("obfstats-events", *event, "obfstats", "drop", 120, 840, 1560, "Providers block most bridges.")
        tables.add("obfstats-events", *event, "tor", "drop", 120, 800, 1600, "Providers block most bridges.")
        links = "https://example.org/report javascript:alert(1)"
        tables.add("obfstats-annotations", str(begin), None, "true", "ir", "", "Providers block most bridges.", links)
    return tables
