"""The plainest reader of old logs: it keeps every address as text and does not try to be fast.

It reads what the strategy in oldlogs.py writes, and no more: that has no heartbeats, and no clocks that are set back.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from obfstats.formats.counts import Pairs
from tests.publish.numbers import Numbers
from tests.publish.oldlogs import DAY, country, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_Connected = tuple[str, str, str, str]


def naive(log: str) -> list[Numbers]:
    """Count a log that the strategy wrote."""
    reader = _Naive()
    for line in log.split("\n"):
        reader.read(line)
    return reader.finish()


_LINE = re.compile(r"(\d{4})[-/](\d\d)[-/](\d\d) (\d\d):(\d\d):(\d\d)(?:,\d+)? \[\w+\]:? (.*)")


class _Naive:
    """The state of the plainest reader; connections are address, port, transport and destination."""

    def __init__(self) -> None:
        self._latest = 0
        self._is_message_empty = False
        self._is_stopped = False
        self._start: int | None = None
        self._connections: list[_Connected] = []
        self._closed: list[tuple[int, list[_Connected]]] = []

    def read(self, line: str) -> None:
        """Read a line."""
        found = _LINE.match(line)
        was_message_empty, self._is_message_empty = self._is_message_empty, False
        if found is None:
            if was_message_empty and line == "Starting.":
                self._begin()
            return
        *moment, message = found.groups()
        self._latest = max(self._latest, int(datetime(*map(int, moment), tzinfo=UTC).timestamp()))  # type: ignore[misc,arg-type]
        self._is_message_empty = message == ""
        if message == "Starting." or message.endswith("launched"):
            self._begin()
            return
        while self._start is not None and self._latest >= self._start + DAY:
            self._close()
            self._start += DAY
        if message == "Exiting." or message.endswith("terminated"):
            self._start, self._connections, self._is_stopped = None, [], True
        elif "refused" in message:
            self._revoke(lambda one: one[3] == "127.0.0.1:15901")
        elif "failed" in message:
            client, port = re.search(r"(?:^|\()([^ ()]+):(\d+)[:)]", message).groups()  # type: ignore[union-attr]
            self._revoke(lambda one: one[:2] == (client.strip("[]"), port))
        elif "new connection" in message:
            name, client, port = re.match(r"(\w+)\((.*):(\d+)\)", message).groups()  # type: ignore[union-attr]
            self._connect(client.strip("[]"), port, name, "")
        elif "New connection" in message:
            client, port = message.rstrip(".").split(" from ")[1].rsplit(":", 1)
            self._connect(client, port, "", "")
        elif "Successful" in message:
            client, port, name, to = re.match(r"(.*?)(?::(\d+))? \((.*)\): .*'(.*)'", message).groups()  # type: ignore[union-attr]
            self._connect(client.strip("[]"), port or "", name, to)

    def _connect(self, client: str, port: str, name: str, destination: str) -> None:
        if not self._is_stopped:
            if self._start is None:
                self._start = self._latest
            self._connections.append((client, port, name, destination))

    def _revoke(self, is_it: Callable[[_Connected], bool]) -> None:
        for index in reversed(range(len(self._connections))):
            if is_it(self._connections[index]):
                del self._connections[index]
                return

    def _begin(self) -> None:
        if self._start is not None and self._latest >= self._start + DAY:
            self._close()
        self._start, self._connections, self._is_stopped = self._latest, [], False

    def _close(self) -> None:
        assert self._start is not None
        if self._connections:
            self._closed.append((self._start, self._connections))
        self._connections = []

    def finish(self) -> list[Numbers]:
        """Give the complete intervals."""
        return [self._numbers(start, connections) for start, connections in self._closed]

    def _numbers(self, start: int, connections: list[_Connected]) -> Numbers:
        clients = [(client, name) for client, _, name, _ in connections]
        known = {client for client, _ in clients if client != "scrubbed"}
        is_whole = all(client != "scrubbed" for client, _ in clients)
        names = is_whole and all(name for _, name in clients)
        pairs = set(clients) if names else {(client, "") for client in known}
        if not known:
            return Numbers(text(start), _of(clients))
        transports = Counter(name for _, name in pairs)
        return Numbers(
            text(start), _of(clients), lines=_of(set(clients)) if is_whole else _of((client, "") for client in known),
            addresses=_of((client, "") for client in known),
            families=_families(known) if is_whole else None,
            transports=transports if names else None,
            country_transports=Counter((_country(client), name) for client, name in pairs) if names else None,
            pairs=Pairs(_of(pairs), _families([client for client, _ in pairs]) if is_whole else None,
                        transports if names else None),
        )  # fmt: skip


def _country(client: str) -> str:
    return "??" if client == "scrubbed" else country(bytes((int(re.split(r"[.:]", client)[-1]),)))


def _of(clients: Iterable[tuple[str, str]]) -> Counter[str]:
    return Counter(_country(client) for client, _ in clients)


def _families(clients: Iterable[str]) -> Counter[str]:
    return Counter("v6" if ":" in client else "v4" for client in clients)
