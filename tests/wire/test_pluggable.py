"""What tor says in the environment, read for servers and for clients; what is wrong becomes one line for tor."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.wire.endpoint import Endpoint
from obfstats.wire.pluggable import (
    ClientEnvironment,
    OrPorts,
    PluggableError,
    ServerEnvironment,
    ServerTransport,
    negotiate_version,
    read_environment,
)

# As tor 0.4.9 sets them.
SERVER = {
    "TOR_PT_MANAGED_TRANSPORT_VER": "1",
    "TOR_PT_STATE_LOCATION": "/var/lib/tor/pt_state/",
    "TOR_PT_EXIT_ON_STDIN_CLOSE": "1",
    "TOR_PT_SERVER_TRANSPORTS": "obfs3,obfs2",
    "TOR_PT_SERVER_BINDADDR": "obfs3-192.0.2.1:443,obfs2-[::]:0",
    "TOR_PT_SERVER_TRANSPORT_OPTIONS": r"obfs2:shared-secret=xy\:zzy",
    "TOR_PT_ORPORT": "127.0.0.1:9001",
    "TOR_PT_EXTENDED_SERVER_PORT": "127.0.0.1:9002",
    "TOR_PT_AUTH_COOKIE_FILE": "/var/lib/tor/extended_orport_auth_cookie",
}
CLIENT = {
    "TOR_PT_MANAGED_TRANSPORT_VER": "1",
    "TOR_PT_STATE_LOCATION": "/var/lib/tor/pt_state/",
    "TOR_PT_CLIENT_TRANSPORTS": "obfs3,obfs4",
    "TOR_PT_PROXY": "socks5://tor:xyzzy@198.51.100.1:8000",
}
VARIABLES = sorted(SERVER.keys() | CLIENT.keys() | {f"TOR_PT_OUTBOUND_BIND_ADDRESS_V{family}" for family in (4, 6)})

noise = st.text(st.sampled_from("obfs3-127.0.0.1:90,;=[]\\\n "), max_size=30) | st.text(max_size=30)


def server(**changes: str | None) -> ServerEnvironment:
    """Read the server's environment with these changes, whose names leave TOR_PT_ out; None takes a variable away."""
    environment = {**SERVER, **{f"TOR_PT_{name}": value for name, value in changes.items()}}
    read = read_environment({name: value for name, value in environment.items() if value is not None})
    assert isinstance(read, ServerEnvironment)
    return read


def client(**changes: str | None) -> ClientEnvironment:
    """Read the client's environment with these changes."""
    environment = {**CLIENT, **{f"TOR_PT_{name}": value for name, value in changes.items()}}
    read = read_environment({name: value for name, value in environment.items() if value is not None})
    assert isinstance(read, ClientEnvironment)
    return read


def test_a_server_is_told_everything() -> None:
    """What tor sets arrives in one value."""
    assert server() == ServerEnvironment(
        state="/var/lib/tor/pt_state/",
        exit_on_stdin_close=True,
        outbound_v4=None,
        outbound_v6=None,
        transports=(
            ServerTransport("obfs3", Endpoint("192.0.2.1", 443), {}),
            ServerTransport("obfs2", Endpoint("::", 0), {"shared-secret": "xy:zzy"}),
        ),
        orports=OrPorts(
            orport=Endpoint("127.0.0.1", 9001),
            extended=Endpoint("127.0.0.1", 9002),
            cookie_file="/var/lib/tor/extended_orport_auth_cookie",
        ),
    )


def test_a_client_is_told_everything() -> None:
    """The proxy stays unparsed: its errors are PROXY-ERROR and not ENV-ERROR."""
    assert client() == ClientEnvironment(
        state="/var/lib/tor/pt_state/",
        exit_on_stdin_close=False,
        outbound_v4=None,
        outbound_v6=None,
        transports=("obfs3", "obfs4"),
        proxy="socks5://tor:xyzzy@198.51.100.1:8000",
    )
    assert client(PROXY=None).proxy is None
    assert client(PROXY="").proxy is None
    assert client(PROXY="nonsense").proxy == "nonsense"


def test_secrets_are_not_shown() -> None:
    """Neither a transport's options nor the proxy's password by `repr`."""
    assert "zzy" not in repr(server())
    assert "obfs2" in repr(server())
    assert "xyzzy" not in repr(client())


@pytest.mark.parametrize("versions", ["1", "1,2", "1a,2b,1", "this_is_a_valid_ver,1"])
def test_version_1_is_agreed_on(versions: str) -> None:
    """At any position of tor's list."""
    assert negotiate_version({"TOR_PT_MANAGED_TRANSPORT_VER": versions}) == "VERSION 1"


@pytest.mark.parametrize("versions", ["", "2", "1a", "11", " 1", "1 ,2"])
def test_no_other_version_is_spoken(versions: str) -> None:
    """The specification's own words for that."""
    with pytest.raises(PluggableError) as refused:
        negotiate_version({"TOR_PT_MANAGED_TRANSPORT_VER": versions})
    assert refused.value.line == "VERSION-ERROR no-version"


