"""The start: tor has its answers, and the first clients are served, before the GeoIP tables are made.

A table is large here, so that making it takes much longer than a client needs to connect.
"""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

import pytest

from peers import extended, managed, wrapped
from peers.geoip import geoip_text
from tests.proxy.honest import Visitors, lines
from tests.proxy.visiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from peers.managed import Managed

MANY_RANGES = 300_000

READ = "countries come from "

both = pytest.mark.parametrize("is_wrap", [False, True], ids=["obfsproxy", "wrap"])


@contextlib.contextmanager
def starting(folder: Path, *, is_wrap: bool) -> Iterator[tuple[Managed, Visitors]]:
    """Start a program with a large table; gives it when tor has its answers, and clients for it."""
    options = managed.counting(folder / "log")
    (folder / "geoip").write_text("".join(f"{2 * n},{2 * n},JP\n" for n in range(MANY_RANGES)) + geoip_text())
    with extended.orport(folder) as tor, contextlib.ExitStack() as stack:
        if is_wrap:
            running: Managed = stack.enter_context(wrapped.server(folder, tor, *options))
            yield running, Visitors(running.methods[wrapped.NAME], "dummy")
        else:
            running = stack.enter_context(managed.server(folder / "state", tor, argv=managed.ours(*options)))
            yield running, Visitors(running.methods["obfs3"])


@both
def test_tor_has_its_answers_before_the_tables_and_the_first_client_its_country(
    tmp_path: Path, *, is_wrap: bool
) -> None:
    """It connects at once and is served at once, and counted with the country that the table will give, too."""
    with starting(tmp_path, is_wrap=is_wrap) as (running, visitors):
        answered = running.said()
        visitors.visit(3, "tr")
        assert wait_until(lambda: len(lines(tmp_path / "log")) == 2)
        assert {line.country for line in lines(tmp_path / "log")} == {"tr"}
        running.child.wait_for_line("stdout", READ)
    done = [line.startswith("SMETHODS DONE") for line in running.said()].index(True)
    read = [READ in line for line in running.said()].index(True)
    assert done < read
    assert not any(READ in line for line in answered)


@both
def test_it_ends_at_once_while_it_makes_its_tables(tmp_path: Path, *, is_wrap: bool) -> None:
    """SIGTERM does not wait for them."""
    with starting(tmp_path, is_wrap=is_wrap) as (running, _):
        assert running.child.stop() != -signal.SIGKILL
        assert not any(READ in line for line in running.said())
