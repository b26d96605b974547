"""Fixtures of the collector's tests: both databases, one PostgreSQL for the whole session."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from peers import missing, postgresql

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[postgresql.Server]:
    """A PostgreSQL that all tests share."""
    missing.need(postgresql.PACKAGE, str(postgresql.FOLDER))
    with postgresql.server() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, once of each kind."""
    if request.param == "sqlite":
        return str(tmp_path / "ledger.sqlite")
    server: postgresql.Server = request.getfixturevalue("postgresql_server")
    return server.create_database()
