"""The program as a client's tor runs it (pt-spec): SOCKS5 in, the transport out."""

from __future__ import annotations

import hashlib
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.proxy.outbound import LocalAddresses
from obfstats.wire.endpoint import parse_endpoint
from peers import managed, obfs4proxy, socks
from peers.arguments import write_arguments
from peers.child import START_SECONDS
from peers.destinations import digest, echo, serve, speak_first
from peers.missing import need
from tests.networks import in_own_network_if_allowed
from tests.proxy.test_interop import fetch_megabyte
from tests.proxy.visiting import HELLO, SECONDS, greet, refuse_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from peers.managed import Managed

ALL = ("dummy", *managed.TRANSPORTS)

LONG_SECRET = "a = secret; with \\ all that is escaped, ü too, and longer than a username" * 4


@pytest.fixture
def orport() -> Iterator[tuple[str, int]]:
    """An ORPort that echoes."""
    with serve(echo) as address:
        yield parse_endpoint(address)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    """One client for all tests that leave it unchanged."""
    with managed.client(tmp_path_factory.mktemp("client"), transports=ALL) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Managed]:
    """A bridge of ours on IPv4 and IPv6, with an ORPort that echoes."""
    binds = {"obfs2": "[::1]:0"}
    state = tmp_path_factory.mktemp("bridge")
    with serve(echo) as address, managed.server(state, parse_endpoint(address), transports=ALL, binds=binds) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def secret_bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """A bridge of ours with a shared secret for obfs2."""
    escaped = "".join(f"\\{one}" if one in ":;=\\" else one for one in LONG_SECRET)
    environment = {"TOR_PT_SERVER_TRANSPORT_OPTIONS": f"obfs2:shared-secret={escaped}"}
    state = tmp_path_factory.mktemp("bridge")
    with (
        serve(echo) as address,
        managed.server(state, parse_endpoint(address), transports=["obfs2"], environment=environment) as proxy,
    ):
        yield proxy.methods["obfs2"]


def free_port() -> int:
    """Return a port on which no program listens."""
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        return int(reserved.getsockname()[1])


def test_each_transport_is_a_socks5_proxy_on_loopback(client: Managed) -> None:
    """A CMETHOD line for each with its real port, then DONE; after it only lines that are allowed there."""
    methods = [f"CMETHOD {name} socks5 127.0.0.1:{client.methods[name][1]}" for name in ALL]
    assert client.said()[: len(ALL) + 2] == ["VERSION 1", *methods, "CMETHODS DONE"]
    assert all(line.split()[0] in {"STATUS", "LOG"} for line in client.said()[len(ALL) + 2 :])


def test_unknown_transports_are_passed_over_and_retired_ones_refused(tmp_path: Path) -> None:
    """The same as for a server."""
    with managed.client(tmp_path, transports=["obfs9", "b64", "obfs3"], failing=["b64"]) as proxy:
        assert proxy.methods.keys() == {"obfs3"}
        assert "use obfs3" in proxy.errors["b64"]
        assert "obfs9" not in proxy.child.stdout


def test_a_client_with_nothing_to_offer_ends(tmp_path: Path) -> None:
    """DONE, and exit status 1."""
    with managed.start(managed.client_environment(tmp_path, ["obfs9"])) as child:
        assert child.wait(START_SECONDS) == 1
        assert child.stdout == "VERSION 1\nCMETHODS DONE\n"


def test_a_client_keeps_nothing_on_disk(tmp_path: Path, bridge: Managed) -> None:
    """It counts nothing: the state folder is not even created."""
    with managed.client(tmp_path / "pt_state", argv=managed.ours()) as proxy:
        assert greet(socks.connect(proxy.methods["obfs3"], bridge.methods["obfs3"])) == HELLO
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ALL)
def test_a_megabyte_goes_through_our_client_and_our_server(client: Managed, bridge: Managed, name: str) -> None:
    """There and back, over IPv4, or IPv6 for obfs2."""
    sent, received = fetch_megabyte(socks.connect(client.methods[name], bridge.methods[name]))
    assert received == sent


