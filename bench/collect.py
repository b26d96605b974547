"""The collector under load: documents a second that are durable, against the same service with its store switched off.

64 bridges at once send one document a request on connections that stay open. Requests are signed before, so the load
takes a tenth of a core; PostgreSQL runs beside the collector, and waits for the disk (fsync) as SQLite does.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.collect_load import Served, make_bridges, make_documents, make_request, send
from bench.process import cpu_seconds, resident_kib
from bench.report import (
    Comparison,
    MissingError,
    describe_machine,
    in_turn,
    progress,
    surroundings,
    table,
    warn_if_busy,
)
from obfstats.collect.store.database import open_database
from obfstats.collect.store.ledger import Ledger
from peers import postgresql
from peers.child import Child
from peers.program import OBFSTATS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bench.collect_load import Bridge

CONNECTIONS = 64
BRIDGES = 2000

MIN_RATE = 1500
MAX_P99 = 250
MAX_DAY = 60
"""The goals: documents a second, milliseconds, seconds for a day of all bridges."""

_STORELESS = (sys.executable, "-m", "bench.collect_storeless")
_ONE_DAY = 86_400
_STEP = 50_000
_WARM_UP = 500


class Plan(NamedTuple):
    """How much is measured."""

    rounds: int
    documents: int


class Figures(NamedTuple):
    """One round of one server.

    Attributes:
        rate: documents a second.
        p50: milliseconds that half of the requests took at most.
        p99: the same for 99 of 100.
        cpu: the server's processor time of a document in milliseconds.
    """

    rate: float
    p50: float
    p99: float
    cpu: float


class Collector:
    """A running collector, and documents that it does not have yet.

    Attributes:
        pid: its process.
    """

    def __init__(self, child: Child, bridges: Sequence[Bridge]) -> None:
        """Wait until it listens."""
        self.pid = child.pid
        match = child.wait_for_line("stdout", r"listening at .*:([0-9]+)")
        self._address = "127.0.0.1", int(match[1])
        self._documents = make_documents(bridges, int(time.time()))

    def load(self, count: int, *, reconnect: bool = False) -> Figures:
        """Send so many documents, one a request.

        Args:
            count: how many.
            reconnect: whether each has a connection of its own.
        """
        requests = [make_request(bridge, [text]) for bridge, text in islice(self._documents, count)]
        before = cpu_seconds(self.pid)
        served: Served = send(self._address, requests, CONNECTIONS, reconnect=reconnect)
        cpu = cpu_seconds(self.pid) - before
        return Figures(served.rate, served.percentile(50), served.percentile(99), cpu / count * 1000)


@contextmanager
def collector(
    folder: Path, bridges: Sequence[Bridge], *, database: str = "", command: Sequence[str] = (OBFSTATS,)
) -> Iterator[Collector]:
    """Run a collector that has admitted the bridges' keys.

    Args:
        folder: for its files.
        bridges: who sends.
        database: of its ledger; else SQLite's in the folder.
        command: the program.
    """
    folder.mkdir()
    url = database or str(folder / "ledger.sqlite")
    with closing(open_database(url)) as opened:
        ledger = Ledger(opened)
        for bridge in bridges:
            ledger.admit(bridge.key.public, [])
    argv = [*command, "collect", "serve", "--dir", str(folder), "--database", url, "--listen", "127.0.0.1:0"]
    with Child([*argv, "--publish-every", str(_ONE_DAY)]) as child:
        running = Collector(child, bridges)
        running.load(_WARM_UP)
        yield running


def measure(plan: Plan) -> str:
    """Measure everything, and give the tables."""
    need_postgresql()
    bridges = make_bridges(BRIDGES)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        database = stack.enter_context(postgresql.server(sync=True)).create_database()
        storeless = stack.enter_context(collector(folder / "none", bridges, command=_STORELESS))
        stores = {
            "SQLite": stack.enter_context(collector(folder / "sqlite", bridges)),
            "PostgreSQL": stack.enter_context(collector(folder / "pg", bridges, database=database)),
        }
        rows, figures, days = [], {}, {}
        for name, running in stores.items():
            progress(f"{name}: {plan.rounds} rounds of {plan.documents:,} documents")
            ours, peer = in_turn(
                plan.rounds, partial(running.load, plan.documents), partial(storeless.load, plan.documents)
            )
            figures[name] = ours
            days[name] = BRIDGES / running.load(BRIDGES, reconnect=True).rate
            rows += [
                Comparison(
                    f"{name}: documents a second", 0.7, 0, more_is_better=True,
                    ours=[each.rate for each in ours], peer=[each.rate for each in peer],
                ),
                Comparison(
                    f"{name}: the server's CPU ms of a document", None, 3,
                    ours=[each.cpu for each in ours], peer=[each.cpu for each in peer],
                ),
            ]  # fmt: skip
    return "\n".join(
        [
            surroundings(f"{CONNECTIONS} connections"),
            table("durable", "store switched off", rows),
            _absolute(figures, days),
        ]
    )


def need_postgresql() -> None:
    """Check that Debian's package is there.

    Raises:
        MissingError: if it is not.
    """
    if not postgresql.FOLDER.exists():
        raise MissingError("PostgreSQL is missing: apt-get install postgresql")


def _absolute(figures: dict[str, list[Figures]], days: dict[str, float]) -> str:
    lines = ["", f"| measure | {' | '.join(figures)} | goal | met |", f"|---|{'---|' * len(figures)}---|---|"]

    def add(measure: str, values: Iterable[float], goal: str = "", *, is_met: bool | None = None) -> None:
        met = "" if is_met is None else "yes" if is_met else "**no**"
        lines.append(f"| {measure} | {' | '.join(f'{value:,.1f}' for value in values)} | {goal} | {met} |")

    def medians(attribute: str) -> list[float]:
        return [statistics.median(getattr(each, attribute) for each in rounds) for rounds in figures.values()]

    rates, p50, p99 = medians("rate"), medians("p50"), medians("p99")
    add("documents a second", rates, f"at least {MIN_RATE:,}", is_met=min(rates) >= MIN_RATE)
    add("half of the requests take at most, ms", p50)
    add("99 of 100 take at most, ms", p99, str(MAX_P99), is_met=max(p99) <= MAX_P99)
    longest = max(days.values())
    add(f"a day of {BRIDGES:,} bridges, a connection each, s", days.values(), str(MAX_DAY), is_met=longest <= MAX_DAY)
    return "\n".join(lines)


def measure_million(count: int) -> str:
    """Send so many documents to a collector with SQLite; give its memory on the way."""
    bridges = make_bridges(BRIDGES)
    lines = [
        describe_machine(),
        "",
        "| documents | a second | 99 of 100 take at most, ms | memory, MiB |",
        "|---|---|---|---|",
    ]
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as name,
        collector(Path(name) / "sqlite", bridges) as running,
    ):
        for sent in range(_STEP, count + 1, _STEP):
            figures = running.load(_STEP)
            memory = resident_kib(running.pid) / 1024
            lines.append(f"| {sent:,} | {figures.rate:,.0f} | {figures.p99:.0f} | {memory:.1f} |")
            progress(lines[-1])
    return "\n".join(lines)


def main() -> int:
    """Run it as a program; gives its exit status."""
    parser = argparse.ArgumentParser(prog="bench.collect")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: rougher figures")
    parser.add_argument(
        "--million", action="store_true", help="only the memory of a collector that takes a million documents"
    )
    arguments = parser.parse_args()
    warn_if_busy()
    try:
        if arguments.million:
            text = measure_million(1_000_000)
        else:
            text = measure(Plan(3, 4_000) if arguments.quick else Plan(5, 10_000))
    except MissingError as error:
        sys.stderr.write(f"bench: {error}\n")
        return 2
    sys.stdout.write(f"{text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
