"""The extended ORPort: both ends joined, each against hashes and messages made by hand, cut anywhere."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.formats.address import ClientAddress
from obfstats.wire.extorport import (
    COOKIE_LENGTH,
    Asked,
    CookieError,
    ExtOrPortClient,
    ExtOrPortServer,
    Granted,
    parse_cookie,
    write_cookie,
)
from obfstats.wire.machine import Failed, Send
from tests.wire.join import Cut, cut_by, cuts, seeded, single_bytes
from tests.wire.torport import (
    COOKIE,
    DONE,
    OKAY,
    client_hash,
    client_says,
    hear,
    message,
    sent,
    server_hash,
    server_says,
)

HEADER = b"! Extended ORPort Auth Cookie !\x0a"
CLIENT = ClientAddress.parse("192.0.2.7", 5678)
ADDRESS = b"192.0.2.7:5678"

clients = st.builds(ClientAddress.parse, st.ip_addresses().map(str), st.integers(1, 65535))
names = st.from_regex("[A-Za-z_][A-Za-z0-9_]{0,30}", fullmatch=True)


def new_client(address: bytes | None = ADDRESS, transport: str = "obfs3") -> ExtOrPortClient:
    """Our end, whose nonce is always the same."""
    return ExtOrPortClient(COOKIE, seeded(1), transport=transport, user_address=address)


def test_cookie_file_is_read_as_tor_writes_it() -> None:
    """Header and cookie, 64 bytes, whatever the cookie's are."""
    assert parse_cookie(HEADER + COOKIE) == COOKIE
    assert write_cookie(COOKIE) == HEADER + COOKIE
    assert len(COOKIE) == COOKIE_LENGTH == len(HEADER)


@pytest.mark.parametrize(
    "content",
    [b"", HEADER, COOKIE, HEADER + COOKIE[1:], HEADER + COOKIE + b"\n", COOKIE + HEADER, HEADER.lower() + COOKIE],
    ids=["empty", "header", "cookie", "short", "long", "swapped", "lower"],
)
def test_anything_else_is_no_cookie_file(content: bytes) -> None:
    """Half a file, while tor writes it, among it."""
    with pytest.raises(CookieError, match="does not hold a cookie"):
        parse_cookie(content)


@pytest.mark.parametrize(
    ("address", "written"),
    [
        ("192.0.2.7", "192.0.2.7:5678"),
        ("2001:db8::1", "[2001:db8::1]:5678"),
        ("2001:DB8:0::1", "[2001:db8::1]:5678"),
        ("::ffff:192.0.2.7", "192.0.2.7:5678"),
        ("::ffff:c000:207", "192.0.2.7:5678"),
        ("fe80::1%eth0", "[fe80::1]:5678"),
        ("::ffff:192.0.2.7%eth0", "192.0.2.7:5678"),
    ],
)
def test_addresses_are_written_as_tor_takes_them(address: str, written: str) -> None:
    """Brackets for IPv6; IPv4 as IPv4 however it came; no zone."""
    assert ClientAddress.parse(address, 5678).host_and_port == written


def test_our_end_says_what_the_specification_says() -> None:
    """Step by step, against hashes and messages made by hand; tor's answer in one read with its first bytes."""
    client, client_nonce, server_nonce = new_client(), seeded(1)(32), bytes(range(32))
    assert client.receive(b"\1\0") == [Send(b"\1" + client_nonce)]
    proof = hmac.new(COOKIE, b"ExtORPort authentication server-to-client hash" + client_nonce + server_nonce, "sha256")
    answer = hmac.new(COOKIE, b"ExtORPort authentication client-to-server hash" + client_nonce + server_nonce, "sha256")
    introduction = b"\0\1\0\x0e192.0.2.7:5678" + b"\0\2\0\5obfs3" + b"\0\0\0\0"
    assert client.receive(proof.digest() + server_nonce) == [Send(answer.digest() + introduction)]
    assert client.receive(b"\1") == []
    assert client.receive(b"\x10\0\0\0early") == [Granted(early=b"early")]


def test_tors_end_says_what_the_specification_says() -> None:
    """Step by step, as the other end."""
    server, client_nonce, server_nonce = ExtOrPortServer(COOKIE, seeded(2)), bytes(range(32)), seeded(2)(32)
    assert server.start() == [Send(b"\1\0")]
    assert server.receive(b"\1") == []
    proof = hmac.new(COOKIE, b"ExtORPort authentication server-to-client hash" + client_nonce + server_nonce, "sha256")
    answer = hmac.new(COOKIE, b"ExtORPort authentication client-to-server hash" + client_nonce + server_nonce, "sha256")
    assert server.receive(client_nonce) == [Send(proof.digest() + server_nonce)]
    assert server.receive(answer.digest()) == [Send(b"\1")]
    assert server.receive(b"\0\1\0\x1a[2001:db8::1234:5678]:9012") == []
    assert server.receive(b"\0\2\0\5obfs2" + b"\0\0\0\0") == [
        Asked(ClientAddress.parse("2001:db8::1234:5678", 9012), b"[2001:db8::1234:5678]:9012", "obfs2")
    ]
    assert server.grant() == b"\x10\0\0\0"


@given(st.binary(min_size=32, max_size=32), clients | st.none(), names, cuts)
def test_both_ends_understand_each_other(cookie: bytes, named: ClientAddress | None, transport: str, cut: Cut) -> None:
    """Whatever there is to say, however the network cuts it."""
    address = None if named is None else named.host_and_port.encode()
    client = ExtOrPortClient(cookie, seeded(1), transport=transport, user_address=address)
    server = ExtOrPortServer(cookie, seeded(2))
    heard, towards_client = [], sent(server.start())
    while towards_client:
        answers = hear(client, cut(towards_client))
        events = hear(server, cut(sent(answers)))
        heard += [event for event in (*answers, *events) if not isinstance(event, Send)]
        towards_client = sent(events)
    assert heard == [Asked(named, address, transport)]
    assert hear(client, cut(server.grant())) == [Granted(early=b"")]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 31, 64, 1000])
