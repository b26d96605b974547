"""A bridge that all tests of a file share unless they harm it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from peers import extended, managed, wrapped
from tests.proxy.honest import Visitors
from tests.wrap.bridges import Counting

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counting]:
    """One bridge for all tests that neither move its clock nor end it."""
    folder = tmp_path_factory.mktemp("bridge")
    log = folder / "log"
    with extended.orport(folder) as tor, wrapped.server(folder, tor, *managed.counting(log)) as bridge:
        yield Counting(tor, bridge, log, Visitors(bridge.methods[wrapped.NAME], "dummy"))