@pytest.mark.parametrize("name", managed.TRANSPORTS)
def test_a_megabyte_goes_through_our_client_and_obfs4proxys_server(
    tmp_path: Path, orport: tuple[str, int], client: Managed, name: str
) -> None:
    """The bridge of another implementation."""
    need(obfs4proxy.PACKAGE, obfs4proxy.PROGRAM)
    with obfs4proxy.server(tmp_path, orport, transports=[name]) as server:
        sent, received = fetch_megabyte(socks.connect(client.methods[name], server.methods[name]))
    assert received == sent


@pytest.mark.parametrize("name", managed.TRANSPORTS)
def test_a_megabyte_goes_through_obfs4proxys_client_and_our_server(tmp_path: Path, bridge: Managed, name: str) -> None:
    """The client of another implementation."""
    need(obfs4proxy.PACKAGE, obfs4proxy.PROGRAM)
    host, port = bridge.methods[name]
    with obfs4proxy.client(tmp_path, transports=[name]) as theirs:
        sent, received = fetch_megabyte(socks.connect(theirs.methods[name], (host, port)))
    assert received == sent


def test_a_bridge_that_speaks_first_is_heard(tmp_path: Path, client: Managed) -> None:
    """The client sends nothing after the SOCKS request."""
    with (
        serve(speak_first) as address,
        managed.server(tmp_path, parse_endpoint(address)) as server,
        socks.connect(client.methods["obfs3"], server.methods["obfs3"]) as connection,
    ):
        assert connection.recv(100) == b"220 welcome\r\n"


def test_what_is_said_together_with_the_request_is_not_lost(tmp_path: Path, client: Managed) -> None:
    """Greeting, request and data in one segment, and then the end of this direction."""
    with (
        serve(digest) as address,
        managed.server(tmp_path, parse_endpoint(address)) as server,
        socket.create_connection(client.methods["obfs3"], SECONDS) as connection,
    ):
        port = server.methods["obfs3"][1].to_bytes(2, "big")
        connection.sendall(b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01" + port + bytes(100_000))
        connection.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: connection.recv(100), b""))
    assert received[12:] == hashlib.sha256(bytes(100_000)).digest()


def test_a_bridge_lines_secret_opens_the_bridge(client: Managed, secret_bridge: tuple[str, int]) -> None:
    """Escaped, and so long that it continues in the password field."""
    arguments = write_arguments({"shared-secret": LONG_SECRET})
    assert len(arguments.encode()) > 255
    assert greet(socks.connect(client.methods["obfs2"], secret_bridge, arguments)) == HELLO


def test_each_connection_has_its_own_arguments(
    client: Managed, secret_bridge: tuple[str, int], bridge: Managed
) -> None:
    """Two bridges, one of them without a secret, at the same time."""
    arguments = write_arguments({"shared-secret": LONG_SECRET})
    with (
        socks.connect(client.methods["obfs2"], secret_bridge, arguments) as first,
        socks.connect(client.methods["obfs2"], bridge.methods["obfs2"]) as second,
    ):
        assert (greet(second), greet(first)) == (HELLO, HELLO)


@pytest.mark.parametrize(
    ("name", "arguments", "reply"),
    [
        ("obfs3", "shared-secret=hunter2", 1),
        ("obfs2", "cert=hunter2", 1),
        ("obfs2", "shared-secret=", 1),
        ("obfs2", "shared-secret", None),
        ("obfs2", "shared-secret=hunter2\\", None),
        ("obfs2", "shared-secret=a;shared-secret=b", None),
    ],
)
def test_arguments_that_are_wrong_are_a_failure_and_stay_secret(
    client: Managed, bridge: Managed, name: str, arguments: str, reply: int | None
) -> None:
    """Malformed ones fail at once, unknown ones at the request; none is quoted anywhere."""
    with pytest.raises(socks.SocksError) as raised:
        socks.connect(client.methods[name], bridge.methods[name], arguments)
    assert raised.value.reply == reply
    assert "hunter2" not in client.child.stdout + client.child.stderr


def test_a_bridge_that_refuses_is_reply_5(client: Managed) -> None:
    """Tor's log says `connection refused`."""
    with pytest.raises(socks.SocksError) as raised:
        socks.connect(client.methods["obfs3"], ("127.0.0.1", free_port()))
    assert raised.value.reply == 5


def test_a_bridge_that_hangs_up_in_the_handshake_is_a_failure(client: Managed) -> None:
    """It does not speak the transport: general failure, and soon."""
    with serve(lambda connection: connection.close()) as address, pytest.raises(socks.SocksError) as raised:
        socks.connect(client.methods["obfs3"], parse_endpoint(address))
    assert raised.value.reply == 1


