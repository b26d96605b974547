"""The extended ORPort, both ends: a transport tells tor which client it forwards.

Source: ext-orport-spec, checked against tor 0.4.9.

    tor sends       01 00                               the authentication types, ended by 00; 01 is SAFE_COOKIE
    we send         01 | CN[32]
    tor sends       HMAC-SHA256(cookie, "ExtORPort authentication server-to-client hash" | CN | SN) | SN[32]
    we send         HMAC-SHA256(cookie, "ExtORPort authentication client-to-server hash" | CN | SN)
    tor sends       01, or 00 and closes
    then messages   COMMAND[2] | LENGTH[2] | BODY       both numbers big endian
      0000 DONE     0001 USERADDR "192.0.2.7:5678"      0002 TRANSPORT "obfs3"        from us
      1000 OKAY     1001 DENY                           1002 CONTROL                  from tor

`ExtOrPortClient` is our end towards tor and ends with `Granted`. `ExtOrPortServer` is tor's end towards a transport; it
returns `Asked`, and the caller answers with what its `grant` or `deny` returns.

Rules:

- No byte of the client's before OKAY: tor closes if such bytes are there when it handles DONE.
- Tor proves first that it knows the cookie. A server that cannot learns neither the cookie nor the client's address.
  One that can gets our proof and the messages together, which saves a round trip.
- Unknown commands are ignored, as tor does; of two addresses or names the last one counts.
- Between reads less than 1,100 bytes are held.
- Cookie, nonces and the client's address are dropped with the last event, and no event shows an address in its `repr`.
- `ExtOrPortServer` fails where tor 0.4.9 closes: a wrong hash, any other authentication type, an address that is a host
  name, an I2P destination, a Unix socket (`@`) or empty, port 0, a transport's name that is no C identifier, bytes
  after DONE. It also fails on a message of more than 1,024 bytes, and on a port that is not just digits. Reading should
  pause after `Asked`: a transport must not send its client's bytes before OKAY, and one that does is refused.
"""

from __future__ import annotations

import contextlib
import hmac
import re
import struct
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial
from typing import TYPE_CHECKING, Any

from obfstats.formats.address import ClientAddress
from obfstats.wire.endpoint import Endpoint
from obfstats.wire.lines import is_name
from obfstats.wire.machine import Event, Finished, Machine, ProtocolError, Send, read_exactly

if TYPE_CHECKING:
    from collections.abc import Generator

    from obfstats.wire.machine import Random, Script

COOKIE_LENGTH = 32
COOKIE_FILE_LENGTH = 64
MAX_BODY = 1024
"""Bytes of a message's body: an address or a transport's name is shorter."""

SAFE_COOKIE = 1
"""The only authentication type."""

NONCE_LENGTH = 32
HASH_LENGTH = 32

_COOKIE_HEADER = b"! Extended ORPort Auth Cookie !\n"
_MAX_AUTH_TYPES = 255
_ACCEPTED, _REFUSED = b"\1", b"\0"
_HEAD = struct.Struct(">HH")

_PORT = re.compile("[0-9]{1,5}")
_BRACKETED = re.compile(r"\[(.*:.*)\]")


class Command(IntEnum):
    """The commands of messages."""

    DONE = 0x0000
    USERADDR = 0x0001
    TRANSPORT = 0x0002
    OKAY = 0x1000
    DENY = 0x1001


class CookieError(ValueError):
    """A cookie file does not hold what tor writes; the text shows nothing of it."""


@dataclass(frozen=True, slots=True)
class Granted(Finished):
    """Tor accepts the client: from now on everything is forwarded. `early` is what tor has sent after its OKAY."""


@dataclass(frozen=True, slots=True)
class Asked(Event):
    """A transport asks to let a client in.

    Attributes:
        client: the client's address; None if the transport sent none.
        user_address: the same as it was sent, with or without a port. Only missing brackets before a port and
            its leading zeros are corrected.
        transport: the transport's name, or None.
    """

    client: ClientAddress | None = field(repr=False)
    user_address: bytes | None = field(repr=False)
    transport: str | None


def parse_cookie(content: bytes) -> bytes:
    """Return the cookie in the content of tor's file.

    Raises:
        CookieError: the content is not exactly the header and 32 bytes.
    """
    if not content.startswith(_COOKIE_HEADER) or len(content) != COOKIE_FILE_LENGTH:
        raise CookieError("the file does not hold a cookie of tor's extended ORPort")
    return content[len(_COOKIE_HEADER) :]


def write_cookie(cookie: bytes) -> bytes:
    """Return the content of a cookie file as tor writes it, for a cookie of 32 bytes."""
    return _COOKIE_HEADER + cookie


def pack_message(command: Command, body: bytes = b"") -> bytes:
    """Write a message."""
    return _HEAD.pack(command, len(body)) + body


class ExtOrPortClient(Machine):
    """Our end of one connection to tor."""

    __slots__ = ()

    def __init__(self, cookie: bytes, random: Random, *, transport: str | None, user_address: bytes | None) -> None:
        """Prepare the messages.

        Args:
            cookie: what `parse_cookie` returned.
            random: returns as many random bytes as it is asked for.
            transport: the transport's name; None to send none.
            user_address: the client's address and port, such as `192.0.2.7:5678`; None to send none.
        """
        messages = b"" if user_address is None else pack_message(Command.USERADDR, user_address)
        if transport is not None:
            messages += pack_message(Command.TRANSPORT, transport.encode("ascii"))
        messages += pack_message(Command.DONE)
        super().__init__(partial(_introduce_client, cookie, random, messages))


