"""Fixtures of the analyse station's tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from obfstats.analyse.engine import DuckDbEngine
from tests.analyse.stores import ingest_golden

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obfstats.analyse.store import Store


@pytest.fixture(scope="session")
def golden_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Golden's descriptors, read once. Do not write to it."""
    return ingest_golden(tmp_path_factory.mktemp("golden") / "store")


@pytest.fixture
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckDbEngine]:
    """DuckDB."""
    opened = DuckDbEngine(tmp_path_factory.mktemp("duckdb"))
    yield opened
    opened.close()
