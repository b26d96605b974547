"""What the old programs said, one grammar for each; formats/oldlog.py has taken time and severity away.

Two things are no clients of a bridge and give no event: what a program says as a client's own proxy (`socks:`, and
connections from the machine itself to somewhere else), and connections that have only been taken (`new connection from`
in C obfsproxy), which are said again when the way to tor is opened.

C obfsproxy says `Successful outbound connection` when the connect begins. Where tor then refuses, it says so with tor's
address and not with the client's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from socket import AF_INET, AF_INET6, inet_pton

from obfstats.formats.logline import MAX_TRANSPORT_LENGTH, is_transport_name


@dataclass(frozen=True, slots=True)
class Started:
    """The program has started."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The program takes no more connections."""


@dataclass(frozen=True, slots=True)
class Unsaid:
    """A time and a severity, and nothing behind them: the rest may stand in the next line."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A client has connected.

    Attributes:
        address: 4 bytes for IPv4 and for IPv4-mapped IPv6, else 16; None where it is scrubbed or cannot be read.
        port: the client's; None where it is scrubbed.
        transport: its name; None where the program does not say it.
        destination: tor's address and port as they stand there; None where they are scrubbed or not said.
    """

    address: bytes | None = field(repr=False)
    port: int | None = field(repr=False)
    transport: str | None
    destination: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Failed:
    """A client's connection came to nothing: its handshake failed, or tor could not be reached.

    Attributes:
        address: as of a connection.
        port: as of a connection.
    """

    address: bytes | None = field(repr=False)
    port: int | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """Nobody listens where a client's connection was to go; whose it was is not said.

    Attributes:
        destination: where it was to go, as of a connection.
    """

    destination: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What the program has seen since it started, or since its numbers were reset.

    Attributes:
        hours: how long that is, rounded down.
        connections: how many there were.
        addresses: from how many different addresses.
    """

    hours: int
    connections: int
    addresses: int


Event = Started | Stopped | Unsaid | Connection | Failed | Refused | Heartbeat

_SCRUBBED = b"[scrubbed]"
_MAPPED = bytes(10) + b"\xff\xff"
_LOOPBACK = (b"127.", b"[::1]")
_ADDRESS = (*(b"%d" % digit for digit in range(10)), b"[")
_ON_MACHINE = (*_LOOPBACK, _SCRUBBED)

# An address may be missing its port only where it is scrubbed.
_CLIENT = rb"(\[scrubbed\]|[0-9.]{7,15}|\[[^\]]{0,64}\])(?::([0-9]{1,5}))?"
_NAME = rb"([A-Za-z_][A-Za-z0-9_]{0,%d})" % (MAX_TRANSPORT_LENGTH - 1)

_C_CONNECTION = re.compile(
    _CLIENT + rb" \(" + _NAME + rb"\): "
    rb"(?:trying to connect to ([!-~]{1,300})|Successful outbound connection to '([!-&(-~]{1,300})'\.)"
)
_C_FAILED = re.compile(
    _CLIENT + rb": (?:connection to [!-~]{1,300} failed(?:: [ -~]*)?|all outbound connection attempts failed\.?)"
)
_C_REFUSED = re.compile(rb"Error talking to ([!-~]{1,300}): Connection refused\.?")
_C_STARTED = re.compile(rb"Starting(?: \([ -~]{1,300}\))?\.")
_C_STOPPED = re.compile(rb"Exiting\.|Got SIGTERM\. [ -~]*|Got SIGINT\. [ -~]*")
_HEARTBEAT = re.compile(
    rb"Heartbeat: (?:obfsproxy's uptime is [0-9a-z, ]{1,100}\. )?During the last ([0-9]{1,9}) hour(?:\(s\)|s?) "
    rb"we saw ([0-9]{1,9}) connection(?:\(s\)|s?) from ([0-9]{1,9}) unique address(?:\(es\)|es|)\."
)

_PYTHON_CONNECTION = re.compile(
    rb"fact_(?:ext_)?s_0x[0-9a-fA-F]{1,32}L?: New connection from (\[scrubbed\]|[0-9a-fA-F:.]{2,45}):([0-9]{1,5})\."
)
_PYTHON_STARTED = re.compile(rb"[A-Za-z]{1,32} \(version: [ -~]{1,300}\) starting up\.")
_PYTHON_STOPPED = re.compile(rb"Received SIG[A-Z]{1,8}, shutting down\.|Main loop terminated\.")

_GO_CONNECTION = re.compile(
    _NAME + rb"\(" + _CLIENT + rb"\) - (?:(new connection)|handshake failed: .*|failed to connect to ORPort: .*)",
    re.DOTALL,
)
_GO_RUN = re.compile(rb"[!-~]{1,300} - (?:(launched)|terminated)")


def read_c_message(message: bytes) -> Event | None:
    """Read what C obfsproxy said, behind the severity."""
    start = message[:1]
    if b"0" <= start <= b"9" or start == b"[":
        return _read_c_client(message)
    if start == b"H":
        return _read_heartbeat(message)
    if not message:
        return Unsaid()
    refused = _C_REFUSED.fullmatch(message)
    if refused is not None:
        return Refused(_shown(refused[1]))
    if _C_STARTED.fullmatch(message):
        return Started()
    return Stopped() if _C_STOPPED.fullmatch(message) else None


def read_python_message(message: bytes) -> Event | None:
    """Read what Python obfsproxy said, behind the severity."""
    found = _PYTHON_CONNECTION.fullmatch(message)
    if found is not None:
        host, port = found[1], _port(found[2])
        address = None if host == _SCRUBBED else _pack(host)
        is_good = port is not None and (address is not None or host == _SCRUBBED)
        return Connection(address, port, None) if is_good else None
    if _PYTHON_STARTED.fullmatch(message):
        return Started()
    return Stopped() if _PYTHON_STOPPED.fullmatch(message) else _read_heartbeat(message)


def read_go_message(message: bytes) -> Event | None:
    """Read what obfs4proxy or lyrebird said, behind the severity."""
    found = _GO_CONNECTION.fullmatch(message)
    if found is not None:
        name, host, port, is_new = found.groups()
        client = _client(host, port)
        if client is None or not is_transport_name(name.decode()):
            return None
        return Connection(*client, name.decode()) if is_new else Failed(*client)
    found = _GO_RUN.fullmatch(message)
    if found is None:
        return None
    return Started() if found[1] else Stopped()


def _read_c_client(message: bytes) -> Event | None:
    """Read what begins with a client's address."""
    found = _C_CONNECTION.fullmatch(message)
    if found is None:
        found = _C_FAILED.fullmatch(message)
        client = None if found is None else _client(found[1], found[2])
        return None if client is None else Failed(*client)
    host, port, name, tried, reached = found.groups()
    client, destination = _client(host, port), tried or reached
    if client is None or not is_transport_name(name.decode()):
        return None
    if host.startswith(_LOOPBACK) and destination.startswith(_ADDRESS) and not destination.startswith(_ON_MACHINE):
        # The machine's own tor goes out through it, to somebody else's bridge.
        return None
    return Connection(*client, name.decode(), _shown(destination))


