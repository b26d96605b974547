"""The extended ORPort: both ends against each other and against messages made by hand, cut anywhere; refusals."""

from __future__ import annotations

import hashlib
import hmac
import struct

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
from tests.wire.machines import Cut, cut_by, cuts, hear, memory_kept, seeded, sent, single_bytes

HEADER = b"! Extended ORPort Auth Cookie !\x0a"
COOKIE = bytes(range(100, 132))
CLIENT_NONCE, SERVER_NONCE = seeded(1)(32), seeded(2)(32)
CLIENT = ClientAddress.parse("192.0.2.7", 5678)
ADDRESS = b"192.0.2.7:5678"

clients = st.builds(ClientAddress.parse, st.ip_addresses().map(str), st.integers(1, 65535))
names = st.from_regex("[A-Za-z_][A-Za-z0-9_]{0,30}", fullmatch=True)


def message(command: int, body: bytes) -> bytes:
    """A message."""
    return struct.pack(">HH", command, len(body)) + body


DONE = message(0x0000, b"")
OKAY = message(0x1000, b"")
DENY = message(0x1001, b"")


def server_hash(client_nonce: bytes, server_nonce: bytes) -> bytes:
    """Tor's proof."""
    text = b"ExtORPort authentication server-to-client hash" + client_nonce + server_nonce
    return hmac.new(COOKIE, text, "sha256").digest()


def client_hash(client_nonce: bytes, server_nonce: bytes) -> bytes:
    """The transport's proof."""
    text = b"ExtORPort authentication client-to-server hash" + client_nonce + server_nonce
    return hmac.new(COOKIE, text, "sha256").digest()


SERVER_SENDS = b"\1\0" + server_hash(CLIENT_NONCE, SERVER_NONCE) + SERVER_NONCE + b"\1"
"""All that tor sends before the messages."""


def client_sends(address: str | None = None, transport: str | None = "obfs3") -> bytes:
    """All that a transport sends, DONE included."""
    messages = b"" if address is None else message(1, address.encode())
    messages += b"" if transport is None else message(2, transport.encode())
    return AUTHENTICATED + messages + DONE


AUTHENTICATED = b"\1" + CLIENT_NONCE + client_hash(CLIENT_NONCE, SERVER_NONCE)
"""All that a transport sends before the messages."""


def new_client(address: bytes | None = ADDRESS) -> ExtOrPortClient:
    """Our end, whose nonce is CLIENT_NONCE."""
    return ExtOrPortClient(COOKIE, seeded(1), transport="obfs3", user_address=address)


def new_server() -> ExtOrPortServer:
    """Tor's end, which has offered to authenticate by cookie, and whose nonce is SERVER_NONCE."""
    server = ExtOrPortServer(COOKIE, seeded(2))
    server.start()
    return server


def test_cookie_file_is_read_as_tor_writes_it() -> None:
    """Header and cookie, 64 bytes."""
    assert parse_cookie(HEADER + COOKIE) == COOKIE
    assert write_cookie(COOKIE) == HEADER + COOKIE
    assert len(COOKIE) == COOKIE_LENGTH == len(HEADER)


@pytest.mark.parametrize(
    "content",
    [b"", HEADER, COOKIE, HEADER + COOKIE[1:], HEADER + COOKIE + b"\n", COOKIE + HEADER, HEADER.lower() + COOKIE],
    ids=["empty", "header", "cookie", "short", "long", "swapped", "lower"],
)
def test_anything_else_is_no_cookie_file(content: bytes) -> None:
    """Half a file too, while tor writes it."""
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
    """Brackets for IPv6; IPv4-mapped IPv6 as IPv4; no zone."""
    assert ClientAddress.parse(address, 5678).host_and_port == written


def test_our_end_follows_the_specification() -> None:
    """Step by step, against hashes and messages made by hand; tor's answer in one read with its first bytes."""
    client, client_nonce, server_nonce = new_client(), seeded(1)(32), bytes(range(32))
    assert client.receive(b"\1\0") == [Send(b"\1" + client_nonce)]
    proof = hmac.new(COOKIE, b"ExtORPort authentication server-to-client hash" + client_nonce + server_nonce, "sha256")
    answer = hmac.new(COOKIE, b"ExtORPort authentication client-to-server hash" + client_nonce + server_nonce, "sha256")
    introduction = b"\0\1\0\x0e192.0.2.7:5678" + b"\0\2\0\5obfs3" + b"\0\0\0\0"
    assert client.receive(proof.digest() + server_nonce) == [Send(answer.digest() + introduction)]
    assert client.receive(b"\1") == []
    assert client.receive(b"\x10\0\0\0early") == [Granted(early=b"early")]


