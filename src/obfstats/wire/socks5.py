"""SOCKS5 as tor speaks it to a transport's client: the server's side, CONNECT only, with the bridge line's arguments.

Source: RFC 1928 and RFC 1929, pt-spec ("Pluggable Transport Client Per-Connection Arguments"). No maintained library
offers the server's side without IO, so it is here.

    client sends    05 | COUNT[1] | METHODS
    we send         05 | 02 (username and password) where it is offered, else 00 (none), else FF and close
    client sends    01 | LENGTH[1] | USERNAME | LENGTH[1] | PASSWORD       after 02 only
    we send         01 | 00, or 01 | 01 and close
    client sends    05 | 01 (CONNECT) | 00 | TYPE[1] | ADDRESS | PORT[2]   type 1 IPv4, 3 name, 4 IPv6
    we send         05 | REPLY[1] | 00 | 01 | 0.0.0.0 | 0

Username and password are one text, `k=v;k2=v2`, split where the username is full; a password of one NUL is empty.

The machine ends with `Request`, which the caller answers with what `write_reply` returns. Arguments may hold secrets,
and an endpoint is a bridge's: neither is ever shown or quoted. Between reads less than 600 bytes are held.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

from obfstats.wire.arguments import ArgumentsError, parse_arguments
from obfstats.wire.endpoint import Endpoint
from obfstats.wire.machine import Finished, Machine, ProtocolError, Send, read_exactly

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from obfstats.wire.machine import Script

_VERSION = 5
_AUTH_VERSION = 1
_NO_AUTH, _PASSWORD, _NO_METHOD = 0x00, 0x02, 0xFF
_CONNECT = 1
_V4, _NAME, _V6 = 1, 3, 4
_ADDRESS_LENGTHS = {_V4: 4, _V6: 16}
_HEAD_LENGTH = 4
_PORT_LENGTH = 2

# The host names that `parse_endpoint` accepts.
_HOST = re.compile(rb"[A-Za-z0-9._-]+")


class Reply(IntEnum):
    """The outcome of a request (RFC 1928, section 6): what a client is sent, and what an upstream proxy answers."""

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
class Request(Finished):
    """The client wants a connection.

    Attributes:
        endpoint: the destination: an address or a name, with a port that is not 0.
        arguments: what the bridge line says for the transport.
        early: what the client has sent before it got a reply.
    """

    endpoint: Endpoint = field(repr=False)
    arguments: Mapping[str, str] = field(repr=False)


class Socks5(Machine):
    """The server's side of one connection."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(_serve)


def write_reply(reply: Reply) -> bytes:
    """Write the answer to a request. It does not tell which address was bound."""
    return bytes((_VERSION, reply, 0, _V4, 0, 0, 0, 0, 0, 0))


def _serve(held: bytearray) -> Script:
    if (yield from read_exactly(held, 1)) != bytes((_VERSION,)):
        raise ProtocolError("the client does not speak SOCKS5")
    methods = yield from _read_counted(held)
    arguments: Mapping[str, str] = {}
    if _PASSWORD in methods:
        yield Send(bytes((_VERSION, _PASSWORD)))
        arguments = yield from _read_arguments(held)
        yield Send(bytes((_AUTH_VERSION, 0)))
    elif _NO_AUTH in methods:
        yield Send(bytes((_VERSION, _NO_AUTH)))
    else:
        raise ProtocolError(
            "the client offers no supported authentication method", answer=bytes((_VERSION, _NO_METHOD))
        )

    version, command, reserved, address_type = yield from read_exactly(held, _HEAD_LENGTH)
    if version != _VERSION or reserved:
        raise _refusal("the client's request is malformed", Reply.GENERAL_FAILURE)
    if command != _CONNECT:
        raise _refusal("the client's command is not CONNECT", Reply.COMMAND_NOT_SUPPORTED)
    if address_type == _NAME:
        address = yield from _read_counted(held)
    elif address_type in _ADDRESS_LENGTHS:
        address = yield from read_exactly(held, _ADDRESS_LENGTHS[address_type])
    else:
        raise _refusal("the client's address is of an unknown type", Reply.ADDRESS_TYPE_NOT_SUPPORTED)
    port = int.from_bytes((yield from read_exactly(held, _PORT_LENGTH)), "big")
    host = _format_host(address_type, address)
    if not host or not port:
        raise _refusal("the client's destination is invalid", Reply.GENERAL_FAILURE)
    yield Request(Endpoint(host, port), arguments, early=bytes(held))


def _read_counted(held: bytearray) -> Generator[None, Any, bytes]:
    """Take bytes whose number comes before them."""
    (length,) = yield from read_exactly(held, 1)
    return (yield from read_exactly(held, length))


def _read_arguments(held: bytearray) -> Generator[None, Any, dict[str, str]]:
    """Take username and password, which together are the arguments."""
    refused = bytes((_AUTH_VERSION, 1))
    if (yield from read_exactly(held, 1)) != bytes((_AUTH_VERSION,)):
        raise ProtocolError("the client's authentication is not the agreed one", answer=refused)
    username = yield from _read_counted(held)
    password = yield from _read_counted(held)
    try:
        return parse_arguments(username + (b"" if password == b"\0" else password))
    except ArgumentsError:
        raise ProtocolError("the client's arguments are malformed", answer=refused) from None


def _refusal(reason: str, reply: Reply) -> ProtocolError:
    return ProtocolError(reason, answer=write_reply(reply))


def _format_host(address_type: int, address: bytes) -> str:
    """Format an address or a name; empty where it is invalid."""
    if address_type == _V4:
        return str(IPv4Address(address))
    if address_type == _V6:
        return str(IPv6Address(address))
    return address.decode("ascii") if _HOST.fullmatch(address) else ""
