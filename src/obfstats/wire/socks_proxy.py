"""Asking a SOCKS proxy for a connection: the client's side of SOCKS5 and SOCKS4a, CONNECT only.

Sources: RFC 1928, RFC 1929; "SOCKS 4A: A Simple Extension to SOCKS 4 Protocol" (Ying-Da Lee).

    SOCKS5     we send       05 | COUNT[1] | METHODS          00 (none), and 02 (password) where there is a username
               it sends      05 | METHOD[1]
               we send       01 | LENGTH[1] | USERNAME | LENGTH[1] | PASSWORD        after 02 only
               it sends      01 | 00 where it accepts them
               we send       05 | 01 (CONNECT) | 00 | TYPE[1] | ADDRESS | PORT[2]    type 1 IPv4, 3 name, 4 IPv6
               it sends      05 | REPLY[1] | 00 | TYPE[1] | ADDRESS | PORT[2]
    SOCKS4a    we send       04 | 01 | PORT[2] | IPv4[4] | USERNAME | 00             for everything else than IPv4 the
                             address is 0.0.0.1, and its text and 00 follow
               it sends      00 | 5A where it accepts the request | 6 bytes

Debian 12's asynchronous python-socks drops bytes that arrive with the answer and fails on a split answer, so this is
our own; `obfstats submit` uses python-socks's synchronous part. Names are sent as they are; credentials are those that
`parse_upstream` has checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any

from obfstats.wire.machine import Finished, ProtocolError, Send, read_exactly
from obfstats.wire.socks5 import Reply

if TYPE_CHECKING:
    from collections.abc import Generator

    from obfstats.wire.endpoint import Endpoint
    from obfstats.wire.machine import Script
    from obfstats.wire.upstream import Upstream

_NO_AUTH, _PASSWORD = 0, 2
_V4, _NAME, _V6 = 1, 3, 4
_ADDRESS_LENGTHS = {_V4: 4, _V6: 16}
_GRANTED = 0x5A
_NAME_FOLLOWS = bytes((0, 0, 0, 1))
_MAX_NAME = 255


@dataclass(frozen=True, slots=True)
class ProxyAnswer(Finished):
    """A proxy has answered.

    Attributes:
        reply: its answer; SUCCEEDED where it has connected.
        early: what the destination has sent already.
    """

    reply: Reply = Reply.SUCCEEDED


def connect_by_socks(upstream: Upstream, destination: Endpoint, held: bytearray) -> Script:
    """Ask for a destination: a script as in machine.py, which ends with ProxyAnswer.

    Args:
        upstream: the proxy; its scheme is socks5 or socks4a.
        destination: an address, or a name, which the proxy resolves.
        held: what the proxy has sent.
    """
    try:
        address: IPv4Address | IPv6Address | None = ip_address(destination.host)
    except ValueError:
        address = None
    name = destination.host.encode("ascii")
    if len(name) > _MAX_NAME:
        raise ProtocolError("the name is longer than SOCKS allows")
    connect = _connect_by_socks5 if upstream.scheme == "socks5" else _connect_by_socks4a
    reply = yield from connect(upstream, address, name, destination.port.to_bytes(2, "big"), held)
    yield ProxyAnswer(reply=reply, early=bytes(held))


def _connect_by_socks5(
    upstream: Upstream, address: IPv4Address | IPv6Address | None, name: bytes, port: bytes, held: bytearray
) -> Generator[Send | None, Any, Reply]:
    has_password = upstream.username is not None
    yield Send(bytes((5, 2, _NO_AUTH, _PASSWORD)) if has_password else bytes((5, 1, _NO_AUTH)))
    version, method = yield from read_exactly(held, 2)
    if version != 5 or method not in ({_NO_AUTH, _PASSWORD} if has_password else {_NO_AUTH}):
        raise ProtocolError("the proxy accepts no authentication method of ours")
    if method == _PASSWORD:
        yield Send(b"\1" + _with_length(upstream.username) + _with_length(upstream.password))
        version, status = yield from read_exactly(held, 2)
        if version != 1 or status:
            raise ProtocolError("the proxy accepts neither username nor password")
    if address is None:
        address_field = bytes((_NAME, len(name))) + name
    else:
        address_field = bytes((_V4 if address.version == 4 else _V6,)) + address.packed
    yield Send(bytes((5, 1, 0)) + address_field + port)
    version, code, _, address_type = yield from read_exactly(held, 4)
    if version != 5:
        raise ProtocolError("the proxy does not speak SOCKS5")
    if code:
        return Reply(code) if code in set(Reply) else Reply.GENERAL_FAILURE
    if address_type == _NAME:
        (length,) = yield from read_exactly(held, 1)
    elif address_type in _ADDRESS_LENGTHS:
        length = _ADDRESS_LENGTHS[address_type]
    else:
        raise ProtocolError("the proxy's address is of an unknown type")
    yield from read_exactly(held, length + len(port))
    return Reply.SUCCEEDED


def _connect_by_socks4a(
    upstream: Upstream, address: IPv4Address | IPv6Address | None, name: bytes, port: bytes, held: bytearray
) -> Generator[Send | None, Any, Reply]:
    username = (upstream.username or "").encode("ascii") + b"\0"
    by_name = _NAME_FOLLOWS + username + name + b"\0"
    address_field = address.packed + username if isinstance(address, IPv4Address) else by_name
    yield Send(bytes((4, 1)) + port + address_field)
    answer = yield from read_exactly(held, 8)
    if answer[0]:
        raise ProtocolError("the proxy does not speak SOCKS4")
    return Reply.SUCCEEDED if answer[1] == _GRANTED else Reply.GENERAL_FAILURE


def _with_length(credential: str | None) -> bytes:
    text = (credential or "").encode("ascii")
    return bytes((len(text),)) + text
