"""`obfstats top`: a bridge in the terminal, live or once, wide or narrow, with whatever is there to read."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import termios
from contextlib import ExitStack, closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from obfstats import cli
from obfstats.exposition import counter, describe_documents, gauge, write_metrics
from obfstats.formats.document import Document
from obfstats.show.bands import ZERO
from obfstats.show.top import parse_metrics, render, sparkline
from obfstats.show.usage import read_usage
from peers.child import is_readable
from peers.program import OBFSTATS, obfsproxy
from tests.bridge.test_scrapes import ANYWHERE, SERVER, metrics_url
from tests.show.bridges import END, publish, publish_day, write_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from obfstats.show.usage import Usage

NOW = END.timestamp() + 3600
MONTH = [{"IR": 8 + 4 * day, "TR": day % 3, "DE": 9} for day in range(30)]


def usage(*counts: dict[str, int] | None) -> Usage:
    """What documents of these days say."""
    found = read_usage(publish(counts))
    assert found is not None
    return found


def health(*changes: bytes) -> bytes:
    """Metrics of a bridge."""
    return b"".join(changes) + write_metrics(
        [
            gauge("obfstats_build_info", "", {"1.2.3": 1}, "version"),
            gauge("obfstats_start_timestamp_seconds", "", NOW - 3 * 86_400 - 7200),
            gauge("obfstats_snapshot_timestamp_seconds", "", NOW - 120),
            gauge("obfstats_connections", "", 24),
            gauge("obfstats_max_connections", "", 9968),
            counter("obfstats_relayed_bytes", "", 12 << 30),
            counter("obfstats_failed_connections", "", {"protocol": 16, "orport": 0}, "reason"),
            counter("obfstats_accept_pauses", "", {"limit": 0}, "reason"),
            gauge("obfstats_failing", "", {"publish": 0, "submit": 0}, "task"),
            *describe_documents(publish([{"TR": 9}, {"IR": 44}])),
        ]
    )


def draw(metrics: bytes | str, days: Usage | str | None, width: int = 80, now: float = NOW) -> str:
    """Draw the screen as text."""
    console = Console(file=StringIO(), width=width, markup=False, highlight=False)
    console.print(render(metrics if isinstance(metrics, str) else parse_metrics(metrics.decode()), days, width, now))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


@contextmanager
def answering(content: bytes) -> Iterator[str]:
    """Serve something at any path; yield HOST:PORT."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def unused_address() -> str:
    """An address at which nothing listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        return f"127.0.0.1:{unused.getsockname()[1]}"


def test_health_is_in_words() -> None:
    """What a person asks first: does it run, is anything wrong, how many are there."""
    text = draw(health(), None)
    assert "running for  3 d 2 h" in text
    assert "connections  about 24, of 9,968 at most" in text
    assert "relayed      12 GiB" in text
    assert "not relayed  not the transport's protocol: 16" in text
    assert "failing      nothing" in text
    assert "taken 2 min ago" in text


def test_a_quiet_bridge_is_not_said_to_have_8_connections() -> None:
    """Its gauge says 8 whether nobody is connected or 15."""
    assert "fewer than 16, of 9,968" in draw(health().replace(b"connections 24.0", b"connections 8.0"), None)


def test_what_fails_is_named() -> None:
    """With where to look."""
    failing = health().replace(b'task="publish"} 0.0', b'task="publish"} 1.0')
    assert "failing      publishing: see the log" in draw(failing, None)


def test_days_are_a_table_with_sparklines() -> None:
    """All, each country in words, the last day as a range, and 30 days."""
    lines = draw(health(), usage(*MONTH), 100).splitlines()
    (iran,) = (line for line in lines if line.startswith("Iran"))
    assert "121 to 128" in iran
    assert iran.endswith("▇▇▇▇█████")
    assert [line.split()[0] for line in lines[lines.index(iran) - 1 :][:4]] == ["all", "Iran", "Germany", "Türkiye"]


def test_a_sparkline_tells_nothing_from_no_document() -> None:
    """A day without clients is the lowest mark, a day without a document a dot."""
    days = usage({"IR": 44}, None, {"DE": 1}, {"IR": 20}).days
    bands = [day.countries.get("IR", ZERO) for day in days]
    assert sparkline(days, bands) == "·" * 26 + "█·▁▅"


def test_more_than_15_countries_end_in_others() -> None:
    """One row for the rest."""
    codes = ("IR", "TR", "DE", "FR", "RU", "CN", "US", "GB", "IT", "ES", "PL", "UA", "BY", "KZ", "IN", "BR", "MX")
    text = draw(health(), usage(dict.fromkeys(codes, 9)), 100)
    assert "others (2)" in text
    assert "17 to 32" not in text.split("others (2)")[0].splitlines()[-1]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_every_terminal_is_wide_enough(width: int) -> None:
    """No line is longer than it; what is left out first are averages and old days."""
    for text in (
        draw(health(), usage(*MONTH), width),
        draw(health(), None, width),
        draw("no bridge " * 9, None, width),
    ):
        assert max(map(len, text.splitlines())) <= width
    assert "Iran" in draw(health(), usage(*MONTH), width)


def test_noise_alone_is_no_country() -> None:
    """What cannot be told apart from 0 is among the others; a single day's numbers are said to have noise."""
    days = [
        Document(day.end, 86_400, epsilon="0.5", ips={"IR": 61, "DE": number % 5 - 2, "FR": 9})
        for number, day in enumerate(publish([{}] * 3))
    ]
    table = draw(health(), read_usage(days))
    assert "Iran" in table
    assert "Germany" not in table
    assert "others (1)" in table
    assert "with noise" in draw(write_metrics([*describe_documents(days[:1])]), None)
    assert "with noise" not in draw(health(), None)


