"""Two readers of the old programs' logs. Each is run as a program of its own, so that it can be measured from outside.

    python -m bench.old_readers ours|literal LOG SECONDS

Ours is what `obfstats log2stats` calls. The literal one does what the script of ticket 5047 (comment 1) did: it tries
one regular expression after the other on each line, and keeps the interval's addresses in a list until they are
counted. It hashes nothing, and knows only the lines of the measured logs. Both print the same: the start of each
complete interval, and its requests and addresses by country. The file SECONDS gets the processor time from the first
byte of the log on, without starting Python and loading the countries.
"""

from __future__ import annotations

import re
import sys
import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from socket import inet_aton
from typing import TYPE_CHECKING

from bench.clients import need_geoip
from obfstats.publish.logfiles import find
from obfstats.publish.oldlogs.clients import CountingContext
from obfstats.publish.oldlogs.log2stats import count_old_logs
from obfstats.record.countries import Countries
from obfstats.record.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIME = r"(\d{4}[-/]\d\d[-/]\d\d \d\d:\d\d:\d\d) "
_LINES = {
    "start": re.compile(_TIME + r"\[(?:notice|NOTICE)\]:? (?:Starting.*\.|.* - launched)$"),
    "stop": re.compile(_TIME + r"\[(?:notice|NOTICE)\]:? (?:Exiting\.|.* - terminated)$"),
    "connect": re.compile(
        _TIME + r"(?:\[info\] ([\d.]+:\d+) \([a-z0-9]+\): Successful outbound connection to '.*'\.$"
        r"|\[INFO\]: [a-z0-9]+\(([\d.]+:\d+)\) - new connection$)"
    ),
    "fail": re.compile(_TIME + r"\[WARN\]: [a-z0-9]+\(([\d.]+:\d+)\) - handshake failed: .*$"),
}
_DAY = timedelta(days=1)


def ours(path: Path, countries: Countries) -> None:
    """Read a log with our own reader."""
    secret = Secret()
    context = CountingContext(countries.v4, countries.v6, secret.renew, secret.hash_address)
    found = count_old_logs(find([str(path)]), context)
    for counts in found.intervals:
        _print(counts.interval.label, counts.requests, counts.addresses or {})


def literal(path: Path, countries: Countries) -> None:
    """Read a log as the ticket's script did."""
    start: datetime | None = None
    clients: list[str] = []
    with path.open() as log:
        for line in log:
            for kind, pattern in _LINES.items():
                found = pattern.match(line)
                if found is None:
                    continue
                moment = datetime.fromisoformat(found[1].replace("/", "-"))
                while start is not None and moment >= start + _DAY:
                    _write(start, clients, countries)
                    start, clients = start + _DAY, []
                if kind in {"start", "stop"}:
                    start, clients = (moment if kind == "start" else None), []
                elif kind == "connect" and start is not None:
                    clients.append(found[2] or found[3])
                elif found[2] in clients[-1_000:]:
                    del clients[len(clients) - 1 - clients[::-1].index(found[2])]
                break


def _write(start: datetime, clients: list[str], countries: Countries) -> None:
    """Count an interval's addresses."""
    hosts = [client.rpartition(":")[0] for client in clients]
    requests = Counter(countries.v4(inet_aton(host)) for host in hosts)
    addresses = Counter(countries.v4(inet_aton(host)) for host in set(hosts))
    _print(start.isoformat(" "), requests, addresses)


def _print(start: str, requests: Mapping[str, int], addresses: Mapping[str, int]) -> None:
    if requests:
        sys.stdout.write(f"{start} {sorted(requests.items())} {sorted(addresses.items())}\n")


READERS = {"ours": ours, "literal": literal}

if __name__ == "__main__":
    opened = Countries.open(geoip=need_geoip())
    before = time.process_time()
    READERS[sys.argv[1]](Path(sys.argv[2]), opened)
    Path(sys.argv[3]).write_text(str(time.process_time() - before))
