"""One query, three engines: Tor Metrics' estimate on DuckDB, on pysail, and on a real Spark, all on this machine.

Spark is the pyspark package with this machine's Java. It is large and not in the lock file: the first run installs
it into a virtual environment of its own below ~/.cache/obfstats. Broadcast joins are off, as engine.py sets it.

The sums must have the same rows and agree to 1e-9 before anything is rounded. Times are of the queries: the engine has
started. Processor time and memory are of the server and, without its memory, of this process.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.archive_store import CELLS, FIRST_DAY, write_archive
from bench.process import cpu_seconds
from bench.report import BrokenError, MissingError, describe_machine, main, progress
from obfstats.analyse.engine import DuckDbEngine, SparkEngine
from obfstats.analyse.ingest import ingest
from obfstats.analyse.published_sums import sum_responses
from obfstats.analyse.store import Store
from peers.child import Child
from peers.sail import sail_server
from peers.sums import AGREEMENT, largest_difference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from obfstats.analyse.engine import Engine
    from obfstats.analyse.published_sums import PublishedSums

_ROOT = Path(__file__).parents[1]
_GOLDEN = _ROOT / "tests" / "analyse" / "golden" / "descriptors.tar.xz"
_SPARK = version("pyspark-client")
"""Spark's server is of the same version as its client, which the lock file names."""
_START_SECONDS = 120
_DRIVER_MEMORY = "8g"


class Size(NamedTuple):
    """An archive."""

    bridges: int
    days: int


class Computed(NamedTuple):
    """What an engine computed, and what that took."""

    sums: PublishedSums
    seconds: float
    processor: float
    memory: int | None


def measure(sizes: tuple[Size, ...]) -> str:
    """Run golden's archive and each size on all engines, and write the table."""
    rows: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        archives = list(_archives(folder, sizes))
        first: dict[str, PublishedSums] = {}
        for engine_name, start in (("DuckDB", _duckdb), ("pysail", _pysail), ("Spark", _spark)):
            # One after the other: Spark's client mixes up the sessions of two servers.
            with start(folder) as (engine, server):
                for title, store, days in archives:
                    progress(f"{engine_name}: {title}")
                    computed = _compute(engine, server, store, days)
                    difference = largest_difference(first.setdefault(title, computed.sums), computed.sums)
                    if difference > AGREEMENT:
                        raise BrokenError(f"{engine_name} differs by {difference}")
                    rows.setdefault(title, []).append(_row(title, engine_name, computed, difference))
    lines = ["| archive | engine | s | CPU s | MiB of the server | largest difference |", "|---|---|---|---|---|---|"]
    versions = f"DuckDB {version('duckdb')}", f"pysail {version('pysail')}", f"Spark {_SPARK}, Java {_java_version()}"
    return "\n".join([describe_machine(*versions), "", *lines, *chain.from_iterable(rows.values())])


@contextmanager
def _duckdb(folder: Path) -> Iterator[tuple[Engine, None]]:
    engine = DuckDbEngine(folder / "temporary")
    yield engine, None
    engine.close()


@contextmanager
def _pysail(folder: Path) -> Iterator[tuple[Engine, Child]]:
    with sail_server(folder / "pysail") as (server, url):
        engine = SparkEngine(url)
        yield engine, server
        engine.close()


@contextmanager
def _spark(folder: Path) -> Iterator[tuple[Engine, Child]]:
    with spark_server(folder) as (server, url):
        engine = SparkEngine(url)
        yield engine, server
        engine.close()


def _archives(folder: Path, sizes: tuple[Size, ...]) -> Iterator[tuple[str, Store, range]]:
    golden = Store(folder / "golden")
    ingest([_GOLDEN], golden, workers=1, advance=lambda _: None)
    yield "golden", golden, range(golden.days()[0], golden.days()[-1] + 1)
    for bridges, days in sizes:
        title = f"{bridges:,} bridges, {days} days, {bridges * days * CELLS / 1e6:.1f} million cells"
        progress(f"writing {title}")
        store = write_archive(folder / f"store-{bridges}-{days}", bridges, days)
        yield title, store, range(FIRST_DAY, FIRST_DAY + days)


def _compute(engine: Engine, server: Child | None, store: Store, days: range) -> Computed:
    """Compute the sums; `server` is the engine's process, None if it is this one."""

    def used() -> float:
        return time.process_time() + (cpu_seconds(server.pid) if server else 0)

    begin, before = time.perf_counter(), used()
    sums = sum_responses(engine, store, days)
    memory = _peak_mebibytes(server.pid) if server else None
    return Computed(sums, time.perf_counter() - begin, used() - before, memory)


def _row(title: str, name: str, computed: Computed, difference: float) -> str:
    memory = "" if computed.memory is None else f"{computed.memory:,}"
    cells = [title, name, f"{computed.seconds:.1f}", f"{computed.processor:.1f}", memory, f"{difference:.1g}"]
    return f"| {' | '.join(cells)} |"


def _peak_mebibytes(pid: int) -> int:
    """The most memory that a process has had."""
    found = re.search(r"^VmHWM:\s+([0-9]+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) // 1024 if found else 0


@contextmanager
def spark_server(folder: Path) -> Iterator[tuple[Child, str]]:
    """Run Spark on this machine's cores with a Spark Connect server on the loopback interface."""
    home = _install_spark()
    settings = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.local.dir": str(folder),
        "spark.sql.shuffle.partitions": str(2 * (os.cpu_count() or 1)),
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": "0",
    }
    jar = next((home / "jars").glob("spark-connect_*.jar"))
    command = [str(home / "bin" / "spark-submit"), "--master", "local[*]", "--driver-memory", _DRIVER_MEMORY]
    command += [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
    command += ["--class", "org.apache.spark.sql.connect.service.SparkConnectServer", str(jar)]
    with Child(command, environment={"SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1"}) as server:
        found = server.wait_for_line("stderr", r"Spark Connect server started at: .*:([0-9]+)$", _START_SECONDS)
        yield server, f"sc://127.0.0.1:{found[1]}"


def _install_spark() -> Path:
    """Install Spark where it is not yet; give its home."""
    if shutil.which("java") is None:
        raise MissingError("java is not installed: apt-get install openjdk-17-jre-headless")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "obfstats" / f"spark-{_SPARK}"
    done = folder / "installed"
    python = folder / "bin" / "python"
    if not done.exists():
        progress(f"installing Spark into {folder}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"pyspark=={_SPARK}"], check=True)
        done.touch()
    found = subprocess.run(
        [python, "-c", "import pyspark; print(pyspark.__path__[0])"], check=True, capture_output=True, text=True
    )
    return Path(found.stdout.strip())


def _java_version() -> str:
    found = subprocess.run(["java", "-version"], check=True, capture_output=True, text=True)
    return found.stderr.partition("\n")[0].split('"')[1]


if __name__ == "__main__":
    sys.exit(main("spark", measure, (Size(2_000, 91), Size(2_000, 365)), (Size(200, 30),)))