def test_tors_end_follows_the_specification() -> None:
    """The same as the other end."""
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
    """Whatever the client and the transport are, however the network cuts."""
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
def test_what_tor_sends_may_be_cut_anywhere(size: int) -> None:
    """All that it sends before the client's connection begins, in reads of one size."""
    client, stream = new_client(), SERVER_SENDS + message(0x1002, b"control") + OKAY
    events = hear(client, cut_by([size] * 300)(stream))
    assert sent(events) == client_sends(ADDRESS.decode())
    assert events[-1] == Granted(early=b"")


def test_the_address_can_be_left_out() -> None:
    """Tor counts such a connection as 127.0.0.1."""
    client = new_client(address=None)
    said = sent(hear(client, [SERVER_SENDS]))
    assert said.endswith(message(2, b"obfs3") + DONE)
    assert b"192.0.2.7" not in said


def test_a_server_may_offer_unknown_authentication_types() -> None:
    """Cookie authentication is chosen at any position of the list."""
    for types in (b"\1\0", b"\2\1\0", b"\xff\x07\1\2\0", bytes([2] * 254 + [1, 0])):
        assert [type(event) for event in new_client().receive(types)] == [Send]


def test_our_end_ignores_unknown_commands() -> None:
    """Before OKAY a future tor may send others."""
    client = new_client()
    client.receive(SERVER_SENDS)
    assert client.receive(message(0x1002, b"x") + message(0x1FFF, bytes(1024)) + message(0, b"")) == []
    assert client.receive(OKAY) == [Granted(early=b"")]


def test_tors_end_ignores_unknown_commands() -> None:
    """As tor 0.4.9 does; the last address and the last name count."""
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
    events = hear(server, [AUTHENTICATED + b"".join(messages) + DONE])
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
def test_addresses_are_read_as_old_transports_write_them(sent_address: str, address: bytes, host: str) -> None:
    """Some leave the brackets of IPv6 out; the port follows the last colon."""
    server = ExtOrPortServer(COOKIE, seeded(2))
    events = hear(server, [client_sends(sent_address, None)])
    assert events[-1] == Asked(ClientAddress.parse(host, 5678), address, None)


def test_a_client_may_be_denied() -> None:
    """Tor never sends DENY; other servers may."""
    client, server = new_client(), ExtOrPortServer(COOKIE, seeded(2))
    client.receive(SERVER_SENDS)
    hear(server, [client_sends()])
    assert client.receive(server.deny()) == [Failed("the extended ORPort denied the connection")]


def test_no_event_shows_an_address_or_a_clients_bytes() -> None:
    """An event that is printed by mistake identifies no client."""
    assert "192.0.2.7" not in repr(Asked(CLIENT, ADDRESS, "obfs3"))
    assert "obfs3" in repr(Asked(CLIENT, ADDRESS, "obfs3"))
    assert "early" not in repr(Granted(early=b"early")).partition("(")[2]


def test_hashes_by_hand_are_those_of_the_standard_library() -> None:
    """A check of this file's own hashes: HMAC written out as in RFC 2104."""
    pad = COOKIE.ljust(64, b"\0")
    text = b"ExtORPort authentication server-to-client hash" + bytes(64)
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in pad) + text).digest()
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in pad) + inner).digest()
    assert server_hash(bytes(32), bytes(32)) == outer != client_hash(bytes(32), bytes(32))


def test_single_bytes_are_enough_for_tors_end() -> None:
    """Nothing is lost between two reads."""
    server = ExtOrPortServer(COOKIE, seeded(2))
    stream = client_sends(ADDRESS.decode())
    assert hear(server, single_bytes(stream))[-1] == Asked(CLIENT, ADDRESS, "obfs3")


