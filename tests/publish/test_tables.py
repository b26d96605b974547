"""The contract: the tables are those of the ticket's own shell pipeline, byte for byte."""

from __future__ import annotations

import io
import tempfile
from contextlib import redirect_stdout
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from obfstats import cli
from obfstats.publish import simple
from peers.converters import CONVERTERS
from tests.publish.logs import line, logs
from tests.publish.programs import convert, run_pipeline

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NO_ROWS = b"Daily rounded total requests by country\nDaily rounded unique IPs by country\n"

# Hypothesis would run the pipeline for minutes to make a failing batch smaller. Instead, a batch's logs are checked in
# the order of their sizes.
batches = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)


def made_by_simple(*paths: Path) -> bytes:
    """The simple script's tables, without starting a program."""
    out = io.BytesIO()
    warnings: list[str] = []
    status = simple.convert([str(path) for path in paths], take_all=False, now=NOW, out=out, warn=warnings.append)
    assert (status, warnings) == (0, [])
    return out.getvalue()


def made_by_cli(*paths: Path) -> bytes:
    """The tables of `obfstats convert`, without starting a program."""
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "tables"
        with written.open("w") as out, redirect_stdout(out):
            assert cli.main(["convert", *map(str, paths)]) == 0
        return written.read_bytes()


@given(st.lists(logs(), min_size=25, max_size=25, unique=True))
@settings(batches, max_examples=100)
def test_tables_equal_the_tickets_pipeline(batch: list[bytes]) -> None:
    """2,500 different logs: any order, countries and columns, with numbers next to multiples of 8."""
    with tempfile.TemporaryDirectory() as folder:
        for number, tables in enumerate(run_pipeline(sorted(batch, key=len), Path(folder))):
            log = Path(folder) / str(number) / "data"
            assert made_by_simple(log) == tables
            assert made_by_cli(log) == tables


@given(st.lists(logs(), min_size=1, max_size=5))
@settings(batches, max_examples=20)
def test_several_logs_are_counted_as_one(several: list[bytes]) -> None:
    """Several logs have the tables of one log with all their lines."""
    whole = b"".join(log if log.endswith(b"\n") or not log else log + b"\n" for log in several)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"clients.log.{number}" for number in range(len(several))]
        for path, log in zip(paths, several, strict=True):
            path.write_bytes(log)
        tables = run_pipeline([whole], Path(folder))
        results = [convert(converter, *paths) for converter in CONVERTERS]
        assert [result.stdout for result in results] == tables * 2
        assert [result.returncode for result in results] == [0, 0]


@pytest.mark.parametrize(
    ("clients", "rounded_requests", "rounded_clients"),
    [(1, 8, 8), (4, 8, 8), (5, 16, 8), (8, 16, 8), (9, 24, 16), (12, 24, 16), (16, 32, 16), (17, 40, 24)],
)
def test_numbers_are_rounded_up_to_multiples_of_8(
    clients: int, rounded_requests: int, rounded_clients: int, tmp_path: Path
) -> None:
    """One client gives 8, eight give 8, nine give 16; each of them connected twice."""
    log = tmp_path / "clients.log"
    log.write_bytes(b"".join(line(client=client) for client in range(clients)) * 2)
    assert made_by_simple(log).decode().splitlines() == [
        "Daily rounded total requests by country",
        f"2012-02-07 14:01:04 de {rounded_requests}",
        "Daily rounded unique IPs by country",
        f"2012-02-07 14:01:04 de {rounded_clients}",
    ]


def test_a_client_counts_once_in_each_country_interval_and_column(tmp_path: Path) -> None:
    """The second table counts different lines, as the pipeline does, and not different hashes."""
    log = tmp_path / "clients.log"
    kinds = [line(), line(country="??"), line(start="2012-02-08 14:01:04"), *(line(end=f" x{n} v4") for n in range(8))]
    log.write_bytes(b"".join(kinds * 3))
    assert made_by_simple(log).decode().splitlines() == [
        "Daily rounded total requests by country",
        "2012-02-07 14:01:04 ?? 8",
        "2012-02-07 14:01:04 de 32",
        "2012-02-08 14:01:04 de 8",
        "Daily rounded unique IPs by country",
        "2012-02-07 14:01:04 ?? 8",
        "2012-02-07 14:01:04 de 16",
        "2012-02-08 14:01:04 de 8",
    ]


def test_an_empty_log_gives_two_headings(tmp_path: Path) -> None:
    """A day without clients is not an error."""
    log = tmp_path / "clients.log"
    log.touch()
    assert made_by_simple(log) == made_by_cli(log) == NO_ROWS == run_pipeline([b""], tmp_path)[0]
