"""The extended ORPort from tor's side: what a transport's program says to it (ext-orport-spec; see `extorport`).

The machine gives `Send`, then `Asked` when the transport has said DONE, or `Refused`. Whoever owns the socket answers
`Asked` with what `grant` or `deny` gives. Reading should pause meanwhile: a transport must not speak for its client
before it has heard OKAY, and one that does is refused.

Refused is what tor 0.4.9 closes on: a wrong hash, any other way to authenticate, an address that is a host name, has
port 0 or is empty, a transport's name that is no C identifier, bytes behind DONE. Beyond that, a message of more than
1024 bytes is refused, and a port that is not just digits. Commands that nobody knows are passed over, and of two
addresses or names the last one holds. Between reads less than 1100 bytes are held.
"""

from __future__ import annotations

import hmac
import re
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
from obfstats.wire.handshake import Send
from obfstats.wire.lines import is_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from obfstats.wire.handshake import Random

    Step: TypeAlias = list["Send | Asked | Refused"] | None

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_USER_ADDRESS_V4 = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}:(?P<port>[1-9][0-9]{{0,4}})")
_USER_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[0-9A-Fa-f:.]+)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class Asked:
    """A transport wants a client let in.

    Attributes:
        address: `192.0.2.7:5678` or `[2001:db8::1]:5678`, as it was sent, but for missing brackets and a port's leading
            zeros; None where nothing was said of it.
        transport: the transport's name, or None.
    """

    address: str | None = field(repr=False)
    transport: str | None

    @property
    def host(self) -> str | None:
        """The address without its port and brackets."""
        return None if self.address is None else self.address.rpartition(":")[0].strip("[]")


class Server:
    """Tor's end of one connection."""

    __slots__ = ("_address", "_client_hash", "_cookie", "_held", "_next", "_random", "_transport")

    def __init__(self, cookie: bytes, random: Random) -> None:
        """Take what a transport must know.

        Args:
            cookie: 32 bytes.
            random: gives as many random bytes as it is asked for.
        """
        self._cookie = cookie
        self._random = random
        # Which step comes next; none when all is said.
        self._next: Callable[[Server], Step] | None = Server._take_auth_type
        self._client_hash = b""
        self._address: str | None = None
        self._transport: str | None = None
        self._held = bytearray()

    def start(self) -> list[Send]:
        """Offer the one way to authenticate; call it once, first."""
        return [Send(bytes((SAFE_COOKIE, 0)))]

    def receive(self, data: bytes) -> list[Send | Asked | Refused]:
        """Take bytes of the transport's, cut anywhere."""
        if self._next is None:
            return []
        self._held += data
        events: list[Send | Asked | Refused] = []
        while self._next is not None and (step := self._next(self)) is not None:
            events += step
        return events

    def grant(self) -> bytes:
        """Let the client in: give what to send. Whatever comes behind it is the client's.

        Raises:
            RuntimeError: nothing was asked.
        """
        return self._decide(Command.OKAY)

    def deny(self) -> bytes:
        """Keep the client out: give what to send before closing.

        Raises:
            RuntimeError: nothing was asked.
        """
        return self._decide(Command.DENY)

    def _decide(self, command: Command) -> bytes:
        if self._next is not Server._wait_for_verdict:
            raise RuntimeError("nothing was asked")
        self._forget()
        return pack_message(command)

    def _take_auth_type(self) -> Step:
        if not self._held:
            return None
        if self._held[0] != SAFE_COOKIE:
            return self._refuse("the transport does not want to authenticate by cookie")
        del self._held[0]
        self._next = Server._take_client_nonce
        return []

    def _take_client_nonce(self) -> Step:
        if len(self._held) < NONCE_LENGTH:
            return None
        nonce, own_nonce = bytes(self._held[:NONCE_LENGTH]), self._random(NONCE_LENGTH)
        del self._held[:NONCE_LENGTH]
        self._client_hash = client_hash(self._cookie, nonce, own_nonce)
        self._next = Server._take_client_hash
        return [Send(server_hash(self._cookie, nonce, own_nonce) + own_nonce)]

    def _take_client_hash(self) -> Step:
        if len(self._held) < HASH_LENGTH:
            return None
        given = bytes(self._held[:HASH_LENGTH])
        del self._held[:HASH_LENGTH]
        if not hmac.compare_digest(given, self._client_hash):
            return [Send(b"\0"), *self._refuse("the transport does not know the cookie")]
        self._next = Server._take_message
        return [Send(b"\1")]

    def _take_message(self) -> Step:
        message = take_message(self._held)
        if message is None:
            return None
        command, body = message
        if body is None:
            return self._refuse("the transport said more than there is to say")
        if command == Command.DONE:
            self._next = Server._wait_for_verdict
            # Whoever owns the socket must not be asked about a client that is refused with the next event.
            return [] if self._held else [Asked(self._address, self._transport)]
        reason = self._note(command, body)
        return [] if reason is None else self._refuse(reason)

    def _wait_for_verdict(self) -> Step:
        return self._refuse("the transport spoke before it was let in") if self._held else None

    def _note(self, command: int, body: bytes) -> str | None:
        """Note what a message says of the client; give the reason where it cannot be."""
        if command == Command.USERADDR:
            self._address = _read_address(body)
            return None if self._address else "the transport named a client that has no address"
        if command == Command.TRANSPORT:
            self._transport = body.decode("ascii", "replace")
            return None if is_name(self._transport) else "the transport has a name that is none"
        return None

    def _refuse(self, reason: str) -> list[Send | Asked | Refused]:
        self._forget()
        return [Refused(reason)]

    def _forget(self) -> None:
        """Drop secrets and addresses: the machine is done."""
        self._next = None
        self._cookie = self._client_hash = b""
        self._address = self._transport = None
        self._held = bytearray()


def _read_address(body: bytes) -> str | None:
    """Read a client's address and port; old transports leave the brackets of IPv6 out. None where it is none."""
    text = body.decode("ascii", "replace")
    match = _USER_ADDRESS_V4.fullmatch(text)
    if match is not None and int(match["port"]) <= 65535:
        return text
    match = _USER_ADDRESS.fullmatch(text)
    if match is None or not 1 <= int(match["port"]) <= 65535:
        return None
    host = match["v6"] or match["host"]
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if match["v6"] and not isinstance(address, IPv6Address):
        return None
    return str(Endpoint(host, int(match["port"])))