@pytest.mark.parametrize("types", [b"\0", b"\2\0", b"\2\3\xff\0"])
def test_a_server_without_cookie_authentication_is_refused(types: bytes) -> None:
    """Zero means that no type is accepted (ext-orport-spec)."""
    assert new_client().receive(types) == [
        Send(b"\0"),
        Failed("the extended ORPort does not offer authentication by cookie"),
    ]


def test_a_list_without_an_end_fails() -> None:
    """There are 255 types, so the end is within 256 bytes."""
    client = new_client()
    assert client.receive(b"\1" * 255) == []
    assert client.receive(b"\1") == [Failed("the extended ORPort's list of authentication types has no end")]


@pytest.mark.parametrize("place", [0, 31, 32, 63])
def test_a_server_that_does_not_know_the_cookie_learns_nothing(place: int) -> None:
    """One wrong bit in its hash or nonce: it gets neither our hash nor an address, whatever it sends next."""
    stream = bytearray(SERVER_SENDS)
    stream[2 + place] ^= 1
    events = hear(new_client(), [bytes(stream) + OKAY])
    assert sent(events) == b"\1" + CLIENT_NONCE
    assert events[-1] == Failed("the extended ORPort does not know the cookie")


@pytest.mark.parametrize("result", [b"\0", b"\2", b"\xff"])
def test_a_refused_cookie_ends_it(result: bytes) -> None:
    """Whatever follows it."""
    events = hear(new_client(), [SERVER_SENDS[:-1] + result + OKAY])
    assert events[-1] == Failed("the extended ORPort refused the cookie")
    assert not [event for event in events if isinstance(event, Granted)]


def test_a_giant_message_of_tor_fails() -> None:
    """As soon as its head has arrived."""
    for command in (0x1000, 0x1002):
        client = new_client()
        client.receive(SERVER_SENDS)
        refused = client.receive(message(command, bytes(1025))[:4])
        assert refused == [Failed("the extended ORPort sent a message of more than 1,024 bytes")]


def test_a_wrong_hash_of_the_transport_is_answered_with_zero() -> None:
    """One wrong bit anywhere; further input is ignored."""
    for place in (33, 64):
        stream = bytearray(AUTHENTICATED + DONE)
        stream[place] ^= 1
        server = new_server()
        events = hear(server, [bytes(stream)])
        assert events[-2:] == [Send(b"\0"), Failed("the transport does not know the cookie")]
        assert server.receive(AUTHENTICATED + DONE) == []


def test_both_hashes_are_not_the_same() -> None:
    """A transport cannot return tor's own hash."""
    server = new_server()
    (answer,) = server.receive(b"\1" + CLIENT_NONCE)
    assert isinstance(answer, Send)
    assert server.receive(answer.data[:32])[-1] == Failed("the transport does not know the cookie")


@pytest.mark.parametrize("kind", [b"\0", b"\2", b"\xff"])
def test_other_authentication_types_are_refused(kind: bytes) -> None:
    """Only SAFE_COOKIE exists."""
    assert new_server().receive(kind) == [Failed("the transport does not want to authenticate by cookie")]


@pytest.mark.parametrize(
    "address",
    [
        "",
        ":",
        "@",
        "@:1",
        "ukeu3k5oycgaauneqgtnvselmt4yemvoilkln7jpvamvfx7dnkdq.b32.i2p:1",
        "192.0.2.7:",
        "192.0.2.7:0",
        "192.0.2.7:00000",
        "192.0.2.7:65536",
        "192.0.2.7:+80",
        "192.0.2.7: 80",
        " 192.0.2.7:80",
        "192.0.2.7:80\0",
        "192.0.2\0.7:80",
        "192.0.2:80",
        "client.example:80",
        "[192.0.2.7]:80",
        "[192.0.2.7]",
        "fe80::1%eth0",
        "[2001:db8::1]:0",
        "[2001:db8::1:80",
        "2001:db8::1]:80",
        "[fe80::1%eth0]:80",
        "2001:db8:::::80",
        "192.0.2.\u0667:80",
        "a" * 1024,
    ],
)
def test_invalid_addresses_are_refused(address: str) -> None:
    """Those that tor closes on: host names, I2P destinations, Unix sockets, port 0, an empty text, NUL."""
    events = hear(new_server(), [AUTHENTICATED + message(1, address.encode()) + DONE])
    assert events[-1] == Failed("the transport sent an invalid client address")


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
    ],
)
def test_an_address_without_a_port_is_taken(address: str, host: str) -> None:
    """As tor 0.4.9 takes it; it is passed on as it is."""
    events = hear(new_server(), [AUTHENTICATED + message(1, address.encode()) + DONE])
    assert events[-1] == Asked(ClientAddress.parse(host, 0), address.encode(), None)


