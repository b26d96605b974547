"""The extended ORPort: what either end does not take, and what nobody learns from it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.wire.extorport import Asked, ExtOrPortClient, ExtOrPortServer, Granted
from obfstats.wire.machine import Failed, Send
from tests.wire.join import Cut, cuts, seeded
from tests.wire.torport import COOKIE, DENY, DONE, OKAY, client_says, hear, kept, message, sent, server_says

ADDRESS = b"192.0.2.7:5678"
CLIENT_NONCE, SERVER_NONCE = seeded(1)(32), seeded(2)(32)
AUTHENTICATED = client_says(CLIENT_NONCE, server_nonce=SERVER_NONCE, messages=b"")


def new_client() -> ExtOrPortClient:
    """Our end, whose nonce is CLIENT_NONCE."""
    return ExtOrPortClient(COOKIE, seeded(1), transport="obfs3", user_address=ADDRESS)


def new_server() -> ExtOrPortServer:
    """Tor's end, which has offered to authenticate by cookie, and whose nonce is SERVER_NONCE."""
    server = ExtOrPortServer(COOKIE, seeded(2))
    server.start()
    return server


@pytest.mark.parametrize("types", [b"\0", b"\2\0", b"\2\3\xff\0"])
def test_a_server_without_cookies_is_told_so(types: bytes) -> None:
    """Zero means that no type is liked (ext-orport-spec)."""
    assert new_client().receive(types) == [
        Send(b"\0"),
        Failed("the extended ORPort does not offer authentication by cookie"),
    ]


def test_a_list_without_end_is_given_up() -> None:
    """There are 255 types, so the end is within 256 bytes."""
    client = new_client()
    assert client.receive(b"\1" * 255) == []
    assert client.receive(b"\1") == [Failed("the extended ORPort's list of authentication types has no end")]


@pytest.mark.parametrize("place", [0, 31, 32, 63])
def test_a_server_that_does_not_know_the_cookie_learns_nothing(place: int) -> None:
    """One wrong bit in its hash or nonce: neither our hash nor an address is said, whatever it says next."""
    stream = bytearray(server_says(CLIENT_NONCE))
    stream[2 + place] ^= 1
    events = hear(new_client(), [bytes(stream) + OKAY])
    assert sent(events) == b"\1" + CLIENT_NONCE
    assert events[-1] == Failed("the extended ORPort does not know the cookie")


@pytest.mark.parametrize("result", [b"\0", b"\2", b"\xff"])
def test_a_refused_cookie_ends_it(result: bytes) -> None:
    """Whatever comes behind it."""
    events = hear(new_client(), [server_says(CLIENT_NONCE)[:-1] + result + OKAY])
    assert events[-1] == Failed("the extended ORPort refused the cookie")
    assert not [event for event in events if isinstance(event, Granted)]


def test_giant_messages_of_tors_are_given_up() -> None:
    """As soon as their head is there."""
    for command in (0x1000, 0x1002):
        client = new_client()
        client.receive(server_says(CLIENT_NONCE))
        refused = client.receive(message(command, bytes(1025))[:4])
        assert refused == [Failed("the extended ORPort sent a message of more than 1,024 bytes")]


def test_a_wrong_hash_of_ours_is_told() -> None:
    """One wrong bit, anywhere: zero, and nothing further is heard."""
    for place in (33, 64):
        stream = bytearray(AUTHENTICATED + DONE)
        stream[place] ^= 1
        server = new_server()
        events = hear(server, [bytes(stream)])
        assert events[-2:] == [Send(b"\0"), Failed("the transport does not know the cookie")]
        assert server.receive(AUTHENTICATED + DONE) == []


def test_both_hashes_are_not_the_same() -> None:
    """A transport cannot say back what tor said."""
    server = new_server()
    (answer,) = server.receive(b"\1" + CLIENT_NONCE)
    assert isinstance(answer, Send)
    assert server.receive(answer.data[:32])[-1] == Failed("the transport does not know the cookie")


@pytest.mark.parametrize("kind", [b"\0", b"\2", b"\xff"])
def test_other_ways_to_authenticate_are_refused(kind: bytes) -> None:
    """There is one."""
    assert new_server().receive(kind) == [Failed("the transport does not want to authenticate by cookie")]


