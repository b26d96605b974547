"""One line of an old program's log: C obfsproxy, Python obfsproxy, obfs4proxy, lyrebird (ticket 5047, comment 1).

    2012-03-06 07:22:39 [info] 192.0.2.7:42963 (obfs2): Successful outbound connection to '127.0.0.1:15901'.
    2014-07-22 07:21:27,480 [DEBUG] fact_s_0x7f2e36b521e0: New connection from 192.0.2.7:54639.
    2026/11/22 12:23:55 [INFO]: obfs4(192.0.2.7:42730) - new connection

The date and the severity tell which program wrote a line; its message is parsed by that program's grammar. Rules:

- Bytes go in, values come out. An unknown line is not an error: it has no event.
- A time is what the machine's local clock showed. The programs never wrote its zone.
- Lines from before 2012-02-10 have no time. They are parsed too, so that the operator can be told about them.
- A few builds of C obfsproxy split the line of a start: the first half has a time and an empty message, the second half
  is `Starting.`.
- A line longer than `LONGEST_LINE` was written by none of these programs. Every pattern matches in linear time.
- A client's own proxy logs connections too. Those of C obfsproxy have no event (`socks:`, and connections from the
  machine itself to another machine). Python obfsproxy and obfs4proxy log the mode of a run once, after its start
  (`RunMode`); in client mode Python obfsproxy, and obfs4proxy up to 0.0.4, log connections in the bridge's words.
- C obfsproxy's `new connection from` has no event: the client is logged again when the connection to tor is opened.
- C obfsproxy logs `Successful outbound connection` when the connect begins. If tor then refuses it, the next line names
  tor's address, not the client's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from obfstats.formats.address import pack_address
from obfstats.formats.logline import MAX_TRANSPORT_LENGTH, is_transport_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LONGEST_LINE = 4096
"""Bytes of the longest line that is parsed. The programs cut theirs near 1022."""


@dataclass(frozen=True, slots=True)
class ProgramStarted:
    """The program started."""


@dataclass(frozen=True, slots=True)
class RunMode:
    """The program says in which mode it runs.

    Attributes:
        is_client: whether it is a client's proxy, and no bridge.
    """

    is_client: bool


@dataclass(frozen=True, slots=True)
class ProgramStopped:
    """The program accepts no more connections."""


@dataclass(frozen=True, slots=True)
class EmptyMessage:
    """A time and a severity without a message: the next line may hold the second half of a start."""


@dataclass(slots=True)
class ClientConnected:
    """A client connected. Not frozen, and neither is `ClientFailed`: a frozen one takes twice as long to build.

    Attributes:
        address: 4 bytes for IPv4 and for IPv4-mapped IPv6, else 16; None if scrubbed or malformed.
        port: the client's; None if scrubbed.
        transport: its name; None if the program does not log it.
        destination: tor's address and port as written, `[scrubbed]` if scrubbed; None if not logged.
    """

    address: bytes | None = field(repr=False)
    port: int | None = field(repr=False)
    transport: str | None
    destination: bytes | None = field(default=None, repr=False)


@dataclass(slots=True)
class ClientFailed:
    """A client's connection failed: its handshake, or the connection to tor.

    Attributes:
        address: as in ClientConnected.
        port: as in ClientConnected.
    """

    address: bytes | None = field(repr=False)
    port: int | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class DestinationRefused:
    """A client's connection was refused at its destination; the line does not name the client.

    Attributes:
        destination: as in ClientConnected.
    """

    destination: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class HeartbeatTotals:
    """What the program counted since it started or last reset its counters.

    Attributes:
        hours: length of that time, rounded down.
        connections: how many there were.
        addresses: how many different client addresses.
    """

    hours: int
    connections: int
    addresses: int


OldLogEvent = (
    ProgramStarted
    | RunMode
    | ProgramStopped
    | EmptyMessage
    | ClientConnected
    | ClientFailed
    | DestinationRefused
    | HeartbeatTotals
)

OldLogLine: TypeAlias = tuple[int | None, OldLogEvent | None]
"""One parsed line.

