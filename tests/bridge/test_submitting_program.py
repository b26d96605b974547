"""The unchanged program sends what it publishes to a real collector, ends while one hangs, and needs its extra."""

from __future__ import annotations

import contextlib
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from obfstats.collect.client.keys import KEY_NAME
from obfstats.collect.signing import SigningKey
from peers import managed
from peers.child import Child
from peers.destinations import echo, serve
from peers.program import OBFSTATS, obfsproxy
from tests.bridge.test_publishing_program import FINGERPRINT, end_day
from tests.proxy.honest import Visitors
from tests.proxy.moved import Time
from tests.proxy.visiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from peers.program import Obfsproxy

SIX_HOURS = 6 * 3600
SERVER = ("obfs3", "--dest", "127.0.0.1:9", "server", "127.0.0.1:0")


def published(home: Path) -> list[str]:
    """The options of a bridge that publishes in a folder of its home."""
    folders = ("--publish", str(home / "public"), "--data-dir", str(home / "state"))
    return [*folders, "--aggregate", "--fingerprint", FINGERPRINT]


@contextlib.contextmanager
def bridge(home: Path, time: Time, url: str) -> Iterator[tuple[Obfsproxy, Callable[[], None]]]:
    """Run a bridge until its first day is published; yield it, and what wakes its loop."""
    options = [*published(home), "--submit", url, *managed.countries(home)]
    with (
        serve(echo) as destination,
        obfsproxy(*options, "obfs3", "--dest", destination, "server", "127.0.0.1:0",
                  environment=time.environment) as program,
    ):  # fmt: skip
        visitors = Visitors(program.address)

        def probe() -> None:
            visitors.send_hello("ir", "127.0.0.1").close()

        visitors.visit(9)
        end_day(time, probe, home / "public", 1)
        yield program, probe


def test_a_real_collector_has_the_document(tmp_path: Path) -> None:
    """Its bytes are in the ledger within six hours of its release, and the log says when they will be public."""
    time, collected = Time(tmp_path), tmp_path / "collected"
    key = SigningKey.create(tmp_path / "state" / KEY_NAME)
    command = [OBFSTATS, "collect", "serve", "--dir", str(collected), "--listen", "127.0.0.1:0", "--admit", key.public]
    with Child(command, environment=time.environment) as collector:
        url = collector.wait_for_line("stdout", r"listening at (http://\S+)")[1]
        with bridge(tmp_path, time, url) as (program, probe):

            def has_accepted() -> bool:
                time.clock.move(SIX_HOURS // 4)
                probe()
                return "has accepted 1 document; in the public archive by " in program.child.stderr

            assert wait_until(has_accepted)
    (path,) = (tmp_path / "public").glob("[0-9]*")
    with contextlib.closing(sqlite3.connect(collected / "ledger.sqlite")) as ledger:
        assert ledger.execute("SELECT status, text FROM documents").fetchall() == [
            ("published", "@type obfsproxy-stats 1.0\n" + path.read_text())
        ]
    assert list((tmp_path / "state" / "spool").glob("[0-9]*")) == []


def test_sigterm_ends_it_within_a_second_while_a_collector_hangs(tmp_path: Path) -> None:
    """The document stays in the spool."""
    clock = Time(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(0.2)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with bridge(tmp_path, clock, url) as (program, probe), contextlib.ExitStack() as accepted:

            def is_asked() -> bool:
                clock.clock.move(SIX_HOURS)
                probe()
                with contextlib.suppress(TimeoutError):
                    connection = accepted.enter_context(silent.accept()[0])
                    connection.settimeout(30)
                    return connection.recv(4) == b"POST"
                return False

            assert wait_until(is_asked)
            asked = time.monotonic()
            program.child.send_signal(signal.SIGTERM)
            assert program.child.wait() == 0
            assert time.monotonic() - asked < 1.0
    assert len(list((tmp_path / "state" / "spool").glob("[0-9]*"))) == 1


def test_without_the_extra_it_is_refused_at_the_start(tmp_path: Path) -> None:
    """In one line that names what is missing; without --submit nothing is missing."""
    hidden = "import sys; sys.modules['minisign'] = None; from obfstats.bridge.obfsproxy import main; sys.exit(main())"
    program = [sys.executable, "-c", hidden, *published(tmp_path)]
    command = [*program, "--submit", "https://collector.example", *SERVER]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1] == (
        "obfsproxy: --submit needs the library minisign; install obfstats[submit]"
    )
    assert "Traceback" not in result.stderr
    with Child([*program, *SERVER]) as running:
        running.wait_for_line("stderr", "listening on")
