"""Several transports through one wrap, and several wraps of one tor."""

from __future__ import annotations

import signal
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from peers import extended, managed, wrapped
from peers.stand_in import ServerConduct
from peers.wrapped import NAME
from tests.proxy.honest import Visitors, countries, lines
from tests.proxy.visiting import HELLO, visit, wait_until

if TYPE_CHECKING:
    from pathlib import Path


def test_each_transport_is_counted_by_its_name(tmp_path: Path) -> None:
    """Three listeners, one on IPv6 without brackets; tor is told each name, and the log's column has it."""
    names = ("obfs4", "webtunnel", "snowflake")
    options = ["--stats-columns", "transport,family", *managed.counting(tmp_path / "log")]
    with (
        extended.orport(tmp_path) as tor,
        wrapped.server(tmp_path, tor, *options, transports=names, binds={"snowflake": "[::1]:0"}) as bridge,
    ):
        for name in names[:2] * 3:
            Visitors(bridge.methods[name], "dummy").visit()
        bridge.program.expect(ServerConduct.BARE)
        for _ in range(2):
            assert visit(bridge.methods["snowflake"], "dummy") == HELLO
            assert (tor.visits[-1].address or "").startswith("[::1]:")
        assert Counter(told.transport for told in tor.visits) == {"obfs4": 3, "webtunnel": 3, "snowflake": 2}
    found = [line.split()[2:] for line in (tmp_path / "log").read_text().splitlines()]
    assert Counter((country, name, family) for country, _hash, name, family in found) == {
        ("de", "obfs4", "v4"): 3,
        ("de", "webtunnel", "v4"): 3,
        ("??", "snowflake", "v6"): 1,
    }


def test_two_wraps_of_one_tor_have_a_log_each(tmp_path: Path) -> None:
    """Two lines of torrc and one state folder: the second log's name contains the transports' names."""
    countries = managed.countries(tmp_path)
    with (
        extended.orport(tmp_path) as tor,
        wrapped.server(tmp_path, tor, *countries, transports=["webtunnel"]) as first,
        wrapped.server(tmp_path, tor, *countries, transports=["snowflake", "obfs4"]) as second,
    ):
        assert len({first.entrance.address, second.entrance.address}) == 2
        assert len(first.folders()) == 2
        assert visit(first.methods["webtunnel"], "dummy") == visit(second.methods["obfs4"], "dummy") == HELLO
        assert first.child.stop() == 0
        assert second.folders() == [second.entrance.cookie_file.parent]
        assert visit(second.methods["snowflake"], "dummy") == HELLO
    assert sorted(path.name for path in first.state.glob("[!.]*")) == ["clients-obfs4-snowflake.log", "clients.log"]


@pytest.mark.parametrize(
    ("options", "made"),
    [
        (["--data-dir", "{folder}/elsewhere"], ["elsewhere", "elsewhere/clients.log", "pt_state"]),
        (["--stats-log", "{folder}/visits"], ["pt_state", "visits"]),
        (["--no-stats"], ["pt_state"]),
        ([], ["pt_state", "pt_state/clients.log"]),
    ],
)
def test_the_operator_says_where_statistics_go(tmp_path: Path, options: list[str], made: list[str]) -> None:
    """By default into tor's state folder."""
    folder, files = tmp_path / "folder", tmp_path / "files"
    folder.mkdir()
    files.mkdir()
    words = [word.format(folder=folder) for word in options]
    with (
        extended.orport(files) as tor,
        wrapped.server(folder, tor, *words, *managed.countries(files)) as bridge,
    ):
        assert visit(bridge.methods[NAME], "dummy") == HELLO
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == made
    kept = [folder / path for path in made if path not in {"elsewhere", "pt_state"}]
    assert [path.stat().st_mode & 0o7777 for path in kept] == [0o600] * len(kept)


def test_at_sighup_logs_are_opened_anew_and_countries_read_again(tmp_path: Path) -> None:
    """Both logs were rotated, as by logrotate; the program gets the signal too, and clients stay connected."""
    log, said = tmp_path / "log", tmp_path / "said"
    options = ["--log-file", str(said), *managed.counting(log)]
    with (
        extended.orport(tmp_path) as tor,
        wrapped.server(tmp_path, tor, *options, program=["--stays"]) as bridge,
    ):
        visitors = Visitors(bridge.methods[NAME], "dummy")
        with visitors.connect():
            visitors.visit()
            for path in (log, said):
                path.rename(path.with_suffix(".1"))
            bridge.child.send_signal(signal.SIGHUP)
            bridge.child.wait_for_line("stdout", '^LOG SEVERITY=notice MESSAGE="SIGHUP"$')
            assert wait_until(lambda: said.exists() and "from the next interval on" in said.read_text())
            visitors.visit(2, "tr")
        bridge.child.send_signal(signal.SIGKILL)
        bridge.child.wait()
    assert countries(log.with_suffix(".1"), log) == visitors.expected_lines()
    assert [line.country for line in lines(log)] == ["de", "tr"]
