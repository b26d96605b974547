"""Metrics over HTTP: plain answers, bounds on what a scraper can cost, and nothing that another machine reaches."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from obfstats.bridge.scrapes import MAX_REQUEST, MAX_SCRAPES, ScrapeServer
from obfstats.proxy.listener import bound, listen
from obfstats.wire.endpoint import Endpoint
from peers import extended, managed, wrapped
from peers.destinations import echo, serve
from peers.program import ARGV, obfsproxy
from tests.proxy.honest import Visitors
from tests.proxy.moved import Time
from tests.proxy.visiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from peers.child import Child

TEXT = b"obfstats_connections 8.0\n"
SERVER = ("obfs3", "--dest", "127.0.0.1:9", "server", "127.0.0.1:0")
ANYWHERE = "127.0.0.1:0"


def ask(*requests: bytes, text: bytes = TEXT) -> list[bytes]:
    """Send each request on a connection of its own, all at the same time; give what comes back until the end."""

    async def run() -> list[bytes]:
        server = ScrapeServer(lambda: text)
        listening = listen(Endpoint("127.0.0.1", 0))
        place = bound(listening)
        await server.start(listening)
        connections = [await asyncio.open_connection(*place) for _ in requests]
        answers = []
        for request, (_, writer) in zip(requests, connections, strict=True):
            writer.write(request)
        for reader, writer in connections:
            try:
                answers.append(await asyncio.wait_for(reader.read(), 20))
            except ConnectionError:
                answers.append(b"")
            writer.close()
        server.close()
        return answers

    return asyncio.run(run())


def metrics_url(child: Child, stream: str = "stderr") -> str:
    """Wait until a program says where its metrics are."""
    return child.wait_for_line(stream, r"metrics are at (http://\S+/metrics)")[1]


def get(url: str) -> str:
    """Scrape."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        text: str = answer.read().decode()
    return text


def test_answers() -> None:
    """The metrics at one path; a sentence elsewhere."""
    found, head, missing, wrong = ask(
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"HEAD /metrics?x HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\n\r\n",
    )
    assert found.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n")
    assert found.endswith(b"\r\n\r\n" + TEXT)
    assert head == found.removesuffix(TEXT)
    assert missing.startswith(b"HTTP/1.1 404 ")
    assert missing.endswith(b"metrics are at /metrics\n")
    assert wrong.startswith(b"HTTP/1.1 400 ")


def test_a_request_that_is_too_long_is_dropped() -> None:
    """Nothing is answered, and nothing is kept."""
    assert ask(b"GET /metrics HTTP/1.1\r\nX: " + b"x" * MAX_REQUEST) == [b""]


def test_too_many_scrapes_at_once_are_refused() -> None:
    """Those that were there first are answered."""
    silent = [b""] * (MAX_SCRAPES - 1)

    async def run() -> tuple[bytes, bytes]:
        server = ScrapeServer(lambda: TEXT)
        listening = listen(Endpoint("127.0.0.1", 0))
        place = bound(listening)
        await server.start(listening)
        held = [await asyncio.open_connection(*place) for _ in silent]
        first = await asyncio.open_connection(*place)
        second = await asyncio.open_connection(*place)
        try:
            refused = await second[0].read()
        except ConnectionError:
            refused = b""
        first[1].write(b"GET /metrics HTTP/1.1\r\n\r\n")
        answered = await first[0].read()
        for _, writer in (*held, first, second):
            writer.close()
        server.close()
        return answered, refused

    answered, refused = asyncio.run(run())
    assert answered.endswith(TEXT)
    assert refused == b""


def test_slow_readers_do_not_keep_the_program_from_ending(tmp_path: Path) -> None:
    """Gone within a second of SIGTERM, and clients were served meanwhile."""
    with (
        serve(echo) as destination,
        obfsproxy("--no-stats", "--metrics", ANYWHERE, "obfs3", "--dest", destination, "server", ANYWHERE,
                  environment={"HOME": str(tmp_path)}) as program,
        ExitStack() as stack,
    ):  # fmt: skip
        host, port = metrics_url(program.child).removeprefix("http://").removesuffix("/metrics").split(":")
        for number in range(MAX_SCRAPES + 4):
            slow = stack.enter_context(socket.create_connection((host, int(port)), 30))
            slow.sendall(b"GET /metr" if number % 2 else b"GET /metrics HTTP/1.1\r\n\r\n")
        Visitors(program.address).visit()
        asked = time.monotonic()
        program.child.send_signal(signal.SIGTERM)
        assert program.child.wait() == 0
        assert time.monotonic() - asked < 1.0