Its time on the machine's clock, in seconds since 1970-01-01 00:00:00 on that clock; None if it has no time or an
invalid one. And what happened; None if the line has no meaning here.
"""


def parse_oldlog_line(line: bytes) -> OldLogLine:
    r"""Parse one line.

    Args:
        line: its bytes without `\n`; it may end with `\r`.
    """
    if len(line) > LONGEST_LINE:
        return _UNKNOWN_LINE
    text = line.removesuffix(b"\r")
    minute = _parse_minute(text[:17])
    second = _SECONDS.get(text[17:19])
    if minute is None or second is None:
        return _parse_line_without_time(text)
    start, parsers = minute
    if text[19:20] == b" ":
        severity, _, message = text[20:].partition(b" ")
        parse_message = parsers.get(severity)
    elif parsers is _C_PARSERS and (found := _PYTHON_SEVERITY.match(text, 19)):
        message, parse_message = text[found.end() :], _parse_python_message
    else:
        return _UNKNOWN_LINE
    if parse_message is None:
        return _UNKNOWN_LINE
    return None if start is None else start + second, parse_message(message)


_UNKNOWN_LINE: OldLogLine = None, None


def _parse_line_without_time(text: bytes) -> OldLogLine:
    if text == b"Starting.":
        return None, ProgramStarted()
    severity, _, message = text.partition(b" ")
    return (None, _parse_c_message(message)) if severity in _C_PARSERS else _UNKNOWN_LINE


# Times


_Minute: TypeAlias = "tuple[int | None, Mapping[bytes, Callable[[bytes], OldLogEvent | None]]]"
"""The minute of a line's time.

Its start in seconds since 1970; None if the calendar has no such day. And the parsers for messages of the programs that
write dates in this form, by the word of the severity.
"""

_MINUTE = re.compile(rb"[0-9]{4}([-/])[0-9]{2}\1[0-9]{2} (?:[01][0-9]|2[0-3]):[0-5][0-9]:")
_SECONDS = {b"%02d" % second: second for second in range(60)}


@lru_cache(maxsize=1000)
def _parse_minute(text: bytes) -> _Minute | None:
    """Parse `YYYY-MM-DD HH:MM:` or `YYYY/MM/DD HH:MM:`; None if it is neither."""
    found = _MINUTE.fullmatch(text)
    if found is None:
        return None
    parsers = _C_PARSERS if found[1] == b"-" else _GO_PARSERS
    try:
        day = date(int(text[:4]), int(text[5:7]), int(text[8:10])).toordinal() - _FIRST_DAY
    except ValueError:
        return None, parsers
    return day * 86_400 + int(text[11:13]) * 3600 + int(text[14:16]) * 60, parsers


_FIRST_DAY = date(1970, 1, 1).toordinal()

# Messages

_SCRUBBED = b"[scrubbed]"
_LOOPBACK = (b"127.", b"[::1]")
_ADDRESS_STARTS = (*(b"%d" % digit for digit in range(10)), b"[")

# Only a scrubbed address may lack its port.
_CLIENT = rb"(\[scrubbed\]|[0-9.]{7,15}|\[[^\]]{0,64}\])(?::([0-9]{1,5}))?"
_NAME = rb"([A-Za-z_][A-Za-z0-9_]{0,%d})" % (MAX_TRANSPORT_LENGTH - 1)

_C_SILENT = (b"EOF from ", b"Timeout talking to ")
_C_CONNECTED = re.compile(
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

_PYTHON_SEVERITY = re.compile(rb",[0-9]{3} \[[A-Z]{1,16}\] ")
_PYTHON_CONNECTED = re.compile(
    rb"fact_(?:ext_)?s_0x[0-9a-fA-F]{1,32}L?: New connection from (\[scrubbed\]|[0-9a-fA-F:.]{2,45}):([0-9]{1,5})\."
)
_PYTHON_STARTED = re.compile(rb"[A-Za-z]{1,32} \(version: [ -~]{1,300}\) starting up\.")
_PYTHON_MODE = re.compile(
    rb"Entering (client|server) managed-mode\."
    rb"|Launched '(client|socks|server|ext_server)' listener at '[ -~]{1,300}' for transport '[!-~]{1,100}'\."
)
_PYTHON_STOPPED = re.compile(rb"Received SIG[A-Z]{1,8}, shutting down\.|Main loop terminated\.")

_GO_CLIENT = re.compile(_NAME + rb"\(" + _CLIENT)
_GO_FAILED = (b"handshake failed: ", b"failed to connect to ORPort: ")
_GO_RUN = re.compile(rb"[!-~]{1,300} - (?:(launched)|terminated)")
_GO_MODE = re.compile(rb"[ -~]{1,300} - initializing (client|server) transport listeners")


def _parse_c_message(message: bytes) -> OldLogEvent | None:
    if message.startswith(_C_SILENT):
        return None
    if message.startswith(_ADDRESS_STARTS):
        return _parse_c_client(message)
    if not message:
        return EmptyMessage()
    if refused := _C_REFUSED.fullmatch(message):
        return DestinationRefused(refused[1])
    if _C_STARTED.fullmatch(message):
        return ProgramStarted()
    return ProgramStopped() if _C_STOPPED.fullmatch(message) else _parse_heartbeat(message)


def _parse_c_client(message: bytes) -> OldLogEvent | None:
    """Parse a message that begins with a client's address."""
    found = _C_CONNECTED.fullmatch(message)
    if found is None:
        found = _C_FAILED.fullmatch(message)
        client = None if found is None else _parse_client(found[1], found[2])
        return None if client is None else ClientFailed(*client)
    host, port, name, tried, reached = found.groups()
    client, transport, destination = _parse_client(host, port), _parse_transport(name), tried or reached
    if client is None or transport is None:
        return None
    if host.startswith(_LOOPBACK) and _is_another_machine(destination):
        # This machine's own tor client goes through obfsproxy to another bridge.
        return None
    return ClientConnected(*client, transport, destination)


