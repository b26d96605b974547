"""What tor tells a transport's program in its environment, for servers and for clients (pt-spec, version 1).

    both      TOR_PT_MANAGED_TRANSPORT_VER, TOR_PT_STATE_LOCATION, TOR_PT_EXIT_ON_STDIN_CLOSE,
              TOR_PT_OUTBOUND_BIND_ADDRESS_V4 and _V6
    server    TOR_PTSERVER_TRANSPORTS, _BINDADDR and _TRANSPORT_OPTIONS, TOR_PT_ORPORT,
              TOR_PT_EXTENDED_SERVER_PORT, TOR_PT_AUTH_COOKIE_FILE
    client    TOR_PT_CLIENT_TRANSPORTS, TOR_PT_PROXY

`negotiate_version` comes first and its line is said, then `read_environment` reads everything else at once. What is
wrong becomes a `PluggableError`, whose line is all there is left to say.

Rules:

- A variable that is set but empty counts as unset: tor sets TOR_PT_EXTENDED_SERVER_PORT so where there is none.
- Names that the program does not know are kept: whether a transport exists is not decided here, and tor wants unknown
  ones passed over in silence.
- An error names the variable and what it should hold, never what it holds: that may be a secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from obfstats.wire.arguments import ArgumentsError, parse_arguments, parse_options, write_arguments
from obfstats.wire.endpoint import Endpoint
from obfstats.wire.upstream import Upstream, UpstreamError, parse_upstream
from obfstats.wire.variables import (
    CLIENT_TRANSPORTS,
    SERVER_TRANSPORTS,
    OrPorts,
    PluggableError,
    address_and_port,
    error,
    read_names,
    read_orports,
    read_servers,
    read_state,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ArgumentsError",
    "ClientEnvironment",
    "Environment",
    "PluggableError",
    "ServerEnvironment",
    "ServerTransport",
    "Upstream",
    "UpstreamError",
    "negotiate_version",
    "parse_arguments",
    "parse_options",
    "parse_upstream",
    "read_environment",
    "write_arguments",
]

VERSION = "1"
"""Of the specification."""

_VERSIONS = "TOR_PT_MANAGED_TRANSPORT_VER"
_BIND = "TOR_PT_SERVER_BINDADDR"
_OPTIONS = "TOR_PT_SERVER_TRANSPORT_OPTIONS"
_OUTBOUND_V4 = "TOR_PT_OUTBOUND_BIND_ADDRESS_V4"
_OUTBOUND_V6 = "TOR_PT_OUTBOUND_BIND_ADDRESS_V6"

_ANYWHERE = Endpoint("0.0.0.0", 0)  # noqa: S104 - what pt-spec leaves to the program, tor gives as this


@dataclass(frozen=True, slots=True)
class Environment:
    """What servers and clients are both told.

    Attributes:
        state: the folder, an absolute path, that may be written to; it need not exist.
        exit_on_stdin_close: whether the end of stdin ends the program.
        outbound_v4: the local address for IPv4 connections to anywhere but loopback; None for the kernel's choice.
        outbound_v6: the same for IPv6, without brackets.
    """

    state: str
    exit_on_stdin_close: bool
    outbound_v4: str | None
    outbound_v6: str | None


@dataclass(frozen=True, slots=True)
class ServerTransport:
    """One transport that a server should offer.

    Attributes:
        name: the transport.
        bind: where to listen; port 0 leaves the choice of the port.
        options: what torrc says for it, possibly secrets.
    """

    name: str
    bind: Endpoint
    options: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ServerEnvironment(Environment):
    """What a server is told.

    Attributes:
        transports: what to offer, in tor's order.
        orports: where clients are passed on to.
    """

    transports: tuple[ServerTransport, ...]
    orports: OrPorts


@dataclass(frozen=True, slots=True)
class ClientEnvironment(Environment):
    """What a client is told.

    Attributes:
        transports: what to offer, in tor's order.
        proxy: TOR_PT_PROXY as it stands, for `parse_upstream`, whose errors are PROXY-ERROR.
    """

    transports: tuple[str, ...]
    proxy: str | None = field(repr=False)


def negotiate_version(environment: Mapping[str, str]) -> str:
    """Agree with tor on the specification's version; gives the line to say.

    Raises:
        PluggableError: tor does not say which versions it speaks, or does not speak this one.
    """
    versions = environment.get(_VERSIONS)
    if versions is None:
        raise error(f"{_VERSIONS} is not set; let tor start this program (ServerTransportPlugin in torrc)")
    if VERSION not in versions.split(","):
        raise PluggableError("VERSION-ERROR no-version")
    return f"VERSION {VERSION}"


def read_environment(environment: Mapping[str, str]) -> ServerEnvironment | ClientEnvironment:
    """Read everything but the version.

    Raises:
        PluggableError: something is missing, malformed or contradictory.
    """
    servers, clients = read_servers(environment), environment.get(CLIENT_TRANSPORTS)
    if not servers and not clients:
        raise error(f"neither of {SERVER_TRANSPORTS} and {CLIENT_TRANSPORTS} set; one of them says what to do")
    state = read_state(environment)
    closes = environment.get("TOR_PT_EXIT_ON_STDIN_CLOSE") == "1"
    outbound_v4 = _outbound(environment, _OUTBOUND_V4, IPv4Address)
    outbound_v6 = _outbound(environment, _OUTBOUND_V6, IPv6Address)
    if clients:
        proxy = environment.get("TOR_PT_PROXY") or None
        names = read_names(clients, CLIENT_TRANSPORTS)
        return ClientEnvironment(state, closes, outbound_v4, outbound_v6, names, proxy)
    orports = read_orports(environment)
    binds = _binds(environment.get(_BIND, ""), servers)
    options = _options(environment.get(_OPTIONS, ""))
    transports = tuple(ServerTransport(name, binds.get(name, _ANYWHERE), options.get(name, {})) for name in servers)
    return ServerEnvironment(state, closes, outbound_v4, outbound_v6, transports, orports)


def _binds(text: str, names: tuple[str, ...]) -> dict[str, Endpoint]:
    """Read where each transport should listen; entries of other transports are passed over."""
    binds: dict[str, Endpoint] = {}
    for number, entry in enumerate(text.split(",") if text else (), 1):
        name, mark, place = entry.partition("-")
        if not mark:
            raise error(f"entry {number} of {_BIND} is not NAME-ADDRESS:PORT")
        if name not in names:
            continue
        if name in binds:
            raise error(f"entry {number} of {_BIND} repeats a transport")
        bind = address_and_port(place)
        if bind is None:
            raise error(f"entry {number} of {_BIND} does not end with ADDRESS:PORT, such as 0.0.0.0:443 or [::]:443")
        binds[name] = bind
    return binds


def _options(text: str) -> dict[str, dict[str, str]]:
    try:
        return parse_options(text)
    except ArgumentsError as failure:
        raise error(f"{_OPTIONS}: {failure}") from None


def _outbound(
    environment: Mapping[str, str], variable: str, family: type[IPv4Address] | type[IPv6Address]
) -> str | None:
    """Read a local address; tor writes that of IPv6 in brackets."""
    text = environment.get(variable)
    if not text:
        return None
    if family is IPv6Address and text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    try:
        address = family(text)
    except ValueError:
        address = None
    if address is None or "%" in text:
        raise error(f"{variable} is not an IPv{4 if family is IPv4Address else 6} address")
    return str(address)
