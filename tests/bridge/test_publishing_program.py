"""The unchanged programs publish with a moved clock, with a log and without one, and the numbers are the same."""

from __future__ import annotations

import contextlib
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from obfstats.formats.document import read_documents
from peers import extended, managed, wrapped
from peers.destinations import echo, serve
from peers.program import ARGV, obfsproxy
from tests.proxy.honest import Visitors
from tests.proxy.moved import DAY, Time
from tests.proxy.visiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from obfstats.formats.document import Document

ROUND = 601
"""Seconds, one more than the random delay of the closing batch."""

FINGERPRINT = "1234567890123456789012345678901234567890"


def documents(folder: Path) -> list[Document]:
    """The published documents in a folder."""
    paths = sorted(path for path in folder.glob("[0-9]*") if re.fullmatch(r"[0-9-]{19}-obfsproxy-stats", path.name))
    return [document for path in paths for document in read_documents(path.read_bytes())]


def end_day(time: Time, probe: Callable[[], None], folder: Path, number: int) -> None:
    """Let a day pass, then ten minutes at a time until there are so many documents."""
    time.clock.move(DAY)

    def has_all() -> bool:
        time.clock.move(ROUND)
        probe()
        return len(documents(folder)) >= number

    assert wait_until(has_all)


def refused(*options: str) -> str:
    """Run obfsproxy with options that it must refuse; return its error."""
    command = [*ARGV, *options, "obfs3", "--dest", "127.0.0.1:9", "server", "127.0.0.1:0"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (result.returncode, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr
    return result.stderr


@contextlib.contextmanager
def bridge(home: Path, time: Time, *options: str) -> Iterator[tuple[Visitors, Callable[[], None]]]:
    """Run obfsproxy with these options; yield clients, and a probe that wakes the program's loop."""
    with (
        serve(echo) as destination,
        obfsproxy(*options, *managed.countries(home), "obfs3", "--dest", destination, "server", "127.0.0.1:0",
                  environment={**time.environment, "HOME": str(home)}) as program,
    ):  # fmt: skip
        visitors = Visitors(program.address)

        def probe() -> None:
            visitors.send_hello("ir", "127.0.0.1").close()

        yield visitors, probe


@pytest.mark.parametrize("mode", ["log", "memory"])
def test_a_day_becomes_a_document(mode: str, tmp_path: Path) -> None:
    """Twenty clients of two countries in a day make a document with their numbers, once."""
    public, home = tmp_path / "public", tmp_path / "home"
    home.mkdir()
    time = Time(tmp_path)
    kept = ("--aggregate",) if mode == "memory" else ("--data-dir", str(home), "--stats-columns", "transport,family")
    options = ("--publish", str(public), *kept, "--extended", "--fingerprint", FINGERPRINT)
    with bridge(home, time, *options) as (visitors, probe):
        visitors.visit(12)
        visitors.visit(8, "tr")
        end_day(time, probe, public, 1)
        (document,) = documents(public)
        time.tick(probe, 3)
        assert documents(public) == [document]
    assert document.seconds == DAY
    assert document.fingerprint == "8990eeda329b57fbd72ef8f74a50c1929b9b9a31"
    assert document.ips == {"DE": 16, "TR": 8}
    assert document.requests == {"DE": 16, "TR": 8}
    assert document.ip_transports == {"obfs3": 24}
    assert document.ip_country_transports == {("DE", "obfs3"): 16, ("TR", "obfs3"): 8}
    assert document.ip_versions == {"v4": 24, "v6": 0}
    assert document.ipv6_prefix is None
    assert document.geoip is not None
    assert document.geoip.name == "file"
    expected = {"geoip", "geoip6"} | (
        {"clients.log", ".clients.log.ledger", ".clients.log.whole"} if mode == "log" else set()
    )
    assert {path.name for path in home.iterdir()} == expected


def test_a_day_that_a_stop_cut_short_is_never_published(tmp_path: Path) -> None:
    """Nor is the day before it published again; the next program continues after both."""
    public, home = tmp_path / "public", tmp_path / "home"
    home.mkdir()
    time = Time(tmp_path)
    options = ("--publish", str(public), "--data-dir", str(home), "--stats-buffer", "1")
    with bridge(home, time, *options) as (visitors, probe):
        visitors.visit(9)
        end_day(time, probe, public, 1)
        visitors.visit(9)
    first = documents(public)
    with bridge(home, time, *options) as (visitors, probe):
        visitors.visit(3, "tr")
        end_day(time, probe, public, 2)
        assert documents(public)[0] == first[0]
        assert documents(public)[1].ips == {"TR": 8}
        assert len(documents(public)) == 2


def test_a_wrap_publishes_too(tmp_path: Path) -> None:
    """With another transport's program, without a log. Tor's file names the bridge, an option the program."""
    public, time = tmp_path / "public", Time(tmp_path)
    (tmp_path / "hashed-fingerprint").write_text(f"Unnamed {'AB' * 20}\n")
    options = ("--publish", str(public), "--aggregate", "--ipv6-prefix", "64", *managed.countries(tmp_path))
    options += ("--instance", "wrap")
    with (
        extended.orport(tmp_path) as tor,
        wrapped.server(tmp_path, tor, *options, environment=time.environment) as running,
    ):
        visitors = Visitors(running.methods[wrapped.NAME], "dummy")
        visitors.visit(9)
        end_day(time, lambda: visitors.visit(1, "??"), public, 1)
    (document,) = documents(public)
    assert (document.ips or {})["DE"] == 16
    assert (document.fingerprint, document.instance) == ("ab" * 20, "wrap")
    assert (document.ipv6_prefix, document.minor) == (64, 2)
    assert list((tmp_path / "pt_state").glob("*.log")) == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--aggregate",), "--aggregate goes with --publish DIR"),
        (("--forget-after", "1"), "--forget-after goes with --publish DIR"),
        (("--forget-after", "0"), "--forget-after goes with --publish DIR"),
        (
            ("--publish", "x", "--aggregate", "--forget-after", "0"),
            "--aggregate writes no log: leave --forget-after out",
        ),
        (("--instance", "a"), "--instance goes with --publish DIR"),
        (("--publish", "x", "--instance", "192.0.2.7"), "without an IP address"),
        (("--submit", "https://c.example"), "--submit goes with --publish DIR"),
        (("--submit", "http://c.example"), "http:// is for .onion addresses and this machine; give https://"),
        (("--publish", "x", "--reveal-address"), "--reveal-address goes with --submit URL"),
        (("--publish", "x", "--through", "socks5h://127.0.0.1:9050"), "--through goes with --submit URL"),
        (("--publish", "x", "--submit", "https://c.example"), "--submit needs --fingerprint HEX"),
        (("--epsilon", "0.5"), "--epsilon goes with --publish DIR"),
        (("--days", "30"), "--days goes with --publish DIR"),
        (("--publish", "x", "--epsilon-total", "15", "--days", "30"), "go together, and with --epsilon"),
        (("--publish", "x", "--no-stats"), "--publish needs statistics: leave --no-stats out"),
        (("--publish", "x", "--aggregate", "--stats-log", "y"), "--aggregate writes no log: leave --stats-log out"),
        (("--publish", "x", "--forget-after", "soon"), "'soon' is not a number of hours from 0 to 99999"),
    ],
)
def test_what_does_not_go_together_is_bad_use(options: tuple[str, ...], reason: str) -> None:
    """One line, status 2."""
    assert reason in refused(*options)


def test_a_folder_that_cannot_be_written_is_said_at_the_start(tmp_path: Path) -> None:
    """There is a file with its name."""
    (tmp_path / "public").touch()
    said = refused("--publish", str(tmp_path / "public"), "--aggregate")
    assert "cannot write to" in said
    assert "give --publish another folder" in said
