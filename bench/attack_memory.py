"""Freed memory: an attacker who takes the running machine looks for clients that have left.

Memory is read as root. Addresses are looked for as text and packed, as they are in a socket address; hashes as text.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from socket import inet_aton, socket
from typing import TYPE_CHECKING

from bench.attacks import Row
from bench.report import BrokenError, MissingError
from obfstats.wire.transports import make_transport
from peers import extended, managed, wrapped
from peers.child import Child
from peers.obfuscated import ObfuscatedClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_TIMEOUT = 30.0
_TRANSPORT = "obfs3"
_HELLO = b"hello"
_CLIENTS = 350

# Counts clients in memory alone, for a whole interval, and wipes what it has counted, as after publishing. It
# prints its secret, so that hashes can be looked for.
_AGGREGATING = f"""
import sys
from types import SimpleNamespace
from obfstats.bridge import process
process.set_up(SimpleNamespace(severity="WARNING", enabled=False), has_terminal=False)
from obfstats.record import Recorder
from peers.clocks import DAY, MovedClock
clock = MovedClock()
recorder = Recorder.open(None, geoip=sys.argv[1], geoip6=sys.argv[2], clock=clock)
print("secret", bytes(recorder._secret._key).hex(), flush=True)
for number in range({_CLIENTS}):
    recorder.record(f"127.17.{{number // 200}}.{{number % 200 + 1}}", "obfs3")
    if number % 50 == 0:
        clock.pass_time(30.0)
        recorder.tick()
for _ in range(2):
    clock.pass_time(DAY)
    recorder.tick()
    clock.pass_time(700.0)
    recorder.tick()
recorder.pop_written()
recorder.store.close()
print("wiped", flush=True)
sys.stdin.readline()
"""


def measure(*, quick: bool) -> list[Row]:
    """Let clients leave, and others come and leave; look for the first ones."""
    if os.geteuid() != 0:
        raise MissingError("only root may read the memory of these programs")
    number = 100 if quick else 300
    attack = "takes the machine while it runs, and searches the memory"
    rows = [
        Row(
            attack,
            f"{name}: of {number} clients that left together, found after {number} others",
            str(found),
        )
        for name, found in (("obfsproxy", _obfsproxy(number)), ("obfstats wrap", _wrap(number)))
    ]
    found = _aggregate()
    rows.append(Row(attack, f"`--aggregate`: of {_CLIENTS} hashes as text, found after publishing", str(found)))
    return rows


def _addresses(second: int, number: int) -> list[str]:
    return [f"127.{second}.{17 + each // 200}.{23 + each % 200}" for each in range(number)]


def _obfsproxy(number: int) -> int:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        tor = stack.enter_context(extended.orport(folder))
        argv = managed.ours(*managed.counting(folder / "log", buffer=100))
        server = managed.server(folder / "state", tor, argv=argv, transports=[_TRANSPORT])
        bridge = stack.enter_context(server)

        def connect(address: str) -> ObfuscatedClient:
            client = ObfuscatedClient(make_transport(_TRANSPORT), bridge.methods[_TRANSPORT], address, _TIMEOUT)
            client.sendall(_HELLO)
            if client.recv() != _HELLO:
                raise BrokenError("a client was not served")
            return client

        return _remaining(bridge.child.pid, connect, number)


def _wrap(number: int) -> int:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        tor = stack.enter_context(extended.orport(folder))
        options = managed.counting(folder / "log", buffer=100)
        bridge = stack.enter_context(wrapped.server(folder, tor, *options))
        return _remaining(bridge.child.pid, lambda address: bridge.entrance.enter(f"{address}:5678"), number)


def _remaining(pid: int, connect: Callable[[str], ObfuscatedClient | socket], number: int) -> int:
    """Give how many addresses are in memory, of clients that left together before others came, one after the other."""
    first = _addresses(77, number)
    clients = [connect(address) for address in first]
    for client in clients:
        client.close()
    for address in _addresses(78, number):
        connect(address).close()
    return _found(pid, ([address.encode(), inet_aton(address)] for address in first))


def _aggregate() -> int:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        command = [sys.executable, "-c", _AGGREGATING, *managed.countries(folder)[1::2]]
        child = stack.enter_context(Child(command))
        secret = bytes.fromhex(child.wait_for_line("stdout", "^secret (.*)$")[1])
        child.wait_for_line("stdout", "^wiped$")
        addresses = [f"127.17.{number // 200}.{number % 200 + 1}" for number in range(_CLIENTS)]
        hashes = [sha256(inet_aton(address) + secret).hexdigest()[:40].encode() for address in addresses]
        return _found(child.pid, ([one] for one in hashes))


def _found(pid: int, clients: Iterable[Sequence[bytes]]) -> int:
    """Give how many clients are in a process's memory, in at least one of the forms of each."""
    memory = list(_mapped(pid))
    return sum(any(form in content for content in memory for form in forms) for forms in clients)


def _mapped(pid: int) -> Iterator[bytes]:
    """Give the content of every mapping of a process that it can write to."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for mapping in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, *_ = mapping.split()
            if rights.startswith("rw"):
                start, end = (int(end, 16) for end in span.split("-"))
                memory.seek(start)
                yield memory.read(end - start)