def test_tors_speech_may_be_cut_anywhere(size: int) -> None:
    """All that it ever says before the client's connection begins, in reads of one size."""
    client, stream = new_client(), server_says(client_nonce=seeded(1)(32)) + message(0x1002, b"control") + OKAY
    events = hear(client, cut_by([size] * 300)(stream))
    assert sent(events) == client_says(seeded(1)(32), server_nonce=seeded(2)(32), address=ADDRESS.decode())
    assert events[-1] == Granted(early=b"")


def test_the_address_can_be_kept_back() -> None:
    """Tor counts the connection as its own then."""
    client = new_client(address=None)
    said = sent(hear(client, [server_says(client_nonce=seeded(1)(32))]))
    assert said.endswith(message(2, b"obfs3") + DONE)
    assert b"192.0.2.7" not in said


def test_a_server_may_offer_more_than_we_know() -> None:
    """Cookie authentication is chosen wherever it stands in the list."""
    for types in (b"\1\0", b"\2\1\0", b"\xff\x07\1\2\0", bytes([2] * 254 + [1, 0])):
        assert [type(event) for event in new_client().receive(types)] == [Send]


def test_commands_of_the_future_are_passed_over_by_us() -> None:
    """Before OKAY tor may say what nobody knows yet."""
    client = new_client()
    client.receive(server_says(client_nonce=seeded(1)(32)))
    assert client.receive(message(0x1002, b"x") + message(0x1FFF, bytes(1024)) + message(0, b"")) == []
    assert client.receive(OKAY) == [Granted(early=b"")]


def test_commands_of_the_future_are_passed_over_by_tor() -> None:
    """As tor 0.4.9 does; the last address and the last name hold."""
    server = ExtOrPortServer(COOKIE, seeded(2))
    messages = [
        message(1, b"198.51.100.1:1"),
        message(2, b"obfs2"),
        message(3, bytes(1024)),
        message(0xFFFF, b""),
        message(0x1000, b""),
        message(1, ADDRESS),
        message(2, b"obfs3"),
    ]
    events = hear(server, [client_says(seeded(1)(32), server_nonce=seeded(2)(32), messages=b"".join(messages) + DONE)])
    assert events[-1] == Asked(CLIENT, ADDRESS, "obfs3")


@pytest.mark.parametrize(
    ("sent_address", "address", "host"),
    [
        ("192.0.2.7:5678", b"192.0.2.7:5678", "192.0.2.7"),
        ("192.0.2.7:05678", b"192.0.2.7:5678", "192.0.2.7"),
        ("[2001:db8::1]:5678", b"[2001:db8::1]:5678", "2001:db8::1"),
        ("[::ffff:192.0.2.7]:5678", b"[::ffff:192.0.2.7]:5678", "192.0.2.7"),
        ("2001:db8::1:5678", b"[2001:db8::1]:5678", "2001:db8::1"),
        ("2001:DB8:0:0:0:0:0:1:5678", b"[2001:DB8:0:0:0:0:0:1]:5678", "2001:db8::1"),
    ],
)
def test_addresses_are_taken_as_old_transports_write_them(sent_address: str, address: bytes, host: str) -> None:
    """Some leave the brackets of IPv6 out; the port is behind the last colon."""
    server = ExtOrPortServer(COOKIE, seeded(2))
    events = hear(
        server, [client_says(seeded(1)(32), server_nonce=seeded(2)(32), address=sent_address, transport=None)]
    )
    assert events[-1] == Asked(ClientAddress.parse(host, 5678), address, None)


def test_a_client_may_be_denied() -> None:
    """Tor never says it; other servers may."""
    client, server = new_client(), ExtOrPortServer(COOKIE, seeded(2))
    client.receive(server_says(client_nonce=seeded(1)(32)))
    hear(server, [client_says(seeded(1)(32), server_nonce=seeded(2)(32))])
    assert client.receive(server.deny()) == [Failed("the extended ORPort denied the connection")]


def test_no_event_shows_an_address_or_a_clients_bytes() -> None:
    """What is printed by mistake gives nobody away."""
    assert "192.0.2.7" not in repr(Asked(CLIENT, ADDRESS, "obfs3"))
    assert "obfs3" in repr(Asked(CLIENT, ADDRESS, "obfs3"))
    assert "early" not in repr(Granted(early=b"early")).partition("(")[2]


def test_hashes_by_hand_are_those_of_the_standard_library() -> None:
    """The oracle's own check: HMAC as RFC 2104 has it, written out."""
    pad = COOKIE.ljust(64, b"\0")
    text = b"ExtORPort authentication server-to-client hash" + bytes(64)
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in pad) + text).digest()
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in pad) + inner).digest()
    assert server_hash(bytes(32), bytes(32)) == outer != client_hash(bytes(32), bytes(32))


def test_single_bytes_are_enough_for_tors_end() -> None:
    """Nothing is lost between two reads."""
    server = ExtOrPortServer(COOKIE, seeded(2))
    stream = client_says(seeded(1)(32), server_nonce=seeded(2)(32), address=ADDRESS.decode())
    assert hear(server, single_bytes(stream))[-1] == Asked(CLIENT, ADDRESS, "obfs3")