def test_a_start_without_tor_is_explained() -> None:
    """Without the list of versions nothing else makes sense."""
    with pytest.raises(PluggableError) as refused:
        negotiate_version({})
    assert refused.value.line == (
        "ENV-ERROR TOR_PT_MANAGED_TRANSPORT_VER is not set; let tor start this program (ServerTransportPlugin in torrc)"
    )


@pytest.mark.parametrize("value", [None, "", "0", "true", "01", "1 "])
def test_stdin_ends_the_program_only_where_tor_says_so(value: str | None) -> None:
    """Exactly 1, as the specification has it."""
    assert not server(EXIT_ON_STDIN_CLOSE=value).exit_on_stdin_close
    assert client(EXIT_ON_STDIN_CLOSE="1").exit_on_stdin_close


def test_a_transport_without_an_address_listens_anywhere() -> None:
    """On a port of the kernel's choice, as tor says where it has none in its state."""
    for addresses in (None, "", "obfs4-192.0.2.1:443"):
        assert [transport.bind for transport in server(SERVER_BINDADDR=addresses).transports] == [("0.0.0.0", 0)] * 2


def test_what_belongs_to_other_transports_is_passed_over() -> None:
    """Addresses and options of transports that were not asked for, however they look."""
    (transport,) = server(
        SERVER_TRANSPORTS="obfs3",
        SERVER_BINDADDR="obfs4-nonsense,obfs3-192.0.2.1:443,obfs4-",
        SERVER_TRANSPORT_OPTIONS="obfs4:a=b;x y:c=d",
    ).transports
    assert transport == ServerTransport("obfs3", Endpoint("192.0.2.1", 443), {})


def test_one_orport_is_enough() -> None:
    """Either; tor sets the extended one to nothing where there is none."""
    plain = server(EXTENDED_SERVER_PORT="", AUTH_COOKIE_FILE=None)
    assert plain.orports == OrPorts(Endpoint("127.0.0.1", 9001), None, None)
    assert server(EXTENDED_SERVER_PORT=None).orports.extended is None
    assert server(ORPORT=None).orports.orport is None
    assert server(ORPORT="[::1]:9001").orports.orport == ("::1", 9001)


def test_a_relative_folder_is_taken_as_it_is() -> None:
    """Tor passes its DataDirectory on as torrc has it."""
    assert server(STATE_LOCATION="data/pt_state/").state == "data/pt_state/"
    assert client(STATE_LOCATION="pt_state").state == "pt_state"


