"""Single variables of tor's environment that not only `pluggable` reads: the state folder, the transports, the ORPorts.

The rules are those of `pluggable`: what is empty counts as unset, and an error never tells what a variable holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from obfstats.wire import lines
from obfstats.wire.endpoint import Endpoint, parse_endpoint

if TYPE_CHECKING:
    from collections.abc import Mapping

EXTENDED_PORT = "TOR_PT_EXTENDED_SERVER_PORT"
"""The variable that says where tor's extended ORPort is."""

COOKIE_FILE = "TOR_PT_AUTH_COOKIE_FILE"
"""The variable that says where its cookie is."""

SERVER_TRANSPORTS = "TOR_PT_SERVER_TRANSPORTS"
"""The variable that names a server's transports."""

CLIENT_TRANSPORTS = "TOR_PT_CLIENT_TRANSPORTS"
"""The variable that names a client's."""

_STATE = "TOR_PT_STATE_LOCATION"
_ORPORT = "TOR_PT_ORPORT"


class PluggableError(Exception):
    """The environment is not as it must be.

    Attributes:
        line: the specification's line for stdout, without its end; the program prints it and exits with 1.
    """

    def __init__(self, line: str) -> None:
        super().__init__(line)
        self.line = line


@dataclass(frozen=True, slots=True)
class OrPorts:
    """Where a server passes its clients on to. One of `orport` and `extended` is there.

    Attributes:
        orport: tor's ORPort.
        extended: tor's extended ORPort; None where there is none.
        cookie_file: the file with its cookie.
    """

    orport: Endpoint | None
    extended: Endpoint | None
    cookie_file: str | None

    def choose(self) -> tuple[Endpoint, str | None]:
        """Give where to pass clients on to, and the cookie's file where that is the extended ORPort."""
        if self.extended is not None and self.cookie_file is not None:
            return self.extended, self.cookie_file
        if self.orport is None:
            raise AssertionError("an environment without any ORPort is an error of its own")
        return self.orport, None


def read_state(environment: Mapping[str, str]) -> str:
    """Read which folder may be written to; it need not be there.

    Raises:
        PluggableError: it is not told, or is no absolute path.
    """
    state = environment.get(_STATE, "")
    if not state.startswith("/"):
        raise error(f"{_STATE} is not an absolute path")
    return state


def read_servers(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Read which transports a server should offer; empty where it is no server that is asked for.

    Raises:
        PluggableError: it is no list of names, or a client is asked for as well.
    """
    servers = environment.get(SERVER_TRANSPORTS)
    if servers and environment.get(CLIENT_TRANSPORTS):
        raise error(f"both of {SERVER_TRANSPORTS} and {CLIENT_TRANSPORTS} set; one of them says what to do")
    return read_names(servers, SERVER_TRANSPORTS) if servers else ()


def read_orports(environment: Mapping[str, str]) -> OrPorts:
    """Read where a server passes its clients on to.

    Raises:
        PluggableError: it is not told, or not in full.
    """
    orport, extended = _destination(environment, _ORPORT), _destination(environment, EXTENDED_PORT)
    cookie_file = environment.get(COOKIE_FILE) or None
    if orport is None and extended is None:
        raise error(f"neither {_ORPORT} nor {EXTENDED_PORT} is set")
    if extended is not None and cookie_file is None:
        raise error(f"{EXTENDED_PORT} is set without {COOKIE_FILE}")
    return OrPorts(orport, extended, cookie_file)


def read_names(text: str, variable: str) -> tuple[str, ...]:
    """Read a list of transports.

    Raises:
        PluggableError: it is none.
    """
    names = tuple(text.split(","))
    if not all(lines.is_name(name) for name in names):
        raise error(f"{variable} is not a list of transports' names with commas between them")
    if len(set(names)) < len(names):
        raise error(f"{variable} names a transport twice")
    return names


def address_and_port(text: str) -> Endpoint | None:
    """Read an IP address and a port; None for what is none, such as a name."""
    try:
        endpoint = parse_endpoint(text)
        ip_address(endpoint.host)
    except ValueError:
        return None
    return endpoint


def _destination(environment: Mapping[str, str], variable: str) -> Endpoint | None:
    """Read where tor listens."""
    text = environment.get(variable)
    if not text:
        return None
    endpoint = address_and_port(text)
    if endpoint is None or not endpoint.port:
        raise error(f"{variable} is not ADDRESS:PORT, such as 127.0.0.1:9001 or [::1]:9001")
    return endpoint


def error(message: str) -> PluggableError:
    """Make the error that says what is wrong with the environment."""
    return PluggableError(lines.env_error(message))