@pytest.mark.parametrize("name", ["localhost", "bridge.example", "a..b", "x" * 255])
def test_a_name_is_refused_with_reply_8(client: Managed, name: str) -> None:
    """No resolver is asked for a bridge, not even /etc/hosts."""
    with pytest.raises(socks.SocksError) as raised:
        socks.connect(client.methods["obfs3"], (name, 443))
    assert raised.value.reply == 8


def test_a_bridge_on_ipv6_is_reached(client: Managed, bridge: Managed) -> None:
    """Address type 4."""
    host, port = bridge.methods["obfs2"]
    assert host == "::1"
    assert greet(socks.connect(client.methods["obfs2"], (host, port))) == HELLO


BROKEN = [
    ({"TOR_PT_CLIENT_TRANSPORTS": "obfs3,"}, "TOR_PT_CLIENT_TRANSPORTS"),
    ({"TOR_PT_STATE_LOCATION": ""}, "TOR_PT_STATE_LOCATION"),
    ({"TOR_PT_OUTBOUND_BIND_ADDRESS_V4": "localhost"}, "TOR_PT_OUTBOUND_BIND_ADDRESS_V4"),
    ({"TOR_PT_OUTBOUND_BIND_ADDRESS_V6": "192.0.2.1"}, "TOR_PT_OUTBOUND_BIND_ADDRESS_V6"),
]


@pytest.mark.parametrize(("change", "what"), BROKEN, ids=[str(number) for number in range(len(BROKEN))])
def test_a_broken_environment_is_one_error_line(tmp_path: Path, change: dict[str, str], what: str) -> None:
    """The same as for a server."""
    (error,) = refuse_in({**managed.client_environment(tmp_path), **change})
    assert error.split()[0] == "ENV-ERROR"
    assert what in error


def test_the_address_to_come_from_does_not_hold_for_loopback(tmp_path: Path, bridge: Managed) -> None:
    """pt-spec: loopback must stay reachable; this machine has neither of these addresses."""
    environment = {
        "TOR_PT_OUTBOUND_BIND_ADDRESS_V4": "192.0.2.1",
        "TOR_PT_OUTBOUND_BIND_ADDRESS_V6": "[2001:db8::1]",
    }
    with managed.client(tmp_path, environment=environment) as proxy:
        for name in managed.TRANSPORTS:
            assert greet(socks.connect(proxy.methods[name], bridge.methods[name])) == HELLO


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("198.51.100.7", ("192.0.2.1", 0)),
        ("2001:db8::7", ("2001:db8::1", 0)),
        ("fe80::7%eth0", ("2001:db8::1", 0)),
        ("127.0.0.1", None),
        ("127.64.0.7", None),
        ("::1", None),
        ("bridge.example", None),
    ],
)
def test_the_address_to_come_from_is_that_of_the_destinations_family(host: str, local: tuple[str, int] | None) -> None:
    """Both are given; none is used for loopback and names."""
    assert LocalAddresses("192.0.2.1", "2001:db8::1").bind_address_for(host) == local


@given(st.ip_addresses().map(str))
def test_without_an_address_to_come_from_the_kernel_chooses(host: str) -> None:
    """None is given."""
    assert LocalAddresses().bind_address_for(host) is None


def test_a_bridge_elsewhere_sees_the_address_to_come_from(tmp_path: Path) -> None:
    """In a network namespace with several addresses the connection comes from the one that is named."""
    seen: list[str] = []

    def note(connection: socket.socket) -> None:
        seen.append(connection.getpeername()[0])

    def story() -> None:
        for address in ("198.51.100.7/32", "192.0.2.1/32"):
            subprocess.run(["ip", "address", "add", address, "dev", "lo"], check=True)
        environment = {"TOR_PT_OUTBOUND_BIND_ADDRESS_V4": "192.0.2.1"}
        with (
            serve(note, "198.51.100.7") as address,
            managed.client(tmp_path, transports=["dummy"], environment=environment) as proxy,
            socks.connect(proxy.methods["dummy"], parse_endpoint(address)) as connection,
        ):
            assert connection.recv(1) == b""

    in_own_network_if_allowed(story)
    assert seen == ["192.0.2.1"]