@pytest.mark.parametrize("name", ["", "obfs3\0", "obfs-3", "3obfs", "obfs 3", "<OR>", "öbfs3"])
def test_invalid_transport_names_are_refused(name: str) -> None:
    """Tor wants a C identifier."""
    events = hear(new_server(), [AUTHENTICATED + message(2, name.encode()) + DONE])
    assert events[-1] == Failed("the transport sent an invalid transport name")


def test_a_giant_message_of_a_transport_is_refused() -> None:
    """As soon as its head has arrived, whatever its command."""
    for command in (0, 1, 2, 0x7777):
        events = hear(new_server(), [AUTHENTICATED + message(command, bytes(1025))[:4]])
        assert events[-1] == Failed("the transport sent a message of more than 1,024 bytes")


def test_bytes_after_done_are_refused_before_the_caller_is_asked() -> None:
    """Tor closes if they have arrived when it handles DONE."""
    events = hear(new_server(), [AUTHENTICATED + DONE + b"x"])
    assert events[-1] == Failed("the transport sent bytes before it was let in")
    assert not [event for event in events if isinstance(event, Asked)]


def test_bytes_before_the_answer_are_refused() -> None:
    """Reading should pause, so bytes mean that the transport has not waited for OKAY."""
    server = new_server()
    assert hear(server, [AUTHENTICATED + DONE])[-1] == Asked(None, None, None)
    assert server.receive(b"x") == [Failed("the transport sent bytes before it was let in")]


@pytest.mark.parametrize("end", [OKAY, DENY, bytes(1)])
def test_our_end_ignores_input_when_it_has_finished(end: bytes) -> None:
    """Granted, denied or refused: neither an event nor a byte is kept."""
    client = new_client()
    client.receive(SERVER_SENDS[:-1] + (b"\0" if end == bytes(1) else b"\1" + end))
    assert memory_kept(client.receive, [OKAY, bytes(100_000), SERVER_SENDS]) < 500


@pytest.mark.parametrize("end", [DONE, message(1, b"")])
def test_tors_end_ignores_input_when_it_has_finished(end: bytes) -> None:
    """Granted or refused."""
    server = new_server()
    if isinstance(hear(server, [AUTHENTICATED + end])[-1], Asked):
        server.grant()
    assert memory_kept(server.receive, [OKAY, bytes(100_000), AUTHENTICATED]) < 500


def test_endless_messages_take_no_memory() -> None:
    """Unknown messages, and the start of the longest one allowed."""
    client, server = new_client(), new_server()
    client.receive(SERVER_SENDS)
    hear(server, [AUTHENTICATED])
    talk = [message(0x7777, bytes(1000))] * 100 + [message(0x7777, bytes(1024))[:-1]]
    for machine in (client, server):
        assert memory_kept(machine.receive, talk) < 3000


@given(st.binary(max_size=200), st.integers(0, 100), cuts)
def test_noise_is_never_granted(noise: bytes, honest: int, cut: Cut) -> None:
    """After any part of an honest tor's bytes short of its result; no address is sent without its whole proof."""
    stream = SERVER_SENDS[:-1]
    events = hear(new_client(), cut(stream[:honest] + b"\0" + noise))
    assert not [event for event in events if isinstance(event, Granted)]
    assert honest >= len(stream) or b"192.0.2.7" not in sent(events)


@given(st.binary(max_size=200), st.integers(0, 64), cuts)
def test_no_client_is_let_in_without_the_cookie(noise: bytes, honest: int, cut: Cut) -> None:
    """However much of an honest transport's bytes come first, short of its whole hash."""
    events = hear(new_server(), cut(AUTHENTICATED[:honest] + noise))
    assert not [event for event in events if isinstance(event, Asked)]
