"""The summary of an analysis: numbers, changes and events on one screen."""

from __future__ import annotations

import io
import os
import subprocess
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from obfstats import cli
from obfstats.analyse.events import EVENTS_SCHEMA
from obfstats.analyse.summary import NoAnalysisError, find_complete_day, print_summary, summarise
from obfstats.terminal import PLAIN_WIDTH, make_console
from peers.program import OBFSTATS

if TYPE_CHECKING:
    from pathlib import Path

DAY = date(2026, 3, 20)


def make_rows(numbers: dict[tuple[str, str], list[float]], value: str = "users") -> Any:
    """A table of numbers with an interval of 10 % on each side; the last number of each list is of DAY."""
    lower, upper = ("lower", "upper") if value == "users" else (f"{value}_lower", f"{value}_upper")
    return pa.Table.from_pylist(
        [
            {
                "date": DAY - timedelta(len(series) - 1 - day),
                "country": country,
                "transport": transport,
                value: number,
                lower: number * 0.9,
                upper: number * 1.1,
            }
            for (country, transport), series in numbers.items()
            for day, number in enumerate(series)
        ]
    )


def make_event(days_before: int, country: str = "ir", detector: str = "obfstats", text: str = "") -> dict[str, Any]:
    """A row of the table of events."""
    return {
        "date": DAY - timedelta(days_before),
        "country": country,
        "transport": "",
        "detector": detector,
        "direction": "drop",
        "value": 100,
        "expected_lower": 800,
        "expected_upper": 1200,
        "annotations": text,
    }


def write(folder: Path, name: str, table: Any) -> None:
    """Write a table as `obfstats analyse` does."""
    (folder / "tables").mkdir(exist_ok=True)
    parquet.write_table(table, folder / "tables" / f"{name}.parquet")


def write_users(folder: Path) -> None:
    """Twenty days of three countries and two transports."""
    series = {
        ("", ""): [3000.0] * 19 + [2050.0],
        ("ir", ""): [1000.0] * 19 + [100.0],
        ("ru", ""): [1900.0] * 10 + [2500.0] + [1900.0] * 8 + [1850.0],
        ("de", ""): [100.0],
        ("", "obfs4"): [2000.0] * 19 + [1500.0],
        ("", "snowflake"): [1000.0] * 19 + [550.0],
    }
    write(folder, "obfstats-users", make_rows(series))


def show(folder: Path, top: int = 15) -> str:
    """What is printed without a terminal."""
    out = io.StringIO()
    print_summary(make_console(out), summarise(folder), top)
    return out.getvalue()


def row_of(text: str, name: str) -> list[str]:
    """The cells of a printed row."""
    line = next(line for line in text.splitlines() if line.startswith(name))
    return line.removeprefix(name).split()


def test_countries_are_named_and_compared_with_the_week_before(tmp_path: Path) -> None:
    """The number, its interval, the week before, the change; in brackets where the intervals overlap."""
    write_users(tmp_path)
    text = show(tmp_path)
    assert row_of(text, "all countries")[:6] == ["2,050", "1,845", "to", "2,255", "3,000", "-32%"]
    assert row_of(text, "Iran")[:6] == ["100", "90", "to", "110", "1,000", "-90%"]
    assert row_of(text, "Russia")[4:] == ["1,900", "(-3%)", "2,500", "2026-03-11"]
    assert row_of(text, "Germany")[4] == "new"
    assert row_of(text, "obfs4")[0] == "1,500"
    assert text.index("Russia") < text.index("Germany") < text.index("Iran") or text.index("Iran") < text.index(
        "Germany"
    )


def test_small_countries_are_one_row(tmp_path: Path) -> None:
    """Only the largest are named."""
    write_users(tmp_path)
    text = show(tmp_path, top=1)
    assert row_of(text, "2 others")[:3] == ["200", "1,000", "(-80%)"]
    assert "Iran" not in text
    assert row_of(text, "1 other")[0] == "550"
    assert "snowflake" not in text


