"""The extended ORPort: how a transport tells tor who a connection comes from. Our end towards tor.

Source: ext-orport-spec, held against tor 0.4.9. Tor's end is in `extorport_server`.

    tor says        01 00                               the ways to authenticate, ended by 00; 01 is SAFE_COOKIE
    we say          01 | CN[32]
    tor says        HMAC-SHA256(cookie, "ExtORPort authentication server-to-client hash" | CN | SN) | SN[32]
    we say          HMAC-SHA256(cookie, "ExtORPort authentication client-to-server hash" | CN | SN)
    tor says        01, or 00 and closes
    then messages   COMMAND[2] | LENGTH[2] | BODY       both numbers big endian
      0000 DONE     0001 USERADDR "192.0.2.7:5678"      0002 TRANSPORT "obfs3"        from us
      1000 OKAY     1001 DENY                           1002 CONTROL                  from tor

Whoever owns the socket gives `receive` what arrives and does what the events say: `Send`, then `Granted` or `Refused`,
which is the last one. What arrives after `Granted` is tor's speech to the client and does not belong here.

Rules:

- No byte of the client's before OKAY: tor closes on bytes that are there already when it handles DONE.
- Tor proves first that it knows the cookie. Whoever cannot, learns neither the cookie nor the client's address. Whoever
  can is not asked twice: our proof and the messages go out together, which spares both ends a round.
- Commands that nobody knows are passed over, as tor does. Between reads less than 1100 bytes are held.
- Cookie, nonces and the client's address are dropped with the last event, and no event shows an address in its `repr`.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from obfstats.wire.endpoint import Endpoint
from obfstats.wire.events import Refused
from obfstats.wire.extorport_messages import (
    HASH_LENGTH,
    NONCE_LENGTH,
    SAFE_COOKIE,
    Command,
    client_hash,
    pack_message,
    server_hash,
    take_message,
)
from obfstats.wire.extorport_server import Asked, Server
from obfstats.wire.handshake import Send

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from obfstats.wire.handshake import Random

    Step: TypeAlias = list["Send | Granted | Refused"] | None

__all__ = [
    "COOKIE_LENGTH",
    "Asked",
    "Client",
    "CookieError",
    "Granted",
    "Refused",
    "Server",
    "parse_cookie",
    "user_address",
    "write_cookie",
]

COOKIE_LENGTH = 32

_COOKIE_HEADER = b"! Extended ORPort Auth Cookie !\n"
_MAX_AUTH_TYPES = 255


class CookieError(ValueError):
    """A cookie file is not what tor writes; the text is a sentence and shows nothing of it."""


@dataclass(frozen=True, slots=True)
class Granted:
    """Tor takes the client: from now on everything is passed on. `early` is what tor said behind its OKAY."""

    early: bytes = field(repr=False)


def parse_cookie(content: bytes) -> bytes:
    """Read the cookie out of the content of tor's file.

    Raises:
        CookieError: it is not exactly the header and 32 bytes.
    """
    if not content.startswith(_COOKIE_HEADER) or len(content) != len(_COOKIE_HEADER) + COOKIE_LENGTH:
        raise CookieError("the file does not hold a cookie of tor's extended ORPort")
    return content[len(_COOKIE_HEADER) :]


def write_cookie(cookie: bytes) -> bytes:
    """Write a cookie as tor does.

    Raises:
        CookieError: it has not 32 bytes.
    """
    if len(cookie) != COOKIE_LENGTH:
        raise CookieError(f"a cookie has {COOKIE_LENGTH} bytes")
    return _COOKIE_HEADER + cookie


def user_address(address: str, port: int) -> str:
    """Write a client's address as tor takes it.

    Args:
        address: an IP address. IPv4-mapped IPv6 becomes IPv4, a zone is cut off: tor knows none.
        port: from 1 to 65535; tor closes on 0.

    Raises:
        ValueError: it is no address or no port; the text does not show it.
    """
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        raise ValueError("a client's address is not an IP address") from None
    if not 1 <= port <= 65535:
        raise ValueError("a client's port is not from 1 to 65535")
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return str(Endpoint(str(parsed), port))


class Client:
    """Our end of one connection."""

    __slots__ = ("_cookie", "_held", "_introduction", "_next", "_nonce", "_random")

    def __init__(self, cookie: bytes, random: Random, *, transport: str | None, address: str | None) -> None:
        """Take what there is to say.

        Args:
            cookie: what `parse_cookie` gave.
            random: gives as many random bytes as it is asked for.
            transport: the transport's name; None to say nothing of it.
            address: what `user_address` gave; None to say nothing of it.
        """
        self._cookie = cookie
        self._random = random
        # Which step comes next; none when all is said.
        self._next: Callable[[Client], Step] | None = Client._take_auth_types
        self._nonce = b""
        self._held = bytearray()
        introduction = b"" if address is None else pack_message(Command.USERADDR, address.encode("ascii"))
        if transport is not None:
            introduction += pack_message(Command.TRANSPORT, transport.encode("ascii"))
        self._introduction = introduction + pack_message(Command.DONE)

    def receive(self, data: bytes) -> list[Send | Granted | Refused]:
        """Take bytes of tor's, cut anywhere."""
        if self._next is None:
            return []
        self._held += data
        events: list[Send | Granted | Refused] = []
        while self._next is not None and (step := self._next(self)) is not None:
            events += step
        return events

    def _take_auth_types(self) -> Step:
        end = self._held.find(0, 0, _MAX_AUTH_TYPES + 1)
        if end < 0:
            too_many = len(self._held) > _MAX_AUTH_TYPES
            return self._refuse("the extended ORPort's list of authentication types has no end") if too_many else None
        if SAFE_COOKIE not in self._held[:end]:
            return [Send(b"\0"), *self._refuse("the extended ORPort does not offer authentication by cookie")]
        del self._held[: end + 1]
        self._next = Client._take_server_hash
        self._nonce = self._random(NONCE_LENGTH)
        return [Send(bytes((SAFE_COOKIE,)) + self._nonce)]

    def _take_server_hash(self) -> Step:
        if len(self._held) < HASH_LENGTH + NONCE_LENGTH:
            return None
        given, server_nonce = bytes(self._held[:HASH_LENGTH]), bytes(self._held[HASH_LENGTH:][:NONCE_LENGTH])
        del self._held[: HASH_LENGTH + NONCE_LENGTH]
        if not hmac.compare_digest(given, server_hash(self._cookie, self._nonce, server_nonce)):
            return self._refuse("the extended ORPort does not know the cookie")
        self._next = Client._take_result
        return [Send(client_hash(self._cookie, self._nonce, server_nonce) + self._introduction)]

    def _take_result(self) -> Step:
        if not self._held:
            return None
        if self._held[0] != 1:
            return self._refuse("the extended ORPort refused the cookie")
        del self._held[0]
        self._next = Client._take_answer
        return []

    def _take_answer(self) -> Step:
        message = take_message(self._held)
        if message is None:
            return None
        command, body = message
        if body is None:
            return self._refuse("the extended ORPort said more than there is to say")
        if command == Command.OKAY:
            early = bytes(self._held)
            self._forget()
            return [Granted(early)]
        if command == Command.DENY:
            return self._refuse("the extended ORPort denied the connection")
        return []

    def _refuse(self, reason: str) -> list[Send | Granted | Refused]:
        self._forget()
        return [Refused(reason)]

    def _forget(self) -> None:
        """Drop secrets and addresses: the machine is done."""
        self._next = None
        self._cookie = self._nonce = self._introduction = b""
        self._held = bytearray()
