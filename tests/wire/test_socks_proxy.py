"""Asking a SOCKS proxy: what is sent, whose answer is taken for one, and what is kept of the bytes after it."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.wire.endpoint import Endpoint
from obfstats.wire.machine import Event, Failed, Machine, Send
from obfstats.wire.socks5 import Reply, Request, Socks5, write_reply
from obfstats.wire.socks_proxy import ProxyAnswer, connect_by_socks
from obfstats.wire.upstream import Upstream, parse_upstream
from tests.wire.machines import Cut, cuts, hear

BRIDGE = Endpoint("192.0.2.1", 443)
SOCKS5 = parse_upstream("socks5://127.0.0.1:1080")
SOCKS4A = parse_upstream("socks4a://127.0.0.1:1080")

hosts = st.ip_addresses().map(str) | st.from_regex("[A-Za-z0-9._-]{1,255}", fullmatch=True)
destinations = st.builds(Endpoint, hosts, st.integers(1, 65535))


def ask(destination: Endpoint = BRIDGE, upstream: Upstream = SOCKS5) -> Machine:
    """Begin to ask."""
    return Machine(partial(connect_by_socks, upstream, destination))


@given(destinations, cuts)
def test_our_server_understands_our_client(destination: Endpoint, cut: Cut) -> None:
    """Each address and name arrives, however the bytes are cut."""
    client, server = ask(destination), Socks5()
    to_server = client.start()
    heard: list[Event] = []
    while not any(isinstance(event, Request) for event in heard):
        heard = [event for send in to_server if isinstance(send, Send) for event in hear(server, cut(send.data))]
        to_server = [event for send in heard if isinstance(send, Send) for event in hear(client, cut(send.data))]
    (request,) = heard
    assert isinstance(request, Request)
    assert request.endpoint == destination
    assert hear(client, cut(write_reply(Reply.SUCCEEDED))) == [ProxyAnswer(early=b"")]


def test_what_the_destination_sends_with_the_answer_is_kept() -> None:
    """obfs3 servers of other authors send first."""
    machine = ask()
    machine.start()
    machine.receive(b"\5\0")
    assert machine.receive(write_reply(Reply.SUCCEEDED) + b"hello") == [ProxyAnswer(early=b"hello")]


@pytest.mark.parametrize(
    ("host", "sent"),
    [
        ("192.0.2.1", b"\4\1\1\xbb\xc0\0\2\1me\0"),
        ("bridge.example", b"\4\1\1\xbb\0\0\0\1me\0bridge.example\0"),
        ("2001:db8::1", b"\4\1\1\xbb\0\0\0\1me\x002001:db8::1\0"),
    ],
)
def test_socks4a_names_what_is_no_ipv4_address(host: str, sent: bytes) -> None:
    """Its answer has eight bytes; what follows is the destination's."""
    machine = ask(Endpoint(host, 443), parse_upstream("socks4a://me@127.0.0.1:1080"))
    assert machine.start() == [Send(sent)]
    assert machine.receive(b"\0\x5a\0\0\0\0\0") == []
    assert machine.receive(b"\0hello") == [ProxyAnswer(early=b"hello")]


def test_credentials_are_sent_where_the_proxy_asks_for_them() -> None:
    """And the request only once they are accepted."""
    machine = ask(upstream=parse_upstream("socks5://me:hunter2@127.0.0.1:1080"))
    assert machine.start() == [Send(b"\5\2\0\2")]
    assert machine.receive(b"\5\2") == [Send(b"\1\2me\7hunter2")]
    assert machine.receive(b"\1\0") == [Send(b"\5\1\0\1\xc0\0\2\1\1\xbb")]


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ((b"\4\0",), "no authentication method"),
        ((b"\5\xff",), "no authentication method"),
        ((b"\5\2",), "no authentication method"),
        ((b"\5\0", b"\4\0\0\1"), "does not speak SOCKS5"),
        ((b"\5\0", b"\5\0\0\2"), "unknown type"),
    ],
)
def test_an_invalid_answer_is_a_failure(answers: tuple[bytes, ...], reason: str) -> None:
    """A password is never sent to a proxy that was given none."""
    machine = ask()
    machine.start()
    *_, last = [event for answer in answers for event in machine.receive(answer)]
    assert isinstance(last, Failed)
    assert reason in last.reason


def test_an_answer_of_another_protocol_is_no_connection() -> None:
    """A SOCKS4 answer begins with 0."""
    machine = ask(upstream=SOCKS4A)
    machine.start()
    assert machine.receive(b"HZTP/1.1") == [Failed("the proxy does not speak SOCKS4")]


@pytest.mark.parametrize(("code", "reply"), [(2, Reply.NOT_ALLOWED), (5, Reply.CONNECTION_REFUSED), (99, 1)])
def test_a_refusal_is_passed_on(code: int, reply: int) -> None:
    """As the reply that it is; an unknown one is a general failure."""
    machine = ask()
    machine.start()
    machine.receive(b"\5\0")
    assert machine.receive(bytes((5, code, 0, 1))) == [ProxyAnswer(reply=Reply(reply), early=b"")]


@given(st.sampled_from((SOCKS5, SOCKS4A)), st.lists(st.binary(max_size=30), max_size=6))
def test_any_answer_ends_in_an_event(upstream: Upstream, answers: list[bytes]) -> None:
    """Never in an exception."""
    machine = ask(upstream=upstream)
    machine.start()
    for answer in answers:
        assert all(isinstance(event, Send | Failed | ProxyAnswer) for event in machine.receive(answer))


def test_a_name_longer_than_socks_allows_is_a_failure() -> None:
    """Before anything is sent."""
    assert ask(Endpoint("x" * 256, 443)).start() == [Failed("the name is longer than SOCKS allows")]
