"""What the process guarantees about its memory and its error reports."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from obfstats.bridge import process
from obfstats.proxy.privacy import describe_error, log_errors, report_error
from peers import extended, managed
from peers.program import obfsproxy
from tests import canary
from tests.proxy.honest import Visitors, receive_hello
from tests.record.remains import mapped

# Makes every kind of mistake there is, with an address in each, under the program's own precautions.
MISTAKEN_PROCESS = """
import asyncio, gc, logging, socket, sys, threading, warnings
from obfstats.bridge import process
from obfstats.proxy.privacy import log_errors
from obfstats.wire.endpoint import parse_endpoint
address = sys.stdin.readline().strip()
logging.basicConfig(format="obfsproxy: %(message)s", stream=sys.stderr, level=logging.INFO)

def fail(*_):
    parse_endpoint(address)

class Fails:
    def __del__(self):
        fail()

async def task():
    fail()

async def main():
    loop = asyncio.get_running_loop()
    process.scrub_error_reports(loop)
    loop.call_soon(fail)
    await asyncio.sleep(0.01)
    log_errors()
    made = loop.create_task(task())
    await asyncio.sleep(0.01)
    del made
    gc.collect()
    log_errors()
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    log_errors()
    Fails()
    log_errors()
    warnings.warn(address)
    socket.create_server((address, 0))
    gc.collect()
    logging.getLogger("asyncio").error("socket.send() raised for %s", address)

asyncio.run(main())
fail()
"""


def test_no_internal_error_shows_an_address() -> None:
    """Callback, task, thread, destructor, warning, unclosed socket, main: each report has a class and a line only."""
    address = canary.address()
    result = subprocess.run(
        [sys.executable, "-X", "dev", "-c", MISTAKEN_PROCESS],
        input=address, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert result.returncode == 1
    assert address not in result.stdout + result.stderr
    reports = [line for line in result.stderr.splitlines() if "internal error" in line]
    assert len(reports) == len(result.stderr.splitlines()) == 5
    assert all("ValueError at obfstats.wire.endpoint:" in line for line in reports)


def test_a_peer_that_disconnects_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """Connection errors that reach the loop are not reported; others are."""
    loop = asyncio.new_event_loop()
    with caplog.at_level(logging.DEBUG):
        process._report_from_loop(loop, {"exception": ConnectionResetError("192.0.2.7"), "message": "192.0.2.7"})
        log_errors()
        assert caplog.messages == []
        process._report_from_loop(loop, {"exception": KeyError("192.0.2.7"), "message": "192.0.2.7"})
        log_errors()
    loop.close()
    assert caplog.messages == ["internal error, please report it: KeyError"]


def test_an_error_waits_for_the_next_report(caplog: pytest.LogCaptureFixture) -> None:
    """Logged at once it would date the client that met it. However often it happens, it is logged once."""
    for _ in range(3):
        report_error(KeyError("192.0.2.7"))
    assert caplog.messages == []
    log_errors()
    log_errors()
    assert caplog.messages == ["internal error, please report it: KeyError"]


def test_an_error_is_described_without_its_text() -> None:
    """The class and, if it came from this package, the line."""
    assert describe_error(ValueError("192.0.2.7")) == "ValueError"
    assert describe_error(None) == "unknown error"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into a process that is not dumpable")
def test_the_running_program_leaves_no_core_and_is_not_dumpable(tmp_path: Path) -> None:
    """The kernel makes no core file, and only root may read the memory."""
    with obfsproxy(
        "--data-dir", str(tmp_path / "data"), "obfs3", "--dest", "127.0.0.1:9", "server", "127.0.0.1:0"
    ) as server:
        limits = Path(f"/proc/{server.child.pid}/limits").read_text()
        mapped = Path(f"/proc/{server.child.pid}/smaps").read_text()
    (core,) = (line.split() for line in limits.splitlines() if line.startswith("Max core file size"))
    # One byte is less than a core has; with none the kernel would still hand it to a program, where one is set.
    assert core[4:6] in (["0", "0"], ["1", "1"])
    assert any({"lo", "dd", "dc"} <= set(line.split()) for line in mapped.splitlines() if line.startswith("VmFlags"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into a process that is not dumpable")
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc overwrites freed memory on request")
def test_addresses_of_clients_that_have_left_are_not_in_memory(tmp_path: Path) -> None:
    """Of 30 that left together, after 10 others came one after the other."""
    with (
        extended.orport(tmp_path) as tor,
        managed.server(tmp_path / "state", tor, argv=managed.SILENT, transports=["obfs3"]) as bridge,
    ):
        visitors = Visitors(bridge.methods["obfs3"])
        addresses = [canary.address() for _ in range(30)]
        clients = [visitors.send_hello(source=address) for address in addresses]
        for client in clients:
            receive_hello(client)
        for client in clients:
            client.close()
        visitors.visit(10)
        contents = list(mapped(bridge.child.pid))
    # As a socket address, which uvloop's connections embed (ip(7)): the family, a port, the address, zeros.
    forms = [re.compile(rb"\x02\0.." + re.escape(socket.inet_aton(each)) + bytes(8), re.DOTALL) for each in addresses]
    found = sum(any(form.search(content) for content in contents) for form in forms)
    assert found < len(addresses) / 4
