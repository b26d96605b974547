"""SOCKS5 as tor speaks it to a transport's client: the server's side, CONNECT alone, with the bridge line's arguments.

Source: RFC 1928 and RFC 1929, pt-spec ("Pluggable Transport Client Per-Connection Arguments"). No maintained library
offers the server's side without IO, so it is here.

    client says     05 | COUNT[1] | METHODS
    we say          05 | 02 (username and password) where it is offered, else 00 (none), else FF and no more
    client says     01 | LENGTH[1] | USERNAME | LENGTH[1] | PASSWORD       where it is 02
    we say          01 | 00, or 01 | 01 and no more
    client says     05 | 01 (CONNECT) | 00 | TYPE[1] | ADDRESS | PORT[2]   type 1 IPv4, 3 name, 4 IPv6
    we say          05 | REPLY[1] | 00 | 01 | 0.0.0.0 | 0

Username and password are one text, `k=v;k2=v2`, cut where the username is full; a password of one NUL is none.

Whoever owns the socket gives `receive` what arrives and does what the events say: `Send`, then `Request` or `Refused`,
which is the last one. A `Request` is answered with what `reply` gives. What arrives behind it is the client's data and
does not belong here. Arguments may hold secrets and an endpoint is a bridge's: neither is ever shown or quoted. Between
reads less than 600 bytes are held.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum, IntEnum, auto
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from obfstats.wire.arguments import ArgumentsError, parse_arguments
from obfstats.wire.endpoint import Endpoint
from obfstats.wire.events import Refused
from obfstats.wire.handshake import Send

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    Step: TypeAlias = list["Send | Request | Refused"] | None

__all__ = ["Refused", "Reply", "Request", "Socks5"]

_VERSION = 5
_AUTH_VERSION = 1
_NO_AUTH, _PASSWORD, _NO_METHOD = 0x00, 0x02, 0xFF
_CONNECT = 1
_V4, _NAME, _V6 = 1, 3, 4
_ADDRESS_LENGTHS = {_V4: 4, _V6: 16}
_HEAD_LENGTH = 4
_PORT_LENGTH = 2

# What `parse_endpoint` takes for a host.
_HOST = re.compile(rb"[A-Za-z0-9._-]+")


class Reply(IntEnum):
    """What becomes of a request (RFC 1928, section 6)."""

    SUCCEEDED = 0
    GENERAL_FAILURE = 1
    NOT_ALLOWED = 2
    NETWORK_UNREACHABLE = 3
    HOST_UNREACHABLE = 4
    CONNECTION_REFUSED = 5
    TTL_EXPIRED = 6
    COMMAND_NOT_SUPPORTED = 7
    ADDRESS_TYPE_NOT_SUPPORTED = 8


@dataclass(frozen=True, slots=True)
class Request:
    """The client wants a connection.

    Attributes:
        endpoint: where to: an address or a name, with a port that is not 0.
        arguments: what the bridge line says for the transport.
        early: what the client said already, before it heard an answer.
    """

    endpoint: Endpoint = field(repr=False)
    arguments: Mapping[str, str] = field(repr=False)
    early: bytes = field(repr=False)


class _Phase(Enum):
    """What the machine waits for."""

    METHODS = auto()
    PASSWORD = auto()
    REQUEST = auto()
    NOTHING = auto()


class Socks5:
    """The server's side of one connection."""

    __slots__ = ("_arguments", "_held", "_phase")

    def __init__(self) -> None:
        self._phase = _Phase.METHODS
        self._arguments: dict[str, str] = {}
        self._held = bytearray()

    def receive(self, data: bytes) -> list[Send | Request | Refused]:
        """Take bytes of the client's, cut anywhere."""
        if self._phase is _Phase.NOTHING:
            return []
        self._held += data
        events: list[Send | Request | Refused] = []
        while (step := self._step()) is not None:
            events += step
        return events

    def reply(self, code: Reply) -> bytes:
        """Write the answer to a request; the address that was bound is kept to ourselves."""
        return bytes((_VERSION, code, 0, _V4, 0, 0, 0, 0, 0, 0))

    def _step(self) -> Step:
        """Go one step on; None where that takes more bytes, or where all is said."""
        match self._phase:
            case _Phase.METHODS:
                return self._take_methods()
            case _Phase.PASSWORD:
                return self._take_password()
            case _Phase.REQUEST:
                return self._take_request()
            case _Phase.NOTHING:
                return None

    def _take_methods(self) -> Step:
        held = self._held
        if held and held[0] != _VERSION:
            return self._refuse("the client does not speak SOCKS5")
        methods = _counted(held, 1)
        if methods is None:
            return None
        del held[: 2 + len(methods)]
        for method, phase in ((_PASSWORD, _Phase.PASSWORD), (_NO_AUTH, _Phase.REQUEST)):
            if method in methods:
                self._phase = phase
                return [Send(bytes((_VERSION, method)))]
        return self._refuse("the client offers no way to authenticate that there is", bytes((_VERSION, _NO_METHOD)))

    def _take_password(self) -> Step:
        held = self._held
        if held and held[0] != _AUTH_VERSION:
            return self._refuse("the client authenticates in another way than it said", bytes((_AUTH_VERSION, 1)))
        username = _counted(held, 1)
        password = None if username is None else _counted(held, 2 + len(username))
        if username is None or password is None:
            return None
        del held[: 3 + len(username) + len(password)]
        try:
            self._arguments = parse_arguments(username + (b"" if password == b"\0" else password))
        except ArgumentsError:
            return self._refuse("the client's arguments are malformed", bytes((_AUTH_VERSION, 1)))
        self._phase = _Phase.REQUEST
        return [Send(bytes((_AUTH_VERSION, 0)))]

    def _take_request(self) -> Step:
        held = self._held
        if len(held) < _HEAD_LENGTH:
            return None
        version, command, reserved, kind = held[:_HEAD_LENGTH]
        if version != _VERSION or reserved:
            return self._refuse("the client's request is malformed", self.reply(Reply.GENERAL_FAILURE))
        if command != _CONNECT:
            return self._refuse("the client wants no connection", self.reply(Reply.COMMAND_NOT_SUPPORTED))
        if kind not in (_V4, _NAME, _V6):
            return self._refuse(
                "the client's address is of no known type", self.reply(Reply.ADDRESS_TYPE_NOT_SUPPORTED)
            )
        return self._take_endpoint(kind)

    def _take_endpoint(self, kind: int) -> Step:
        held, start = self._held, _HEAD_LENGTH
        if kind == _NAME:
            if len(held) == start:
                return None
            length = held[start]
            start += 1
        else:
            length = _ADDRESS_LENGTHS[kind]
        end = start + length + _PORT_LENGTH
        if len(held) < end:
            return None
        host = _host(kind, bytes(held[start : start + length]))
        port = int.from_bytes(held[start + length : end], "big")
        if not host or not port:
            return self._refuse("the client's destination is none", self.reply(Reply.GENERAL_FAILURE))
        request = Request(Endpoint(host, port), self._arguments, bytes(held[end:]))
        self._forget()
        return [request]

    def _refuse(self, reason: str, answer: bytes = b"") -> list[Send | Request | Refused]:
        self._forget()
        refused = Refused(reason)
        return [Send(answer), refused] if answer else [refused]

    def _forget(self) -> None:
        """Drop what was said: the machine is done."""
        self._phase = _Phase.NOTHING
        self._arguments = {}
        self._held = bytearray()


def _counted(held: bytearray, place: int) -> bytes | None:
    """Read bytes whose number stands before them; None where they are not all there."""
    if len(held) <= place or len(held) <= place + held[place]:
        return None
    return bytes(held[place + 1 : place + 1 + held[place]])


def _host(kind: int, address: bytes) -> str:
    """Write an address or a name as text; empty where it is none."""
    if kind == _V4:
        return str(IPv4Address(address))
    if kind == _V6:
        return str(IPv6Address(address))
    return address.decode("ascii") if _HOST.fullmatch(address) else ""
