"""A bridge's document reaches a collector through a real tor, and the collector never has the bridge's address.

The operator's machine is a network of its own with one address, from which a link leads to the rest: the private Tor
network and the collector. Its tor and `obfstats submit` run there.
"""

from __future__ import annotations

import http.client
import os
import random
import re
import subprocess
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from obfstats.collect.signing import SigningKey
from obfstats.collect.submission import (
    CONTENT_TYPE,
    DOCUMENTS_PATH,
    TRUSTED_COMMENT,
    SignedText,
    read_response,
    write_request,
)
from obfstats.formats.document import Document, write_document
from obfstats.formats.interval import format_time
from peers.child import Child
from peers.missing import need
from peers.namespaces import linked_network
from peers.network import Network
from peers.program import OBFSTATS
from peers.tors import telling
from tests import canary
from tests.e2e.visitors import OURS
from tests.networks import in_own_network_if_allowed
from tests.record.remains import mapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from peers.namespaces import Run
    from peers.tors import Client

FINGERPRINT = "7cb8c8b7a9e2f1d0c3b4a5968778695a4b3c2d1e"
SECONDS = 30.0


def patterns(address: str) -> dict[str, re.Pattern[bytes]]:
    """What to search a file or a memory for.

    Four packed bytes occur in tens of megabytes by chance, so they are searched for as the two things that a Python
    program has them in: a socket's address (ip(7): family, port, address, zeros) and an object of type bytes.
    """
    text, number, hexadecimal, reversed_hexadecimal, packed, *others = map(re.escape, canary.forms(address))
    return {
        "text": re.compile(b"|".join([text, number, hexadecimal, reversed_hexadecimal, *others]), re.IGNORECASE),
        "socket's address": re.compile(rb"\x02\0.." + packed + bytes(8), re.DOTALL),
        "mapped into IPv6": re.compile(rb"\xff\xff" + packed),
        "bytes": re.compile(rb"\x04" + bytes(7) + rb".{8}" + packed + rb"\0", re.DOTALL),
    }


def traces(address: str, contents: Iterable[bytes]) -> set[str]:
    """In which forms the address is in any of these."""
    wanted = patterns(address)
    return {name for content in contents for name, pattern in wanted.items() if pattern.search(content)}


def make_document() -> bytes:
    """A document of an interval that ended an hour ago."""
    end = format_time(datetime.fromtimestamp(int(time.time()) - 3600, UTC))
    return write_document(Document(end, 86_400, fingerprint=FINGERPRINT, ips={"DE": 48}, requests={"DE": 64}, minor=0))


def kept(folder: Path, child: Child) -> list[bytes]:
    """What the collector has written: its files, database included, and its output."""
    return [*(content for _, content in canary.files_below(folder)), (child.stdout + child.stderr).encode()]


@contextmanager
def collector(folder: Path, key: str) -> Iterator[tuple[Child, int]]:
    """A collector that admits a key and listens on every address of this network; gives its process and its port."""
    command = [OBFSTATS, "collect", "serve", "--dir", str(folder), "--listen", "0.0.0.0:0", "--admit", key]
    with Child(command) as child:
        yield child, int(child.wait_for_line("stdout", r"listening at .*:([0-9]+)")[1])


@contextmanager
def operators_tor(network: Network, run_there: Run, host: str) -> Iterator[Client]:
    """A tor in the operator's network, which enters the Tor network through a bridge on this side of the link."""
    with network.bridge("entry", OURS, {"obfs3": host}) as entry:
        entry.wait_for("The current consensus contains exit nodes")
        line = entry.line("obfs3")
        running = network.client("operator", OURS, line)
        client = run_there(running.__enter__)
        try:
            with telling(entry, client):
                yield client
        finally:
            running.__exit__(None, None, None)


def post_again(connection: http.client.HTTPConnection, key: SigningKey, text: bytes) -> int:
    """Send a document as `obfstats submit` does, and leave the connection open; gives the document's status."""
    body = write_request(key.public, [SignedText(text, key.sign(text, TRUSTED_COMMENT))])
    connection.request("POST", DOCUMENTS_PATH, body, {"Content-Type": CONTENT_TYPE})
    (result,) = read_response(connection.getresponse().read(), 1)
    return result.status


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into a process that is not dumpable")
def test_the_collector_never_has_the_bridges_address(tmp_path_factory: pytest.TempPathFactory) -> None:
    """It is not in the database, the files, the output or the memory.

    The control is a direct connection with the same document: its address is in the memory, where the same search finds
    it, and still in nothing that is kept.
    """
    need("tor", "tor")
    need("tor", "tor-gencert")
    # The path of tor's control socket must be short.
    folder = tmp_path_factory.mktemp("through")
    third, fourth = random.randrange(16, 240), random.randrange(16, 240)
    here, there = f"10.{third}.{fourth}.117", f"10.{third}.{fourth}.118"
    state, data, document = folder / "state", folder / "collector", folder / "document"
    key = SigningKey.create(state / "submit.key")
    text = make_document()
    document.write_bytes(text)

    def story() -> None:
        with (
            linked_network(here, there) as run_there,
            Network(folder) as network,
            collector(data, key.public) as (child, port),
        ):
            network.wait()
            with operators_tor(network, run_there, here) as tor:
                command = [
                    OBFSTATS, "submit", "--data-dir", str(state), "--to", f"http://127.0.0.1:{port}",
                    "--through", "socks5h://{}:{}".format(*tor.socks()), str(document),
                ]  # fmt: skip
                submitted = run_there(
                    lambda: subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
                )
            assert submitted.returncode == 0, submitted.stderr
            assert any(text in content for content in kept(data, child))
            assert traces(there, [*kept(data, child), *mapped(child.pid)]) == set()

            connection = http.client.HTTPConnection(here, port, timeout=SECONDS)
            run_there(connection.connect)
            assert post_again(connection, key, text) == 200
            assert "text" in traces(there, mapped(child.pid))
            connection.close()
            assert traces(there, kept(data, child)) == set()

    in_own_network_if_allowed(story)
