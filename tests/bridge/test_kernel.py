"""What the kernel remembers of clients (`ip tcp_metrics`): who forbids it is not warned, and it is forbidden then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from peers import extended, managed, program, wrapped
from peers.destinations import echo, serve
from peers.namespaces import set_no_metrics_save, tcp_metrics
from tests import canary
from tests.networks import in_own_network_if_allowed
from tests.proxy.honest import METRICS, Visitors
from tests.proxy.visiting import HELLO, visit

if TYPE_CHECKING:
    from pathlib import Path

SENTENCE = f"the kernel keeps clients' addresses (ip tcp_metrics): set the sysctl net.ipv4.{METRICS} to 1, see docs/"

settings = pytest.mark.parametrize("setting", [0, 1])


@settings
def test_an_operator_is_warned_once_where_the_kernel_remembers_clients(setting: int) -> None:
    """On standard error, at the start; not where the setting is right."""

    def story() -> None:
        set_no_metrics_save(setting)
        with program.obfsproxy("--no-stats", "obfs3", "--dest", "127.0.0.1:9", "server", "127.0.0.1:0") as proxy:
            proxy.child.wait_for_line("stderr", "Starting")
        assert proxy.child.stderr.count(SENTENCE) == 1 - setting
        assert proxy.child.stderr.count(METRICS) == 1 - setting

    in_own_network_if_allowed(story)


@settings
def test_tor_is_warned_once_by_a_bridge_and_by_a_wrap(tmp_path: Path, setting: int) -> None:
    """As a warning in tor's log; a client's program has no clients to warn of."""

    def story() -> None:
        set_no_metrics_save(setting)
        with (
            extended.orport(tmp_path) as tor,
            managed.server(tmp_path / "ours", tor) as ours,
            wrapped.server(tmp_path, tor, "--no-stats") as around,
            managed.client(tmp_path / "client") as client,
        ):
            Visitors(around.methods[wrapped.NAME], "dummy").visit()
            for proxy in (ours, around, client):
                proxy.child.wait_for_line("stdout", "Starting")
        warning = f'LOG SEVERITY=warning MESSAGE="{SENTENCE}'
        warnings = [[line for line in proxy.said() if METRICS in line] for proxy in (ours, around, client)]
        assert [len(lines) for lines in warnings] == [1 - setting, 1 - setting, 0]
        assert all(line.startswith(warning) for lines in warnings for line in lines)

    in_own_network_if_allowed(story)


@settings
def test_the_kernel_remembers_clients_unless_it_is_told_not_to(setting: int) -> None:
    """What the warning and the documentation say is what this kernel does."""
    clients = [canary.address() for _ in range(3)]

    def story() -> None:
        set_no_metrics_save(setting)
        with (
            serve(echo) as orport,
            program.obfsproxy("--no-stats", "obfs3", "--dest", orport, "server", "127.0.0.1:0") as proxy,
        ):
            for client in clients:
                assert visit(proxy.address, source=client) == HELLO
        assert [client in tcp_metrics() for client in clients] == [setting == 0] * 3

    in_own_network_if_allowed(story)