def test_probes_and_clients_show_in_steps(tmp_path: Path) -> None:
    """Twenty probes are 8 or 16; no address is in what was scraped, which the whole run's search covers."""
    clock = Time(tmp_path)
    with (
        serve(echo) as destination,
        obfsproxy("--metrics", ANYWHERE, "--publish", str(tmp_path / "public"), "--data-dir", str(tmp_path),
                  *managed.countries(tmp_path), "obfs3", "--dest", destination, "server", ANYWHERE,
                  environment=clock.environment) as program,
    ):  # fmt: skip
        url = metrics_url(program.child)
        visitors = Visitors(program.address)

        def probe() -> None:
            visitors.send_hello("ir", "127.0.0.1").close()

        before = get(url)
        visitors.visit(3)
        for _ in range(20):
            socket.create_connection(program.address, 30).close()
        assert get(url) == before

        def shows_probes() -> bool:
            clock.clock.move(601)
            probe()
            (tmp_path / "scraped").write_text(get(url))
            return 'reason="unfinished"} 8.0' in get(url) or 'reason="unfinished"} 16.0' in get(url)

        assert wait_until(shows_probes)
    assert "obfstats_connections 8.0" in (tmp_path / "scraped").read_text()
    assert "obfstats_interval_addresses{" not in (tmp_path / "scraped").read_text()


def test_a_wrap_serves_metrics_too(tmp_path: Path) -> None:
    """Tor's log says where."""
    with (
        extended.orport(tmp_path) as tor,
        wrapped.server(tmp_path, tor, "--metrics", ANYWHERE, *managed.countries(tmp_path)) as bridge,
    ):
        assert "obfstats_connections 8.0" in get(metrics_url(bridge.child, "stdout").removesuffix('"'))


def test_tor_is_told_why_metrics_cannot_be_served(tmp_path: Path) -> None:
    """Each transport gets an error line, which tor logs."""
    with socket.create_server(("127.0.0.1", 0)) as taken, extended.orport(tmp_path) as tor:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        environment = managed.server_environment(tmp_path, tor, transports=["obfs3"])
        with managed.start(environment, managed.ours("--no-stats", "--metrics", place)) as child:
            assert child.wait() == 1
    assert f"SMETHOD-ERROR obfs3 cannot serve metrics at {place}: Address already in use" in child.stdout


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--metrics", "0.0.0.0:9036"],
            "0.0.0.0:9036: other machines may reach that; give 127.0.0.1:9036, or --expose",
        ),
        (["--metrics", "[::]:9036"], "other machines may reach that"),
        (["--metrics", "localhost:9036"], "other machines may reach that"),
        (["--metrics", "9036"], "'9036' is not HOST:PORT"),
        (["--expose-metrics"], "--expose-metrics goes with --metrics HOST:PORT"),
    ],
)
def test_other_machines_are_kept_out(options: list[str], sentence: str, tmp_path: Path) -> None:
    """Unless the operator asks for that by an option that says so; a name may be anything."""
    result = subprocess.run(
        [*ARGV, *options, *SERVER], capture_output=True, text=True, check=False, timeout=30, cwd=tmp_path
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_exposed_address_is_warned_of() -> None:
    """In the log, at each start."""
    with obfsproxy("--no-stats", "--metrics", "0.0.0.0:0", "--expose-metrics", *SERVER) as program:
        program.child.wait_for_line("stderr", r"\[warn\] other machines may read the metrics \(--expose-metrics\)")


def test_without_the_extra_it_is_refused_at_the_start(tmp_path: Path) -> None:
    """In one line that names what is missing."""
    hidden = "import sys; sys.modules['prometheus_client'] = None; "
    program = [sys.executable, "-c", f"{hidden}from obfstats.bridge.obfsproxy import main; sys.exit(main())"]
    command = [*program, "--metrics", ANYWHERE, "--data-dir", str(tmp_path), *SERVER]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        "obfsproxy: --metrics: the library prometheus_client is not installed; "
        "install obfstats[metrics], or Debian's python3-prometheus-client\n"
    )