def test_without_a_folder_the_last_day_comes_from_the_metrics() -> None:
    """And it says how to see more."""
    text = draw(health(), None)
    assert "Iran" in text
    assert "until 2026-11-29 09:22 UTC; give --from DIR, the folder of --publish, for 30" in text
    assert "no interval is published yet" in draw(health().partition(b"# HELP obfstats_interval_end")[0], None)


def test_control_characters_of_what_answers_are_not_printed() -> None:
    """A label's value may be anything."""
    hostile = b'obfstats_failing{task="\x1b]0;title\x07\x1b[2J[red]"} 1\n'
    text = draw(health(hostile), None)
    assert "\x1b" not in text
    assert "[red]" in text


def test_once_prints_and_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For scripts: of a real bridge, health and days."""
    published = write_folder(tmp_path / "published", publish(MONTH))
    with obfsproxy("--no-stats", "--metrics", ANYWHERE, *SERVER) as bridge:
        place = metrics_url(bridge.child).removeprefix("http://").removesuffix("/metrics")
        assert cli.main(["top", "--metrics", place, "--from", str(published), "--once"]) == 0
    out, error = capsys.readouterr()
    assert "connections  fewer than 16, of " in out
    assert "Iran" in out
    assert error == ""


def test_without_metrics_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Days alone are shown, too; with nothing at all the status is 2."""
    place = unused_address()
    sentence = f"no metrics at {place} (Connection refused): start the bridge with --metrics {place}"
    assert cli.main(["top", "--metrics", place, "--once"]) == 2
    assert capsys.readouterr().err.startswith(f"obfstats top: {sentence}")
    published = write_folder(tmp_path / "published", [publish_day({"IR": 44})])
    assert cli.main(["top", "--metrics", place, "--from", str(published), "--once"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert sentence in out
    assert "Iran" in out


@pytest.mark.parametrize("content", [b"", b"<html>", b"up 1\n", b"obfstats_x{ 1\n", bytes(range(256)) * 10])
def test_what_is_no_bridge_is_said_to_be_none(content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """Another program may listen there."""
    with answering(content) as place:
        assert cli.main(["top", "--metrics", place, "--once"]) == 2
    assert f"what answers at {place} is no bridge of obfstats" in capsys.readouterr().err


@pytest.mark.parametrize("way", ["q", "Ctrl-C", "Ctrl-C while it reads"])
def test_it_ends_and_the_terminal_is_as_before(way: str) -> None:
    """Echo and lines are back, the first screen too; no traceback."""
    ours, theirs = pty.openpty()
    shown = b""

    def wait_for(text: bytes) -> None:
        nonlocal shown
        while text not in shown:
            assert is_readable(ours, 30), shown
            shown += os.read(ours, 1 << 16)

    with socket.create_server(("127.0.0.1", 0)) as silent, ExitStack() as stack:
        silent.settimeout(30)
        place = f"127.0.0.1:{silent.getsockname()[1]}" if way.endswith("reads") else unused_address()
        before = termios.tcgetattr(theirs)
        top = subprocess.Popen(
            [OBFSTATS, "top", "--metrics", place],
            stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"},
        )  # fmt: skip
        wait_for(b"\x1b[?1049h")
        if way.endswith("reads"):
            stack.enter_context(silent.accept()[0])
        if way == "q":
            wait_for(b"no metrics at")
            os.write(ours, b"q")
        else:
            top.send_signal(signal.SIGINT)
        wait_for(b"\x1b[?1049l")
        assert top.wait(30) == 0
    assert termios.tcgetattr(theirs) == before
    assert b"Traceback" not in shown
    os.close(ours)
    os.close(theirs)