def _is_another_machine(destination: bytes) -> bool:
    return destination.startswith(_ADDRESS_STARTS) and not destination.startswith((*_LOOPBACK, _SCRUBBED))


def _parse_python_message(message: bytes) -> OldLogEvent | None:
    if found := _PYTHON_CONNECTED.fullmatch(message):
        host, port = found[1], _parse_port(found[2])
        address = None if host == _SCRUBBED else _pack(host)
        is_valid = port is not None and (address is not None or host == _SCRUBBED)
        return ClientConnected(address, port, None) if is_valid else None
    if _PYTHON_STARTED.fullmatch(message):
        return ProgramStarted()
    if mode := _PYTHON_MODE.fullmatch(message):
        return RunMode(is_client=(mode[1] or mode[2]) in (b"client", b"socks"))
    return ProgramStopped() if _PYTHON_STOPPED.fullmatch(message) else _parse_heartbeat(message)


def _parse_go_message(message: bytes) -> OldLogEvent | None:
    """Parse a message of obfs4proxy or lyrebird."""
    source, _, outcome = message.partition(b") - ")
    if not outcome:
        if mode := _GO_MODE.fullmatch(message):
            return RunMode(is_client=mode[1] == b"client")
        found = _GO_RUN.fullmatch(message)
        return None if found is None else ProgramStarted() if found[1] else ProgramStopped()
    is_new = outcome == b"new connection"
    if not is_new and not outcome.startswith(_GO_FAILED):
        return None
    found = _GO_CLIENT.fullmatch(source)
    if found is None:
        return None
    name, host, port = found.groups()
    client, transport = _parse_client(host, port), _parse_transport(name)
    if client is None or transport is None:
        return None
    return ClientConnected(*client, transport) if is_new else ClientFailed(*client)


def _parse_heartbeat(message: bytes) -> HeartbeatTotals | None:
    found = _HEARTBEAT.fullmatch(message)
    return None if found is None else HeartbeatTotals(int(found[1]), int(found[2]), int(found[3]))


_C_PARSERS = {b"[%b]" % word: _parse_c_message for word in (b"debug", b"info", b"notice", b"warn", b"error")}
_GO_PARSERS = {b"[%b]:" % word: _parse_go_message for word in (b"DEBUG", b"INFO", b"NOTICE", b"WARN", b"ERROR")}


def _parse_client(host: bytes, port: bytes | None) -> tuple[bytes | None, int | None] | None:
    """Parse a client's address and port; None if this is no client at all."""
    if port is None:
        return (None, None) if host == _SCRUBBED else None
    number = _parse_port(port)
    if number is None:
        return None
    if host.startswith(b"["):
        # C obfsproxy wrote IPv6 addresses wrongly: an address that cannot be parsed is still a client.
        return (_pack(host[1:-1]) if b":" in host else None), number
    address = _pack(host)
    return None if address is None else (address, number)


def _parse_port(text: bytes) -> int | None:
    number = int(text)
    return number if number <= 0xFFFF else None


@lru_cache(maxsize=100)
def _parse_transport(name: bytes) -> str | None:
    text = name.decode()
    return text if is_transport_name(text) else None


def _pack(host: bytes) -> bytes | None:
    """Pack an address; None if it is not an address."""
    try:
        return pack_address(host.decode("ascii"))
    except ValueError:
        return None
