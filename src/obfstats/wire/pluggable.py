"""What tor passes to a transport's program in its environment, for servers and for clients (pt-spec, version 1).

    both      TOR_PT_MANAGED_TRANSPORT_VER, TOR_PT_STATE_LOCATION, TOR_PT_EXIT_ON_STDIN_CLOSE,
              TOR_PT_OUTBOUND_BIND_ADDRESS_V4 and _V6
    server    TOR_PT_SERVER_TRANSPORTS, _BINDADDR and _TRANSPORT_OPTIONS, TOR_PT_ORPORT,
              TOR_PT_EXTENDED_SERVER_PORT, TOR_PT_AUTH_COOKIE_FILE
    client    TOR_PT_CLIENT_TRANSPORTS, TOR_PT_PROXY

Call `negotiate_version`, then read everything else with `read_environment`, then write the version's line: tor logs no
ENV-ERROR that follows it. Whatever is wrong becomes a `PluggableError`; the program writes its line and exits with 1.

Rules:

- A variable that is set but empty counts as unset: tor sets TOR_PT_EXTENDED_SERVER_PORT so where there is none.
- Names that the program does not know are kept: whether a transport exists is not decided here, and tor wants unknown
  ones ignored silently.
- An error names the variable and what it should hold, never what it holds: that may be a secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING

from obfstats.wire import lines
from obfstats.wire.arguments import ArgumentsError, parse_options
from obfstats.wire.endpoint import Endpoint, parse_endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = "1"
"""Of the specification."""

EXTENDED_PORT = "TOR_PT_EXTENDED_SERVER_PORT"
"""The variable with the address of tor's extended ORPort."""

COOKIE_FILE = "TOR_PT_AUTH_COOKIE_FILE"
"""The variable with the path of its cookie file."""

ORPORT = "TOR_PT_ORPORT"
"""The variable with the address of the plain ORPort."""

_VERSIONS = "TOR_PT_MANAGED_TRANSPORT_VER"
_STATE = "TOR_PT_STATE_LOCATION"
_EXIT_ON_STDIN_CLOSE = "TOR_PT_EXIT_ON_STDIN_CLOSE"
_SERVER_TRANSPORTS = "TOR_PT_SERVER_TRANSPORTS"
_CLIENT_TRANSPORTS = "TOR_PT_CLIENT_TRANSPORTS"
_BIND = "TOR_PT_SERVER_BINDADDR"
_OPTIONS = "TOR_PT_SERVER_TRANSPORT_OPTIONS"
_PROXY = "TOR_PT_PROXY"
_OUTBOUND_V4 = "TOR_PT_OUTBOUND_BIND_ADDRESS_V4"
_OUTBOUND_V6 = "TOR_PT_OUTBOUND_BIND_ADDRESS_V6"

_ANYWHERE = Endpoint("0.0.0.0", 0)  # noqa: S104 - pt-spec leaves the default to the program, and tor uses this one


class PluggableError(Exception):
    """The environment is invalid.

    Attributes:
        line: the specification's line for stdout, without its end.
    """

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.line = line


@dataclass(frozen=True, slots=True)
class OrPorts:
    """Where a server forwards its clients. At least one of `orport` and `extended` is set.

    Attributes:
        orport: tor's ORPort.
        extended: tor's extended ORPort; None where there is none.
        cookie_file: the file with its cookie.
    """

    orport: Endpoint | None
    extended: Endpoint | None
    cookie_file: str | None

    def choose(self) -> tuple[Endpoint, str | None]:
        """Return where to forward clients, and the cookie file where that is the extended ORPort."""
        if self.extended is not None and self.cookie_file is not None:
            return self.extended, self.cookie_file
        if self.orport is None:
            raise AssertionError("read_orports refuses an environment without any ORPort")
        return self.orport, None


@dataclass(frozen=True, slots=True)
class Environment:
    """What servers and clients are both told.

    Attributes:
        state: the folder that may be written to; it need not exist. If tor's DataDirectory is relative, so is this, to
            the working directory, which is tor's.
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
        options: its options in torrc, possibly secrets.
    """

    name: str
    bind: Endpoint
    options: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class ServerEnvironment(Environment):
    """What a server is told.

    Attributes:
        transports: what to offer, in tor's order.
        orports: where clients are forwarded.
    """

    transports: tuple[ServerTransport, ...]
    orports: OrPorts


@dataclass(frozen=True, slots=True)
class ClientEnvironment(Environment):
    """What a client is told.

    Attributes:
        transports: what to offer, in tor's order.
        proxy: TOR_PT_PROXY unparsed, for `parse_upstream`, whose errors are PROXY-ERROR.
    """

    transports: tuple[str, ...]
    proxy: str | None = field(repr=False)


def negotiate_version(environment: Mapping[str, str]) -> str:
    """Agree with tor on the specification's version; return the line to write.

    Raises:
        PluggableError: tor does not say which versions it speaks, or does not speak this one.
    """
    versions = environment.get(_VERSIONS)
    if versions is None:
        raise _error(f"{_VERSIONS} is not set; let tor start this program (ServerTransportPlugin in torrc)")
    if VERSION not in versions.split(","):
        raise PluggableError("VERSION-ERROR no-version")
    return f"VERSION {VERSION}"