class ExtOrPortServer(Machine):
    """Tor's end of one connection from a transport."""

    __slots__ = ()

    def __init__(self, cookie: bytes, random: Random) -> None:
        """Set up.

        Args:
            cookie: what a transport must know, 32 bytes.
            random: returns as many random bytes as it is asked for.
        """
        super().__init__(partial(_serve_transport, cookie, random))

    def grant(self) -> bytes:
        """Return what lets in the client of `Asked`. What arrives from now on is the client's."""
        self.end()
        return pack_message(Command.OKAY)

    def deny(self) -> bytes:
        """Return what refuses the client of `Asked`; close after it."""
        self.end()
        return pack_message(Command.DENY)


def _introduce_client(cookie: bytes, random: Random, messages: bytes, held: bytearray) -> Script:
    if SAFE_COOKIE not in (yield from _read_auth_types(held)):
        raise ProtocolError("the extended ORPort does not offer authentication by cookie", answer=b"\0")
    nonce = random(NONCE_LENGTH)
    yield Send(bytes((SAFE_COOKIE,)) + nonce)
    answer = yield from read_exactly(held, HASH_LENGTH + NONCE_LENGTH)
    proof, server_nonce = answer[:HASH_LENGTH], answer[HASH_LENGTH:]
    if not hmac.compare_digest(proof, server_hash(cookie, nonce, server_nonce)):
        raise ProtocolError("the extended ORPort does not know the cookie")
    yield Send(client_hash(cookie, nonce, server_nonce) + messages)
    if (yield from read_exactly(held, 1)) != _ACCEPTED:
        raise ProtocolError("the extended ORPort refused the cookie")
    while True:
        command, _ = yield from _read_message(held, "the extended ORPort sent a message of more than 1,024 bytes")
        if command == Command.OKAY:
            yield Granted(early=bytes(held))
            return
        if command == Command.DENY:
            raise ProtocolError("the extended ORPort denied the connection")


def _serve_transport(cookie: bytes, random: Random, held: bytearray) -> Script:
    yield Send(bytes((SAFE_COOKIE, 0)))
    if (yield from read_exactly(held, 1)) != bytes((SAFE_COOKIE,)):
        raise ProtocolError("the transport does not want to authenticate by cookie")
    client_nonce = yield from read_exactly(held, NONCE_LENGTH)
    nonce = random(NONCE_LENGTH)
    yield Send(server_hash(cookie, client_nonce, nonce) + nonce)
    proof = yield from read_exactly(held, HASH_LENGTH)
    if not hmac.compare_digest(proof, client_hash(cookie, client_nonce, nonce)):
        raise ProtocolError("the transport does not know the cookie", answer=_REFUSED)
    yield Send(_ACCEPTED)

    client, user_address = None, None
    transport: str | None = None
    while True:
        command, body = yield from _read_message(held, "the transport sent a message of more than 1,024 bytes")
        if command == Command.DONE:
            break
        if command == Command.USERADDR:
            client, user_address = _parse_user_address(body)
        elif command == Command.TRANSPORT:
            transport = body.decode("ascii", "replace")
            if not is_name(transport):
                raise ProtocolError("the transport sent an invalid transport name")
    # Bytes that arrived with DONE are refused before the caller is asked.
    if not held:
        yield Asked(client, user_address, transport)
    while not held:
        yield None
    raise ProtocolError("the transport sent bytes before it was let in")


def _read_auth_types(held: bytearray) -> Generator[None, Any, bytes]:
    """Take the authentication types that tor offers, ended by 00."""
    while (end := held.find(0, 0, _MAX_AUTH_TYPES + 1)) < 0:
        if len(held) > _MAX_AUTH_TYPES:
            raise ProtocolError("the extended ORPort's list of authentication types has no end")
        yield None
    return (yield from read_exactly(held, end + 1))


def _read_message(held: bytearray, too_long: str) -> Generator[None, Any, tuple[int, bytes]]:
    """Take a message: its command, a `Command` or any other number, and its body."""
    while len(held) < _HEAD.size:
        yield None
    command, length = _HEAD.unpack_from(held)
    if length > MAX_BODY:
        raise ProtocolError(too_long)
    end = _HEAD.size + length
    while len(held) < end:
        yield None
    body = bytes(held[_HEAD.size : end])
    del held[:end]
    return command, body


def server_hash(cookie: bytes, client_nonce: bytes, server_nonce: bytes) -> bytes:
    """Compute tor's proof that it knows the cookie."""
    text = b"ExtORPort authentication server-to-client hash"
    return hmac.digest(cookie, text + client_nonce + server_nonce, "sha256")


def client_hash(cookie: bytes, client_nonce: bytes, server_nonce: bytes) -> bytes:
    """Compute the transport's proof that it knows the cookie."""
    text = b"ExtORPort authentication client-to-server hash"
    return hmac.digest(cookie, text + client_nonce + server_nonce, "sha256")


def _parse_user_address(body: bytes) -> tuple[ClientAddress, bytes]:
    """Parse a client's address and port, and return both forms; old transports leave out the brackets of IPv6.

    Without a port tor takes the whole text as the address, and logs a warning.
    """
    text = body.decode("ascii", "replace")
    head, _, port = text.rpartition(":")
    # Tor takes no zone (`%eth0`).
    ways = [] if "%" in text else [(text, 0)]
    if ways and _PORT.fullmatch(port) and 1 <= int(port) <= 65535:
        ways.insert(0, (head, int(port)))
    for address, number in ways:
        bracketed = _BRACKETED.fullmatch(address)
        host = bracketed[1] if bracketed else address
        with contextlib.suppress(ValueError):
            client = ClientAddress.parse(host, number)
            if number and (port[0] == "0" or (bracketed is None and ":" in host)):
                body = str(Endpoint(host, number)).encode("ascii")
            return client, body
    raise ProtocolError("the transport sent an invalid client address")
