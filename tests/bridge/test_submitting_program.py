"""The unchanged program sends what it publishes to a real collector, ends while one hangs, and needs its extra."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import sqlite3
import time
from typing import TYPE_CHECKING

from obfstats.collect.client.keys import KEY_NAME
from obfstats.collect.signing import SigningKey
from peers import extended, managed, socks_proxy, wrapped
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


@contextlib.contextmanager
def serving(folder: Path, time: Time, *options: str) -> Iterator[str]:
    """Run a collector; yield its URL."""
    command = [OBFSTATS, "collect", "serve", "--dir", str(folder), "--listen", "127.0.0.1:0", *options]
    with Child(command, environment=time.environment) as collector:
        yield collector.wait_for_line("stdout", r"listening at (http://\S+)")[1]


def read_ledger(folder: Path) -> list[tuple[str, str]]:
    """Give status and text of each document that a collector has."""
    with contextlib.closing(sqlite3.connect(folder / "ledger.sqlite")) as ledger:
        return ledger.execute("SELECT status, text FROM documents").fetchall()


def test_a_real_collector_has_the_document(tmp_path: Path) -> None:
    """Its bytes are in the ledger within six hours of its release, and the log says when they will be public."""
    time, collected = Time(tmp_path), tmp_path / "collected"
    key = SigningKey.create(tmp_path / "state" / KEY_NAME)
    with (
        serving(collected, time, "--admit", key.public) as url,
        bridge(tmp_path, time, url) as (program, probe),
    ):

        def has_accepted() -> bool:
            time.clock.move(SIX_HOURS // 4)
            probe()
            accepted = r"has accepted [0-9]+ documents?; in the public archive by [0-9]{4}-"
            return re.search(accepted, program.child.stderr) is not None

        assert wait_until(has_accepted)
    # The clock may have been moved by more than a day until the program has seen it.
    first = min((tmp_path / "public").glob("[0-9]*"))
    assert ("published", f"@type obfsproxy-stats 1.0\n{first.read_text()}") in read_ledger(collected)


def test_a_wrap_sends_too_through_a_proxy(tmp_path: Path) -> None:
    """The proxy resolves the collector's name. Tor's log has the key, and that the key is not admitted yet."""
    time, collected, state = Time(tmp_path), tmp_path / "collected", tmp_path / "pt_state"
    (tmp_path / "hashed-fingerprint").write_text(f"Unnamed {'AB' * 20}\n")
    with (
        serving(collected, time) as url,
        socks_proxy.serve(("127.0.0.1", int(url.rpartition(":")[2]))) as proxy,
        extended.orport(tmp_path) as tor,
    ):
        options = ["--publish", str(tmp_path / "public"), "--aggregate", *managed.countries(tmp_path)]
        options += ["--submit", "http://collector.onion", "--through", f"socks5h://127.0.0.1:{proxy.address[1]}"]
        with wrapped.server(tmp_path, tor, *options, environment=time.environment) as running:
            visitors = Visitors(running.methods[wrapped.NAME], "dummy")
            visitors.visit(9)

            def probe() -> None:
                visitors.visit(1, "??")

            end_day(time, probe, tmp_path / "public", 1)

            def is_held() -> bool:
                time.clock.move(SIX_HOURS // 4)
                probe()
                return "keeps documents in quarantine" in running.child.stdout

            assert wait_until(is_held)
            key = SigningKey.read(state / KEY_NAME)
            assert f"to the operators of http://collector.onion, who admit it: {key.public}" in running.child.stdout
    assert set(proxy.asked) == {("collector.onion", 80)}
    documents = {(status, text.splitlines()[1]) for status, text in read_ledger(collected)}
    assert documents == {("quarantined", f"hashed-fingerprint {'ab' * 20}")}


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
    assert any((tmp_path / "state" / "spool").glob("[0-9]*"))