def test_local_addresses_are_read_without_brackets() -> None:
    """Tor writes that of IPv6 in brackets."""
    read = client(OUTBOUND_BIND_ADDRESS_V4="203.0.113.4", OUTBOUND_BIND_ADDRESS_V6="[2001:db8::4]")
    assert (read.outbound_v4, read.outbound_v6) == ("203.0.113.4", "2001:db8::4")
    assert client(OUTBOUND_BIND_ADDRESS_V6="2001:DB8:0::4").outbound_v6 == "2001:db8::4"
    assert client(OUTBOUND_BIND_ADDRESS_V4="", OUTBOUND_BIND_ADDRESS_V6="").outbound_v4 is None


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"SERVER_TRANSPORTS": None}, "neither of TOR_PT_SERVER_TRANSPORTS and TOR_PT_CLIENT_TRANSPORTS set; one of"),
        ({"SERVER_TRANSPORTS": ""}, "neither of TOR_PT_SERVER_TRANSPORTS and TOR_PT_CLIENT_TRANSPORTS set; one of"),
        ({"CLIENT_TRANSPORTS": "obfs3"}, "both of TOR_PT_SERVER_TRANSPORTS and TOR_PT_CLIENT_TRANSPORTS set; one of"),
        ({"STATE_LOCATION": None}, "TOR_PT_STATE_LOCATION is not set"),
        ({"SERVER_TRANSPORTS": "obfs3,"}, "TOR_PT_SERVER_TRANSPORTS is not a list of transports' names"),
        ({"SERVER_TRANSPORTS": "obfs3, obfs2"}, "TOR_PT_SERVER_TRANSPORTS is not a list of transports' names"),
        ({"SERVER_TRANSPORTS": "obfs3,obfs2,obfs3"}, "TOR_PT_SERVER_TRANSPORTS names a transport twice"),
        ({"SERVER_BINDADDR": "192.0.2.1:443"}, "entry 1 of TOR_PT_SERVER_BINDADDR is not NAME-ADDRESS:PORT"),
        ({"SERVER_BINDADDR": "obfs3-192.0.2.1:443,"}, "entry 2 of TOR_PT_SERVER_BINDADDR is not NAME-ADDRESS:PORT"),
        ({"SERVER_BINDADDR": "obfs3-192.0.2.1"}, "entry 1 of TOR_PT_SERVER_BINDADDR does not end with ADDRESS:PORT"),
        ({"SERVER_BINDADDR": "obfs3-bridge.example:443"}, "entry 1 of TOR_PT_SERVER_BINDADDR does not end with ADDR"),
        ({"SERVER_BINDADDR": "obfs3-2001:db8::1:443"}, "entry 1 of TOR_PT_SERVER_BINDADDR does not end with ADDRESS:"),
        ({"SERVER_BINDADDR": "obfs3-192.0.2.1:65536"}, "entry 1 of TOR_PT_SERVER_BINDADDR does not end with ADDRESS:"),
        ({"SERVER_BINDADDR": "obfs3-[::]:1,obfs3-[::]:2"}, "entry 2 of TOR_PT_SERVER_BINDADDR repeats a transport"),
        ({"SERVER_TRANSPORT_OPTIONS": "xyzzy"}, "TOR_PT_SERVER_TRANSPORT_OPTIONS: pair 1 is not of the form NAME:K=V"),
        ({"SERVER_TRANSPORT_OPTIONS": "obfs2:a=xyzzy\\"}, "TOR_PT_SERVER_TRANSPORT_OPTIONS: a backslash in pair 1 esc"),
        (
            {"SERVER_TRANSPORT_OPTIONS": "obfs2:a=1;obfs2:a=xyzzy"},
            "TOR_PT_SERVER_TRANSPORT_OPTIONS: pair 2 repeats a k",
        ),
        ({"ORPORT": None, "EXTENDED_SERVER_PORT": ""}, "neither TOR_PT_ORPORT nor TOR_PT_EXTENDED_SERVER_PORT is set"),
        ({"ORPORT": "127.0.0.1:0"}, "TOR_PT_ORPORT is not ADDRESS:PORT, such as 127.0.0.1:9001 or [::1]:9001"),
        ({"ORPORT": "localhost:9001"}, "TOR_PT_ORPORT is not ADDRESS:PORT, such as 127.0.0.1:9001 or [::1]:9001"),
        ({"EXTENDED_SERVER_PORT": "9002"}, "TOR_PT_EXTENDED_SERVER_PORT is not ADDRESS:PORT, such as 127.0.0.1:9001"),
        ({"AUTH_COOKIE_FILE": None}, "TOR_PT_EXTENDED_SERVER_PORT is set without TOR_PT_AUTH_COOKIE_FILE"),
        ({"AUTH_COOKIE_FILE": ""}, "TOR_PT_EXTENDED_SERVER_PORT is set without TOR_PT_AUTH_COOKIE_FILE"),
        ({"OUTBOUND_BIND_ADDRESS_V4": "::1"}, "TOR_PT_OUTBOUND_BIND_ADDRESS_V4 is not an IPv4 address"),
        ({"OUTBOUND_BIND_ADDRESS_V4": "[192.0.2.1]"}, "TOR_PT_OUTBOUND_BIND_ADDRESS_V4 is not an IPv4 address"),
        ({"OUTBOUND_BIND_ADDRESS_V6": "192.0.2.1"}, "TOR_PT_OUTBOUND_BIND_ADDRESS_V6 is not an IPv6 address"),
        ({"OUTBOUND_BIND_ADDRESS_V6": "[fe80::1%eth0]"}, "TOR_PT_OUTBOUND_BIND_ADDRESS_V6 is not an IPv6 address"),
    ],
)
def test_a_server_is_told_what_is_wrong(changes: dict[str, str | None], told: str) -> None:
    """The variable and what it should hold, never what it holds."""
    with pytest.raises(PluggableError) as refused:
        server(**changes)
    assert refused.value.line.startswith(f"ENV-ERROR {told}")
    assert "xyzzy" not in refused.value.line


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"CLIENT_TRANSPORTS": ","}, "TOR_PT_CLIENT_TRANSPORTS is not a list of transports' names"),
        ({"CLIENT_TRANSPORTS": "*"}, "TOR_PT_CLIENT_TRANSPORTS is not a list of transports' names"),
        ({"CLIENT_TRANSPORTS": "obfs3,obfs3"}, "TOR_PT_CLIENT_TRANSPORTS names a transport twice"),
        ({"STATE_LOCATION": ""}, "TOR_PT_STATE_LOCATION is not set"),
        ({"OUTBOUND_BIND_ADDRESS_V4": "eth0"}, "TOR_PT_OUTBOUND_BIND_ADDRESS_V4 is not an IPv4 address"),
    ],
)
def test_a_client_is_told_what_is_wrong(changes: dict[str, str | None], told: str) -> None:
    """As a server is."""
    with pytest.raises(PluggableError) as refused:
        client(**changes)
    assert refused.value.line.startswith(f"ENV-ERROR {told}")


@given(st.sampled_from([SERVER, CLIENT]), st.dictionaries(st.sampled_from(VARIABLES), noise, max_size=5))
def test_any_environment_is_read_or_refused_with_one_line(good: dict[str, str], changes: dict[str, str]) -> None:
    """Nothing else is ever raised, and the line is one that tor can read."""
    line = ""
    try:
        line = negotiate_version({**good, **changes})
        assert read_environment({**good, **changes}).transports
    except PluggableError as error:
        line = error.line
    assert re.fullmatch(r"VERSION 1|(ENV|VERSION)-ERROR [ -~]{1,500}", line)