def test_a_reader_that_goes_away_ends_the_program(tmp_path: Path) -> None:
    """As in `obfstats summary DIR | head -1`: status 141, and nothing is said."""
    write_users(tmp_path)
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run([OBFSTATS, "summary", tmp_path], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (141, b"")


def test_a_day_can_be_chosen(tmp_path: Path) -> None:
    """Numbers are of that day, and so is the peak until then."""
    write_users(tmp_path)
    summary = summarise(tmp_path, DAY - timedelta(days=10))
    assert summary.users is not None
    assert [number.name for number in summary.users.countries] == ["ru", "ir"]
    assert summary.users.countries[0].peak == 1900


def test_events_of_two_weeks_are_shown_with_annotations(tmp_path: Path) -> None:
    """Ours; those of Tor's detector are counted."""
    write_users(tmp_path)
    events = [make_event(2, text="Iran blocks."), make_event(20, "de"), make_event(3, "ru", "tor")]
    write(tmp_path, "obfstats-events", pa.Table.from_pylist(events, EVENTS_SCHEMA))
    text = show(tmp_path)
    assert row_of(text, "2026-03-18 drop") == ["Iran", "all", "100", "800", "to", "1,200", "Iran", "blocks."]
    assert "2026-02-28" not in text
    assert "Events of Tor's own detector in the same days: 1." in text


def test_addresses_of_our_documents_are_never_called_users(tmp_path: Path) -> None:
    """An archive of documents alone has no users."""
    rows = make_rows({("", ""): [500.0] * 8, ("ir", ""): [400.0] * 8, ("ir", "obfs3"): [400.0] * 8}, "addresses")
    write(tmp_path, "obfstats-clients", rows)
    text = show(tmp_path)
    assert row_of(text, "Iran")[0] == "400"
    assert "addresses" in text
    assert "users" not in text


def test_bridges_and_the_break_of_the_series_are_described(tmp_path: Path) -> None:
    """How many ran and reported, and how many write served=."""
    write_users(tmp_path)
    row = {"date": DAY, "running": 1012.4, "reporting": 1.2, "served_share": 0.25}
    write(tmp_path, "obfstats-bridges", pa.Table.from_pylist([row]))
    assert "1,012 bridges ran; 1 bridge reported; 25%" in show(tmp_path)


def test_text_of_others_is_printed_as_it_is(tmp_path: Path) -> None:
    """No control characters, no markup, and no line beyond the width."""
    series = {("", ""): [1.0], ("", "[bold]x\x1b[2J[/bold]"): [1.0], ("", "y" * 300): [1.0]}
    write(tmp_path, "obfstats-users", make_rows(series))
    text = show(tmp_path)
    assert "[bold]x\\x1b[2J[/bold]" in text.replace("\n", "").replace(" ", "")
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= PLAIN_WIDTH


def make_bridges(shares: list[float], running: float | None = 100.0) -> Any:
    """A table of bridges; the last share is of DAY."""
    return pa.table(
        {
            "date": pa.array([DAY - timedelta(len(shares) - 1 - day) for day in range(len(shares))], pa.date32()),
            "running": pa.array([running] * len(shares), pa.float64()),
            "reporting": pa.array([100 * share for share in shares], pa.float64()),
        }
    )


@pytest.mark.parametrize("running", [100.0, None])
def test_the_last_complete_day_is_summarised(tmp_path: Path, running: float | None) -> None:
    """On the last days of an archive most reports have not arrived; with and without statuses."""
    write_users(tmp_path)
    write(tmp_path, "obfstats-bridges", make_bridges([0.9] * 18 + [0.6, 0.1], running))
    assert summarise(tmp_path).day == DAY - timedelta(days=2)
    assert "Not all reports of the days after 2026-03-18 have arrived." in show(tmp_path)
    assert summarise(tmp_path, DAY).day == DAY


def test_an_archive_whose_bridges_seldom_report_has_complete_days() -> None:
    """A day is compared with the days before, and the first day with nothing."""
    assert find_complete_day(make_bridges([0.2] * 10)) == DAY
    assert find_complete_day(make_bridges([0.9])) == DAY
    assert find_complete_day(make_bridges([0.0, 0.0, 0.1, 0.0, 0.0])) == DAY - timedelta(days=2)
    assert find_complete_day(make_bridges([])) is None


def test_a_folder_without_an_analysis_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line, and what to do."""
    assert cli.main(["summary", str(tmp_path)]) == 2
    assert "has no analysis; make one with: obfstats analyse" in capsys.readouterr().err


def test_a_day_outside_of_the_analysis_is_refused(tmp_path: Path) -> None:
    """The sentence names the days that there are."""
    write_users(tmp_path)
    with pytest.raises(NoAnalysisError, match="it is of 2026-03-01 to 2026-03-20"):
        summarise(tmp_path, date(2027, 1, 1))


def test_a_damaged_table_is_said(tmp_path: Path) -> None:
    """It is not a traceback."""
    write_users(tmp_path)
    (tmp_path / "tables" / "obfstats-users.parquet").write_bytes(b"PAR1 and so on")
    with pytest.raises(NoAnalysisError, match="cannot read the table obfstats-users"):
        summarise(tmp_path)


def test_the_command_prints_the_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal it is plain text."""
    write_users(tmp_path)
    assert cli.main(["summary", str(tmp_path), "--date", "2026-03-19", "--top", "1"]) == 0
    out = capsys.readouterr().out
    assert "Bridges on Thursday, 2026-03-19" in out
    assert "\x1b" not in out


def test_zeros_have_no_row(tmp_path: Path) -> None:
    """A country that has no user, and had none a week before, is left out; one that lost its last user is not."""
    numbers = {("", ""): [50.0] * 8, ("de", ""): [50.0] * 8, ("fr", ""): [0.0] * 8, ("ir", ""): [9.0] + [0.0] * 7}
    write(tmp_path, "obfstats-users", make_rows(numbers))
    text = show(tmp_path)
    assert "Germany" in text
    assert "Iran" in text
    assert "France" not in text