def _read_heartbeat(message: bytes) -> Heartbeat | None:
    found = _HEARTBEAT.fullmatch(message)
    return None if found is None else Heartbeat(int(found[1]), int(found[2]), int(found[3]))


def _client(host: bytes, port: bytes | None) -> tuple[bytes | None, int | None] | None:
    """Read a client's address and port; None where they are not even badly written ones."""
    if port is None:
        return (None, None) if host == _SCRUBBED else None
    number = _port(port)
    if number is None:
        return None
    if host.startswith(b"["):
        # C obfsproxy wrote IPv6 wrongly: what cannot be read is somebody nonetheless.
        return (_pack(host[1:-1].partition(b"%")[0]) if b":" in host else None), number
    address = _pack(host)
    return None if address is None else (address, number)


def _port(text: bytes) -> int | None:
    number = int(text)
    return number if number <= 0xFFFF else None


def _pack(host: bytes) -> bytes | None:
    """Pack an address as the statistics log does; None where the text is none."""
    try:
        if b":" not in host:
            return inet_pton(AF_INET, host.decode("ascii"))
        packed = inet_pton(AF_INET6, host.decode("ascii"))
    except (OSError, ValueError):
        return None
    return packed[12:] if packed.startswith(_MAPPED) else packed


def _shown(destination: bytes) -> bytes | None:
    return None if destination == _SCRUBBED else destination