def read_environment(environment: Mapping[str, str]) -> ServerEnvironment | ClientEnvironment:
    """Read everything but the version.

    Raises:
        PluggableError: something is missing, malformed or contradictory.
    """
    servers, clients = read_servers(environment), environment.get(_CLIENT_TRANSPORTS)
    if not servers and not clients:
        raise _error(f"neither of {_SERVER_TRANSPORTS} and {_CLIENT_TRANSPORTS} set; one of them says what to do")
    state = read_state(environment)
    closes = environment.get(_EXIT_ON_STDIN_CLOSE) == "1"
    outbound_v4 = _read_outbound(environment, _OUTBOUND_V4, IPv4Address)
    outbound_v6 = _read_outbound(environment, _OUTBOUND_V6, IPv6Address)
    if clients:
        proxy = environment.get(_PROXY) or None
        names = _parse_names(clients, _CLIENT_TRANSPORTS)
        return ClientEnvironment(state, closes, outbound_v4, outbound_v6, names, proxy)
    orports = read_orports(environment)
    binds = _parse_binds(environment.get(_BIND, ""), servers)
    options = _parse_options(environment.get(_OPTIONS, ""))
    transports = tuple(ServerTransport(name, binds.get(name, _ANYWHERE), options.get(name, {})) for name in servers)
    return ServerEnvironment(state, closes, outbound_v4, outbound_v6, transports, orports)


def read_state(environment: Mapping[str, str]) -> str:
    """Read which folder may be written to; it need not exist.

    Raises:
        PluggableError: it is not set.
    """
    state = environment.get(_STATE)
    if not state:
        raise _error(f"{_STATE} is not set")
    return state


def read_servers(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Read which transports a server should offer; empty where tor asks for a client.

    Raises:
        PluggableError: it is no list of names, or tor asks for a client as well.
    """
    servers = environment.get(_SERVER_TRANSPORTS)
    if servers and environment.get(_CLIENT_TRANSPORTS):
        raise _error(f"both of {_SERVER_TRANSPORTS} and {_CLIENT_TRANSPORTS} set; one of them says what to do")
    return _parse_names(servers, _SERVER_TRANSPORTS) if servers else ()


def read_orports(environment: Mapping[str, str]) -> OrPorts:
    """Read where a server forwards its clients.

    Raises:
        PluggableError: no ORPort is set, or an extended one without its cookie.
    """
    orport, extended = _read_destination(environment, ORPORT), _read_destination(environment, EXTENDED_PORT)
    cookie_file = environment.get(COOKIE_FILE) or None
    if orport is None and extended is None:
        raise _error(f"neither {ORPORT} nor {EXTENDED_PORT} is set")
    if extended is not None and cookie_file is None:
        raise _error(f"{EXTENDED_PORT} is set without {COOKIE_FILE}")
    return OrPorts(orport, extended, cookie_file)


def _parse_names(text: str, variable: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not all(lines.is_name(name) for name in names):
        raise _error(f"{variable} is not a list of transports' names with commas between them")
    if len(set(names)) < len(names):
        raise _error(f"{variable} names a transport twice")
    return names


def _parse_binds(text: str, names: tuple[str, ...]) -> dict[str, Endpoint]:
    """Parse where each transport should listen; entries of other transports are ignored."""
    binds: dict[str, Endpoint] = {}
    for number, entry in enumerate(text.split(",") if text else (), 1):
        name, separator, address = entry.partition("-")
        if not separator:
            raise _error(f"entry {number} of {_BIND} is not NAME-ADDRESS:PORT")
        if name not in names:
            continue
        if name in binds:
            raise _error(f"entry {number} of {_BIND} repeats a transport")
        bind = _parse_address_and_port(address)
        if bind is None:
            raise _error(f"entry {number} of {_BIND} does not end with ADDRESS:PORT, such as 0.0.0.0:443 or [::]:443")
        binds[name] = bind
    return binds


def _parse_options(text: str) -> dict[str, dict[str, str]]:
    try:
        return parse_options(text)
    except ArgumentsError as error:
        raise _error(f"{_OPTIONS}: {error}") from None


def _read_destination(environment: Mapping[str, str], variable: str) -> Endpoint | None:
    """Read where tor listens."""
    text = environment.get(variable)
    if not text:
        return None
    endpoint = _parse_address_and_port(text)
    if endpoint is None or not endpoint.port:
        raise _error(f"{variable} is not ADDRESS:PORT, such as 127.0.0.1:9001 or [::1]:9001")
    return endpoint


def _read_outbound(
    environment: Mapping[str, str], variable: str, family: type[IPv4Address] | type[IPv6Address]
) -> str | None:
    """Read a local address; tor writes an IPv6 one in brackets."""
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
        raise _error(f"{variable} is not an IPv{4 if family is IPv4Address else 6} address")
    return str(address)


def _parse_address_and_port(text: str) -> Endpoint | None:
    """Parse an IP address and a port; None for anything else, such as a host name."""
    try:
        endpoint = parse_endpoint(text)
        ip_address(endpoint.host)
    except ValueError:
        return None
    return endpoint


def _error(message: str) -> PluggableError:
    return PluggableError(lines.env_error(message))
