"""The program as a bridge's operator runs it: real processes, real sockets, real clients."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from obfstats.formats.logline import parse_line
from obfstats.wire.transports import make_transport
from peers.destinations import digest, echo, serve, speak_first
from peers.obfuscated import ObfuscatedClient
from peers.program import obfsproxy
from tests import canary

if TYPE_CHECKING:
    from pathlib import Path

WAYS = [("obfs2", None), ("obfs2", "a shared secret"), ("obfs3", None)]


def secret_option(secret: str | None) -> list[str]:
    """The options for a shared secret."""
    return [] if secret is None else ["--shared-secret", secret]


def countries(log: Path) -> Counter[str]:
    """The number of lines of each country in a log."""
    return Counter(parse_line(line).country for line in log.read_bytes().splitlines())


@pytest.mark.parametrize(("name", "secret"), WAYS)
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_server_and_client_carry_megabytes_and_keep_the_half_close(
    tmp_path: Path, name: str, secret: str | None, host: str
) -> None:
    """A program that answers at the end of its input works through both, over IPv4 and IPv6."""
    sent = os.urandom(5_000_000)
    listen = f"[{host}]:0" if ":" in host else f"{host}:0"
    options = [name, *secret_option(secret), "--dest"]
    with (
        serve(digest, host) as destination,
        obfsproxy("--data-dir", str(tmp_path), *options, destination, "server", listen) as server,
        obfsproxy(*options, f"[{host}]:{server.address[1]}" if ":" in host else "{}:{}".format(*server.address),
                  "client", listen) as client,
        socket.create_connection(client.address, 30) as connection,
    ):  # fmt: skip
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: connection.recv(4096), b""))
    assert received == hashlib.sha256(sent).digest()


@pytest.mark.parametrize(("name", "secret"), WAYS)
def test_clients_are_counted_by_country_when_the_destination_has_taken_them(
    tmp_path: Path, geoip: Path, name: str, secret: str | None
) -> None:
    """Nine clients of three countries and none: the log has a line for each of the first eight."""
    log = tmp_path / "log"
    origins = ["de", "de", "tr", "ir", "??", "de", "tr", "??", "de"]
    with (
        serve(echo) as destination,
        obfsproxy("--stats-log", str(log), "--stats-buffer", "1", "--geoip", str(geoip), "--stats-columns",
                  "transport,family", name, *secret_option(secret), "--dest", destination, "server",
                  "127.0.0.1:0") as server,
    ):  # fmt: skip
        transport = make_transport(name, shared_secret=secret)
        for origin in origins:
            with ObfuscatedClient(transport, server.address, canary.address(origin)) as client:
                client.sendall(b"hello")
                assert client.recv() == b"hello"
    assert countries(log) == Counter(origins[:8])
    assert all(line.endswith(f" {name} v4") for line in log.read_text().splitlines())


def test_a_destination_that_speaks_first_is_heard(tmp_path: Path) -> None:
    """The client sends nothing and gets the greeting."""
    with (
        serve(speak_first) as destination,
        obfsproxy("--no-stats", "obfs3", "--dest", destination, "server", "127.0.0.1:0") as server,
        obfsproxy("obfs3", "--dest", "{}:{}".format(*server.address), "client", "127.0.0.1:0") as client,
        socket.create_connection(client.address, 30) as connection,
    ):
        assert connection.recv(100) == b"220 welcome\r\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_within_a_second_and_flushes_nothing(tmp_path: Path, geoip: Path, number: int) -> None:
    """Step 6 of the ticket, with open connections and lines in the buffer."""
    log = tmp_path / "log"
    with (
        serve(echo) as destination,
        obfsproxy("--stats-log", str(log), "--geoip", str(geoip), "obfs3", "--dest", destination, "server",
                  "127.0.0.1:0") as server,
    ):  # fmt: skip
        transport = make_transport("obfs3")
        clients = [ObfuscatedClient(transport, server.address, canary.address()) for _ in range(20)]
        for client in clients:
            client.sendall(b"hello")
            assert client.recv() == b"hello"
        asked = time.monotonic()
        server.child.send_signal(number)
        assert server.child.wait() == 0
        took = time.monotonic() - asked
        for client in clients:
            client.close()
    assert log.read_bytes() == b""
    assert took < 1.0


def test_a_destination_that_is_gone_is_not_counted_and_closes_the_client(tmp_path: Path, geoip: Path) -> None:
    """No line for a client that was not served; when the destination is back, the next client is."""
    log = tmp_path / "log"
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        destination = f"127.0.0.1:{reserved.getsockname()[1]}"
    with obfsproxy("--stats-log", str(log), "--stats-buffer", "1", "--geoip", str(geoip), "obfs2", "--dest",
                   destination, "server", "127.0.0.1:0") as server:  # fmt: skip
        transport = make_transport("obfs2")
        for _ in range(3):
            with ObfuscatedClient(transport, server.address, canary.address("tr")) as client:
                assert receive_until_closed(client) == b""
    assert log.read_bytes() == b""


def receive_until_closed(client: ObfuscatedClient) -> bytes:
    """Return what arrives before the connection ends in any way."""
    try:
        return client.receive_all()
    except ConnectionError:
        return b""
