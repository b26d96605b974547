"""SOCKS5 as tor speaks it to a transport's client: destinations, arguments, refusals."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.wire.endpoint import Endpoint, parse_endpoint
from obfstats.wire.machine import Failed, Send
from obfstats.wire.socks5 import Reply, Request, Socks5, write_reply
from peers.arguments import write_arguments
from tests.wire.machines import Cut, cuts, hear, memory_kept, sent

NO_AUTH = b"\x05\x01\x00"
# As tor offers it for a bridge line with arguments.
WITH_PASSWORD = b"\x05\x02\x00\x02"
BRIDGE = Endpoint("192.0.2.1", 443)

arguments = st.dictionaries(st.text("abc=;\\", min_size=1, max_size=8), st.text(max_size=8), max_size=4)
hosts = st.ip_addresses().map(str) | st.from_regex("[A-Za-z0-9._-]{1,255}", fullmatch=True)
ports = st.integers(1, 65535)


def password(username: bytes, word: bytes = b"\0") -> bytes:
    """The client's credentials."""
    return bytes([1, len(username)]) + username + bytes([len(word)]) + word


def connect(endpoint: Endpoint, command: int = 1) -> bytes:
    """The client's request."""
    try:
        address = ip_address(endpoint.host)
        host = (b"\1" if address.version == 4 else b"\4") + address.packed
    except ValueError:
        host = bytes([3, len(endpoint.host)]) + endpoint.host.encode()
    return bytes([5, command, 0]) + host + struct.pack(">H", endpoint.port)


def answer(reply: int) -> Send:
    """The answer to a request, without an address."""
    return Send(bytes([5, reply, 0, 1, 0, 0, 0, 0, 0, 0]))


def test_a_request_without_arguments() -> None:
    """Step by step; the first bytes of the client's data follow it."""
    socks = Socks5()
    assert socks.receive(NO_AUTH) == [Send(b"\x05\x00")]
    assert socks.receive(connect(BRIDGE) + b"early") == [Request(BRIDGE, {}, early=b"early")]
    assert Send(write_reply(Reply.SUCCEEDED)) == answer(0)


def test_a_request_with_arguments() -> None:
    """Authentication by username and password is preferred: they hold the arguments."""
    socks = Socks5()
    assert socks.receive(WITH_PASSWORD) == [Send(b"\x05\x02")]
    assert socks.receive(password(b"shared-secret=rahasia;secrets-file=/tmp/blob")) == [Send(b"\x01\x00")]
    expected = {"shared-secret": "rahasia", "secrets-file": "/tmp/blob"}
    assert socks.receive(connect(BRIDGE)) == [Request(BRIDGE, expected, early=b"")]


@given(host=hosts, port=ports, given=arguments, early=st.binary(max_size=20), cut=cuts)
def test_a_request_is_read_however_it_is_cut(
    host: str, port: int, given: dict[str, str], early: bytes, cut: Cut
) -> None:
    """Any address or name and any arguments, all sent before a single answer."""
    text = write_arguments(given).encode()
    stream = WITH_PASSWORD + password(text[:255], text[255:] or b"\0") + connect(Endpoint(host, port))
    reads = list(cut(stream))
    events = hear(Socks5(), [*reads[:-1], reads[-1] + early])
    assert sent(events) == b"\x05\x02\x01\x00"
    assert events[-1] == Request(Endpoint(host, port), given, early=early)
    assert parse_endpoint(str(Endpoint(host, port))) == (host, port)


@pytest.mark.parametrize("offered", [b"\x00", b"\x00\x01\x80", bytes(255)])
def test_no_authentication_is_chosen_where_nothing_else_is_offered(offered: bytes) -> None:
    """As tor offers it for a bridge line without arguments."""
    assert Socks5().receive(bytes([5, len(offered)]) + offered) == [Send(b"\x05\x00")]


@pytest.mark.parametrize(
    ("username", "word", "expected"),
    [
        (b"a=b", b"\0", {"a": "b"}),
        (b"a=b", b"", {"a": "b"}),
        (b"", b"", {}),
        (b"a=", b"b", {"a": "b"}),
        (b"a=" + b"x" * 253, b"y" * 255, {"a": "x" * 253 + "y" * 255}),
        (b"a=" + b"x" * 252 + b"\\", b"\\;b=c", {"a": "x" * 252 + "\\", "b": "c"}),
        (b"a=caf\xe9", b"\0", {"a": "caf\udce9"}),
        (b"a=b", b"\0\0", {"a": "b\0\0"}),
    ],
)
def test_username_and_password_are_one_text(username: bytes, word: bytes, expected: dict[str, str]) -> None:
    """Cut anywhere, even within an escape; one NUL means no password."""
    events = hear(Socks5(), [WITH_PASSWORD + password(username, word) + connect(BRIDGE)])
    assert events[-1] == Request(BRIDGE, expected, early=b"")


@pytest.mark.parametrize("host", ["bridge.example", "a", "x" * 255, "192.0.2.1", "xn--bcher-kva.example"])
def test_names_stay_as_they_are(host: str) -> None:
    """No name is resolved."""
    name = bytes([5, 1, 0, 3, len(host)]) + host.encode() + b"\x01\xbb"
    assert hear(Socks5(), [NO_AUTH + name])[-1] == Request(Endpoint(host, 443), {}, early=b"")


def test_addresses_become_text() -> None:
    """Both families, from their bytes."""
    for packed, kind, host in (
        (IPv4Address("192.0.2.1").packed, b"\1", "192.0.2.1"),
        (IPv6Address("2001:db8::1").packed, b"\4", "2001:db8::1"),
    ):
        request = hear(Socks5(), [NO_AUTH + b"\x05\x01\x00" + kind + packed + b"\x01\xbb"])[-1]
        assert request == Request(Endpoint(host, 443), {}, early=b"")


