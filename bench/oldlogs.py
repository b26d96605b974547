"""Logs as the old programs wrote them on a very busy bridge, of any length; for measurements only.

C obfsproxy logs two or three lines for each client at the severity info, some of them errors, and a heartbeat every
hour. obfs4proxy logs two lines for each; one client of ten is a probe whose handshake fails. Every day has clients of
its own, each of which connects a dozen times; half of the connections are from recent clients. The program is started
once a week. The same arguments give the same bytes.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

DAYS = 10
CONNECTIONS_OF_A_CLIENT = 12

_FIRST = datetime(2012, 3, 6, 7, 22, 41)  # noqa: DTZ001 - the programs' times are local ones
_RECENT = 2_000
_RUN = 7
_SEED = 5047
_AT_ONCE = 10_000


class LogStyle(NamedTuple):
    """The lines of a program.

    Attributes:
        time: the form of its times, for strftime.
        started: the line of its start.
        stopped: the line of its stop.
        heartbeat: its heartbeat; empty if it has none.
        lines: the lines of one connection, each kind with its share of the connections.
    """

    time: str
    started: str
    stopped: str
    heartbeat: str
    lines: Sequence[tuple[float, str]]


_C_NEW = "{time} [info] {client} (obfs2): Successful outbound connection to '127.0.0.1:15901'.\n"
_GO_NEW = "{time} [INFO]: obfs4({client}) - new connection\n"

OBFSPROXY = LogStyle(
    "%Y-%m-%d %H:%M:%S",
    "{time} [notice] Starting (obfsproxy version: 0.1.4 (git-0123456789abcdef)).\n",
    "{time} [notice] Exiting.\n",
    "{time} [notice] Heartbeat: During the last {hours} hour(s) we saw {seen} connection(s) from {seen} unique "
    "address(es).\n",
    [
        (0.80, _C_NEW + "{time} [info] EOF from {client}\n"),
        (0.10, _C_NEW + "{time} [info] EOF from 127.0.0.1:15901\n"),
        (0.07, _C_NEW + "{time} [info] Error talking to {client}: Connection reset by peer\n"),
        (0.02, _C_NEW + "{time} [info] Timeout talking to {client}\n"),
        (0.01, "{time} [warn] {client}: protocol error\n{time} [info] EOF from {client}\n"),
    ],
)
OBFS4PROXY = LogStyle(
    "%Y/%m/%d %H:%M:%S",
    "{time} [NOTICE]: obfs4proxy-0.0.14 - launched\n",
    "{time} [NOTICE]: obfs4proxy - terminated\n",
    "",
    [
        (0.75, _GO_NEW + "{time} [INFO]: obfs4({client}) - closed connection\n"),
        (0.15, _GO_NEW + "{time} [WARN]: obfs4({client}) - closed connection: read tcp: connection reset by peer\n"),
        (0.08, _GO_NEW + "{time} [WARN]: obfs4({client}) - handshake failed: EOF\n"),
        (0.02, _GO_NEW + "{time} [WARN]: obfs4({client}) - handshake failed: handshake: node ID not found\n"),
    ],
)


def write_log(path: Path, size: int, style: LogStyle, addresses: Sequence[str], *, days: int = DAYS) -> None:
    """Write one log.

    Args:
        path: the file.
        size: its approximate size in bytes.
        style: the program that wrote it.
        addresses: the addresses of all clients.
        days: how many days it covers.
    """
    random = Random(_SEED)
    with path.open("w", encoding="ascii", buffering=1 << 20) as log:
        for day in range(days):
            if day % _RUN == 0:
                restart = style.stopped * (day > 0) + style.started
                log.write(restart.format(time=_time(day * 86_400, style)))
            for text in _day(random, style, addresses, day, size // days):
                log.write(text)
        log.write(style.stopped.format(time=_time(days * 86_400, style)))


def _day(random: Random, style: LogStyle, addresses: Sequence[str], day: int, size: int) -> Iterator[str]:
    """Write one day's lines."""
    write = [_writer(lines) for _, lines in style.lines]
    shares = [share for share, _ in style.lines]
    sizes = [len(lines.replace("{time}", "x" * 19).replace("{client}", "x" * 20)) for _, lines in style.lines]
    connections = int(size / sum(share * length for share, length in zip(shares, sizes, strict=True)))
    clients = random.choices(addresses, k=connections // CONNECTIONS_OF_A_CLIENT)
    recent = random.choices(clients, k=_RECENT)
    hour = 0
    for begin in range(0, connections, _AT_ONCE):
        number = min(_AT_ONCE, connections - begin)
        connecting = random.choices(clients, k=number)
        kinds = random.choices(write, shares, k=number)
        texts = []
        for index in range(number):
            seconds = (begin + index) * 86_000 // connections
            if seconds // 3600 > hour:
                hour = seconds // 3600
                texts.append(style.heartbeat.format(time=_time(day * 86_400 + seconds, style), hours=hour, seen=begin))
            if random.random() < 0.5:
                client = recent[int(random.random() * _RECENT)]
            else:
                client = recent[(begin + index) % _RECENT] = connecting[index]
            port = 1024 + int(random.random() * 64_000)
            texts.append(kinds[index](_time(day * 86_400 + seconds, style), f"{client}:{port}"))
        yield "".join(texts)


def _writer(lines: str) -> Callable[[str, str], str]:
    """Make a function that writes a connection's lines; faster than formatting the template each time."""
    parts = lines.replace("{client}", "{time}\0").split("{time}")

    def write(time: str, client: str) -> str:
        return "".join([parts[0], *(client + part[1:] if part[:1] == "\0" else time + part for part in parts[1:])])

    return write


_times: dict[tuple[int, str], str] = {}


def _time(seconds: int, style: LogStyle) -> str:
    """Write a time, given in seconds after the first."""
    key = seconds, style.time
    if key not in _times:
        _times.clear()
        _times[key] = (_FIRST + timedelta(seconds=seconds)).strftime(style.time)
    return _times[key]