@pytest.mark.parametrize(
    "address",
    [
        "",
        ":",
        "192.0.2.7",
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
        "[2001:db8::1]",
        "[2001:db8::1:80",
        "2001:db8::1]:80",
        "[fe80::1%eth0]:80",
        "2001:db8:::::80",
        "192.0.2.\u0667:80",
        "a" * 1024,
    ],
)
def test_addresses_that_are_none_are_refused(address: str) -> None:
    """Those that tor closes on: names, port 0, nothing at all, NUL."""
    events = hear(new_server(), [AUTHENTICATED + message(1, address.encode()) + DONE])
    assert events[-1] == Failed("the transport sent an invalid client address")


@pytest.mark.parametrize("name", ["", "obfs3\0", "obfs-3", "3obfs", "obfs 3", "<OR>", "öbfs3"])
def test_names_that_are_none_are_refused(name: str) -> None:
    """Tor wants a C identifier."""
    events = hear(new_server(), [AUTHENTICATED + message(2, name.encode()) + DONE])
    assert events[-1] == Failed("the transport sent an invalid transport name")


def test_giant_messages_of_a_transports_are_refused() -> None:
    """As soon as their head is there, whatever their command."""
    for command in (0, 1, 2, 0x7777):
        events = hear(new_server(), [AUTHENTICATED + message(command, bytes(1025))[:4]])
        assert events[-1] == Failed("the transport sent a message of more than 1,024 bytes")


def test_bytes_behind_done_are_refused_before_anybody_is_asked() -> None:
    """Tor closes where they are there already; its answer could not be waited for."""
    events = hear(new_server(), [AUTHENTICATED + DONE + b"x"])
    assert events[-1] == Failed("the transport sent bytes before it was let in")
    assert not [event for event in events if isinstance(event, Asked)]


def test_bytes_before_the_answer_are_refused() -> None:
    """Reading was to pause, so whoever hands bytes in has a transport that does not wait."""
    server = new_server()
    assert hear(server, [AUTHENTICATED + DONE])[-1] == Asked(None, None, None)
    assert server.receive(b"x") == [Failed("the transport sent bytes before it was let in")]


@pytest.mark.parametrize("end", [OKAY, DENY, bytes(1)])
def test_our_end_is_deaf_when_it_is_done(end: bytes) -> None:
    """Granted, denied or refused: neither an event nor a byte is kept."""
    client = new_client()
    client.receive(server_says(CLIENT_NONCE)[:-1] + (b"\0" if end == bytes(1) else b"\1" + end))
    assert kept(client, [OKAY, bytes(100_000), server_says(CLIENT_NONCE)]) < 500


@pytest.mark.parametrize("end", [DONE, message(1, b"")])
def test_tors_end_is_deaf_when_it_is_done(end: bytes) -> None:
    """Granted or refused."""
    server = new_server()
    if isinstance(hear(server, [AUTHENTICATED + end])[-1], Asked):
        server.grant()
    assert kept(server, [OKAY, bytes(100_000), AUTHENTICATED]) < 500


def test_endless_talk_is_not_hoarded() -> None:
    """Message after message that nobody knows, and the start of the longest one there may be."""
    client, server = new_client(), new_server()
    client.receive(server_says(CLIENT_NONCE))
    hear(server, [AUTHENTICATED])
    talk = [message(0x7777, bytes(1000))] * 100 + [message(0x7777, bytes(1024))[:-1]]
    for machine in (client, server):
        assert kept(machine, talk) < 3000


@given(st.binary(max_size=200), st.integers(0, 100), cuts)
def test_noise_is_never_granted(noise: bytes, honest: int, cut: Cut) -> None:
    """However much of an honest tor comes first, the result excluded; without its whole proof it learns no address."""
    stream = server_says(CLIENT_NONCE)[:-1]
    events = hear(new_client(), cut(stream[:honest] + b"\0" + noise))
    assert not [event for event in events if isinstance(event, Granted)]
    assert honest >= len(stream) or b"192.0.2.7" not in sent(events)


@given(st.binary(max_size=200), st.integers(0, 64), cuts)
def test_nobody_is_asked_without_the_cookie(noise: bytes, honest: int, cut: Cut) -> None:
    """However much of an honest transport comes first, short of its whole hash."""
    events = hear(new_server(), cut(AUTHENTICATED[:honest] + noise))
    assert not [event for event in events if isinstance(event, Asked)]