@pytest.mark.parametrize("stream", [b"\x04", b"\x04\x01\x01\xbb\xc0\x00\x02\x01\x00", b"GET / HTTP/1.1\r\n", b"\x00"])
def test_other_protocols_get_no_answer(stream: bytes) -> None:
    """SOCKS4 or HTTP: no answer would be understood."""
    assert hear(Socks5(), [stream]) == [Failed("the client does not speak SOCKS5")]


@pytest.mark.parametrize("offered", [b"", b"\x01", b"\x01\x03\xff"])
def test_unsupported_methods_are_refused(offered: bytes) -> None:
    """GSSAPI, or nothing at all."""
    assert Socks5().receive(bytes([5, len(offered)]) + offered) == [
        Send(b"\x05\xff"),
        Failed("the client offers no supported authentication method"),
    ]


@pytest.mark.parametrize("text", [b"xyzzy", b"a=xyzzy;", b"=xyzzy", b"a=xyzzy\\", b"a=\\xyzzy", b"a=1;a=xyzzy"])
def test_malformed_arguments_fail_the_authentication(text: bytes) -> None:
    """With the only answer there is (RFC 1929); the reason does not show them."""
    events = hear(Socks5(), [WITH_PASSWORD + password(text) + connect(BRIDGE)])
    assert events == [Send(b"\x05\x02"), Send(b"\x01\x01"), Failed("the client's arguments are malformed")]


def test_another_authentication_than_agreed_fails() -> None:
    """A client that continues with its request instead."""
    events = hear(Socks5(), [WITH_PASSWORD + connect(BRIDGE)])
    reason = "the client's authentication is not the agreed one"
    assert events == [Send(b"\x05\x02"), Send(b"\x01\x01"), Failed(reason)]


@pytest.mark.parametrize(
    ("request_bytes", "reply", "reason"),
    [
        (b"\x04\x01\x00\x01", 1, "the client's request is malformed"),
        (b"\x05\x01\x01\x01", 1, "the client's request is malformed"),
        (b"\x05\x00\x00\x01", 7, "the client's command is not CONNECT"),
        (connect(BRIDGE, command=2), 7, "the client's command is not CONNECT"),
        (connect(BRIDGE, command=3), 7, "the client's command is not CONNECT"),
        (b"\x05\x01\x00\x02", 8, "the client's address is of an unknown type"),
        (b"\x05\x01\x00\x00", 8, "the client's address is of an unknown type"),
        (connect(Endpoint("192.0.2.1", 0)), 1, "the client's destination is invalid"),
        (connect(Endpoint("2001:db8::1", 0)), 1, "the client's destination is invalid"),
        (connect(Endpoint("bridge.example", 0)), 1, "the client's destination is invalid"),
        (b"\x05\x01\x00\x03\x00\x01\xbb", 1, "the client's destination is invalid"),
        (b"\x05\x01\x00\x03\x03a b\x01\xbb", 1, "the client's destination is invalid"),
        (b"\x05\x01\x00\x03\x03::1\x01\xbb", 1, "the client's destination is invalid"),
        (b"\x05\x01\x00\x03\x02\xc3\xa9\x01\xbb", 1, "the client's destination is invalid"),
        (b"\x05\x01\x00\x03\x02a\x00\x01\xbb", 1, "the client's destination is invalid"),
    ],
)
def test_requests_that_cannot_be_met_are_refused(request_bytes: bytes, reply: int, reason: str) -> None:
    """With the reply of RFC 1928; further input is ignored."""
    socks = Socks5()
    socks.receive(NO_AUTH)
    assert socks.receive(request_bytes) == [answer(reply), Failed(reason)]
    assert socks.receive(connect(BRIDGE)) == []


@pytest.mark.parametrize("code", Reply)
def test_replies_show_no_address_of_ours(code: Reply) -> None:
    """Ten bytes, of which one differs."""
    assert Send(write_reply(code)) == answer(int(code))


def test_a_request_does_not_show_the_bridge_or_its_secret() -> None:
    """A request that is printed by mistake gives nothing away."""
    shown = repr(Request(BRIDGE, {"shared-secret": "xyzzy"}, early=b"early"))
    assert shown == "Request()"


def test_the_machine_ignores_input_when_it_has_finished() -> None:
    """It returns no event and keeps no byte after a request or a refusal."""
    for stream in (NO_AUTH + connect(BRIDGE), b"\x04", NO_AUTH + connect(BRIDGE, command=2)):
        socks = Socks5()
        hear(socks, [stream])
        assert memory_kept(socks.receive, [NO_AUTH, bytes(100_000), connect(BRIDGE)]) < 500


def test_no_more_than_one_message_is_held() -> None:
    """The longest of each, without its last byte."""
    for before, half in (
        (b"", b"\x05\xff" + bytes(254)),
        (WITH_PASSWORD, password(b"x" * 255, b"x" * 255)[:-1]),
        (NO_AUTH, connect(Endpoint("x" * 255, 443))[:-1]),
    ):
        socks = Socks5()
        hear(socks, [before] if before else [])
        assert memory_kept(socks.receive, [half[:50], half[50:]]) < 1500


@given(st.binary(max_size=100), st.sampled_from([b"", NO_AUTH, WITH_PASSWORD, WITH_PASSWORD + password(b"")]), cuts)
def test_noise_waits_or_is_refused(noise: bytes, start: bytes, cut: Cut) -> None:
    """Nothing is raised, and only the last event is not Send."""
    events = hear(Socks5(), cut(start + noise))
    for event in events[:-1]:
        assert isinstance(event, Send)
    if events and isinstance(events[-1], Request):
        assert events[-1].endpoint.port
