"""What the kernel remembers of clients that have left: `ip tcp_metrics show`, which every local user may run.

Both settings of net.ipv4.tcp_no_metrics_save, each in a network of its own. The memory belongs to the kernel: it is the
same for every transport, and it is read here after the bridge has ended.
"""

from __future__ import annotations

import time
from functools import partial

from bench.attacks import Row
from bench.report import MissingError
from obfstats.wire.transports import make_transport
from peers import program
from peers.destinations import echo, serve
from peers.namespaces import in_own_network, set_no_metrics_save, tcp_metrics
from peers.obfuscated import ObfuscatedClient


def measure(*, quick: bool) -> list[Row]:
    """Let clients come and go, end the bridge, and look."""
    count = 50 if quick else 200
    rows: list[Row] = []
    for setting in (0, 1):
        try:
            found, error = in_own_network(partial(_look, setting, count))
        except PermissionError:
            raise MissingError("only root can make a network of its own") from None
        except FileNotFoundError:
            raise MissingError("ip is missing: apt-get install iproute2") from None
        attack = f"`ip tcp_metrics show` after the bridge has ended, tcp_no_metrics_save={setting}"
        rows.append(Row(attack, "clients whose address is found", f"{found} of {count}"))
        if found:
            rows.append(Row(attack, "error of the moment at which one left, at most, s", f"{error:.2f}"))
    return rows


def _look(setting: int, count: int) -> tuple[int, float]:
    """Count the clients that are found, and give the largest error of the moments at which they left."""
    set_no_metrics_save(setting)
    left: dict[str, float] = {}
    with (
        serve(echo) as orport,
        program.obfsproxy("--no-stats", "obfs3", "--dest", orport, "server", "127.0.0.1:0") as bridge,
    ):
        for number in range(count):
            source = f"127.88.{number}.1"
            with ObfuscatedClient(make_transport("obfs3"), bridge.address, source) as client:
                client.sendall(b"hello")
                client.recv()
            left[source] = time.monotonic()
    found = tcp_metrics()
    now = time.monotonic()
    errors = [abs(now - found[source] - moment) for source, moment in left.items() if source in found]
    return len(errors), max(errors, default=0.0)
