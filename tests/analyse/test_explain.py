"""Why a number changed: archives whose causes are known."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from obfstats import cli
from obfstats.analyse.days import day_number
from obfstats.analyse.explain import Cause, Explanation, explain
from obfstats.analyse.ingest import ingest
from obfstats.analyse.simulate import Blocking, Settings, simulate
from obfstats.analyse.simulate_files import write_files
from obfstats.analyse.store import Store
from obfstats.analyse.summary import NoAnalysisError
from tests.analyse.stores import write_store
from tests.analyse.test_summary import make_event, write

if TYPE_CHECKING:
    from pathlib import Path

DAY = date(2026, 3, 20)
DAYS = (DAY - timedelta(days=7), DAY)
NUMBERS = tuple(map(day_number, DAYS))
ALL_HOURS = (1 << 24) - 1
HEADER = "start,end,places,protocols,description,links\n"


class Archive:
    """An archive of the two days, row by row."""

    def __init__(self) -> None:
        self.tables: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)

    def add(self, name: str, *, now: bool, ok: int | None, end: int = 24, served: int | None = None) -> None:
        """A bridge runs on one of the days, and reports the 24 hours until an hour; half of its requests are Iran's.

        Args:
            name: a letter, repeated in its fingerprint.
            now: whether this is the day, or the one of the week before.
            ok: its answers; None for a bridge without a report.
            end: the hour of the day at which the report ends.
            served: all its answers, where tor tells.
        """
        number, fingerprint = NUMBERS[now], name * 40
        self.tables["statuses"].append({"day": number, "fingerprint": fingerprint, "hours": ALL_HOURS})
        if ok is None:
            return
        stats_end = number * 86_400 + end * 3_600
        report = len(self.tables["reports"])
        common = {"day": stats_end // 86_400, "fingerprint": fingerprint, "nickname": name, "published": stats_end + 60}
        self.tables["reports"].append(
            {
                **common, "report": report, "stats_end": stats_end, "stats_seconds": 86_400, "ok": ok,
                "served": served, "has_requests": True,
            }
        )  # fmt: skip
        self.tables["cells"] += [
            {"report": report, "day": common["day"], "line": "requests", "key": country, "number": ok // 2}
            for country in ("ir", "de")
        ]
        start = number * 86_400
        self.tables["histories"].append(
            {
                **common, "day": number + 1, "history_end": start + 86_400, "start_time": start,
                "end_time": start + 86_400, "bytes": 1_000_000,
            }
        )  # fmt: skip

    def add_server(self, name: str, *, now: bool, tor: str) -> None:
        """A bridge's server descriptor names its version."""
        number = NUMBERS[now]
        row = {"day": number, "fingerprint": name * 40, "nickname": name, "published": number * 86_400, "tor": tor}
        self.tables["servers"].append(row)

    def explain(self, folder: Path, country: str = "ir") -> Explanation:
        """Write it and explain."""
        write_store(folder / "store", **self.tables)
        return explain(folder, DAY, country)


def make_archive() -> Archive:
    """Two large bridges that stay as they are: the others are seen against them."""
    archive = Archive()
    for now in (False, True):
        for name in "AB":
            archive.add(name, now=now, ok=2004)
    return archive


def find_causes(explanation: Explanation) -> dict[str, set[Cause]]:
    """The causes of each bridge, by its letter."""
    causes: dict[str, set[Cause]] = {}
    for part in explanation.contributions:
        causes.setdefault(part.fingerprint[0], set()).add(part.cause)
    return causes


def assert_adds_up(explanation: Explanation) -> None:
    """All parts together are the difference of what is published."""
    assert explanation.now.published is not None
    assert explanation.before.published is not None
    parts = sum(part.users for part in explanation.contributions)
    assert parts + explanation.frac == pytest.approx(explanation.now.users - explanation.before.users, abs=1e-6)
    difference = explanation.now.published - explanation.before.published
    assert parts + explanation.frac + explanation.remainder == pytest.approx(difference, abs=1e-6)
    assert abs(explanation.remainder) <= 1


def test_bridges_that_went_and_came_are_told_from_lost_reports(tmp_path: Path) -> None:
    """A status says whether a bridge ran."""
    archive = make_archive()
    archive.add("C", now=False, ok=1004)
    archive.add("D", now=True, ok=804)
    archive.add("E", now=False, ok=604)
    archive.add("E", now=True, ok=None)
    archive.add("F", now=False, ok=None)
    archive.add("F", now=True, ok=404)
    explanation = archive.explain(tmp_path)
    assert find_causes(explanation) == {
        "C": {Cause.WENT}, "D": {Cause.CAME}, "E": {Cause.LOST}, "F": {Cause.RETURNED},
    }  # fmt: skip
    assert [part.fingerprint[0] for part in explanation.contributions] == ["C", "D", "E", "F"]
    assert [part.users > 0 for part in explanation.contributions] == [False, True, False, True]
    assert_adds_up(explanation)


def test_a_shorter_report_is_told_from_fewer_users(tmp_path: Path) -> None:
    """A restart at noon loses half of the day; the responses an hour stay the same."""
    archive = make_archive()
    archive.add("C", now=False, ok=2004)
    archive.add("C", now=True, ok=2004, end=12)
    archive.add("D", now=False, ok=2004)
    archive.add("D", now=True, ok=1004)
    explanation = archive.explain(tmp_path)
    assert find_causes(explanation) == {"C": {Cause.HOURS}, "D": {Cause.USERS}}
    assert explanation.contributions[0].users == pytest.approx(explanation.contributions[1].users, rel=0.01)
    assert {part.detail for part in explanation.contributions} == {"24 to 12 hours", ""}
    assert_adds_up(explanation)


def test_an_upgrade_that_counts_completed_answers_only_is_told_from_fewer_users(tmp_path: Path) -> None:
    """With served= a fifth of the answers is not counted any more; what is left of the change is users."""
    archive = make_archive()
    archive.add("C", now=False, ok=2004)
    archive.add("C", now=True, ok=1604, served=2005)
    archive.add_server("C", now=False, tor="0.4.8.21")
    archive.add_server("C", now=True, tor="0.4.8.22")
    explanation = archive.explain(tmp_path)
    parts = {part.cause: part for part in explanation.contributions}
    assert parts[Cause.SERVED].users == pytest.approx(-20, rel=0.05)
    assert parts[Cause.SERVED].detail == "tor 0.4.8.21 to 0.4.8.22"
    assert Cause.USERS not in parts
    assert_adds_up(explanation)


def test_a_change_of_frac_has_its_part(tmp_path: Path) -> None:
    """Ten bridges that run without a report make the others stand for more."""
    archive = make_archive()
    for name in "CDEF":
        archive.add(name, now=True, ok=None)
    explanation = archive.explain(tmp_path)
    assert explanation.contributions == []
    assert (explanation.before.frac, explanation.now.frac) == pytest.approx((1, 1 / 3))
    assert explanation.frac > 0
    assert_adds_up(explanation)


def test_a_country_without_responses_has_no_contributions(tmp_path: Path) -> None:
    """It is not an error: the other countries may have some."""
    explanation = make_archive().explain(tmp_path, "fr")
    assert explanation.contributions == []
    assert (explanation.before.users, explanation.now.users) == (0, 0)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An analysis of bridges that come, go, restart and upgrade, while Iran blocks."""
    folder = tmp_path_factory.mktemp("simulated")
    settings = Settings(
        bridges=60, days=14, first_day=date(2026, 3, 7), seed=5, users=3000, countries=("ru", "ir", "de", "us"),
        churn=0.03, restarts=0.03, served_last=0.5, blockings=(Blocking("ir", 10, 4, 0.8),),
    )  # fmt: skip
    (folder / "archive").mkdir()
    write_files(simulate(settings), folder / "archive", lambda _: None)
    ingest([folder / "archive"], Store(folder / "store"), workers=1, advance=lambda _: None)
    return folder


@pytest.mark.parametrize("country", ["", "ir", "de"])
@pytest.mark.parametrize("days_before", [1, 3])
def test_contributions_add_up(simulated: Path, country: str, days_before: int) -> None:
    """To what is published, whatever happened."""
    assert_adds_up(explain(simulated, DAY - timedelta(days=days_before), country))


def test_a_blocking_is_fewer_users_at_the_same_bridges(simulated: Path) -> None:
    """Nearly all of the change has this cause, although bridges come, go and upgrade."""
    explanation = explain(simulated, DAY - timedelta(days=1), "ir")
    users = sum(part.users for part in explanation.contributions if part.cause is Cause.USERS)
    assert explanation.now.users < 0.35 * explanation.before.users
    assert users < 0.7 * (explanation.now.users - explanation.before.users)


def test_events_and_annotations_of_the_week_are_named(
    simulated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the country and of all countries; beside them our estimate of both days."""
    events = [make_event(2, text="Iran blocks."), make_event(2, "de"), make_event(9), make_event(3, "", "tor")]
    write(simulated, "obfstats-events", pa.Table.from_pylist(events))
    row = {"country": "ir", "transport": "", "lower": 1.0, "upper": 900.0, "predicted": 10.0, "capped": 3.0}
    rows = [{**row, "date": DAY - timedelta(days=7), "users": 555.0}, {**row, "date": DAY, "users": 111.0}]
    write(simulated, "obfstats-users", pa.Table.from_pylist(rows))
    known = tmp_path / "known.csv"
    known.write_text(f"{HEADER}2026-03-18,,ir,,A report says so.,\n2026-03-18,,de,,Not this.,\n2026-03-18,,,bad\n")
    command = ["explain", str(simulated), "--date", "2026-03-20", "--country", "IR", "--annotations", str(known)]
    assert cli.main(command) == 0
    out, err = capsys.readouterr()
    assert "Iran blocks." in out
    assert "Known: A report says so." in out
    assert "Not this." not in out
    assert out.count("2026-03-18 drop") == 1
    assert "2026-03-17 drop (Tor)" in out
    assert "2026-03-11 drop" not in out
    assert "555" in out
    assert "1 lines are damaged and left out, the first is line 4" in err


def test_json_has_every_contribution(simulated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For programs: the same numbers with all bridges."""
    assert cli.main(["explain", str(simulated), "--date", "2026-03-19", "--country", "ir", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["day"] == "2026-03-19"
    total = sum(part["users"] for part in found["contributions"])
    assert total + found["frac"] == pytest.approx(found["now"]["users"] - found["before"]["users"])
    assert len({part["fingerprint"] for part in found["contributions"]}) > 20
    assert {part["cause"] for part in found["contributions"]} >= {"users", "served"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--date", "2025-01-01"], "no published estimate of 2024-12-25"),
        (["--date", "2026-03-19", "--annotations", "missing.csv"], "cannot read missing.csv"),
        (["--date", "2026-03-19", "--annotations", __file__], "no line names the columns"),
    ],
)
def test_what_cannot_be_explained_is_said(
    simulated: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line and exit status 2."""
    assert cli.main(["explain", str(simulated), *words]) == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_a_store_is_said(tmp_path: Path) -> None:
    """The sentence names the command that makes one."""
    with pytest.raises(NoAnalysisError, match="obfstats analyse"):
        explain(tmp_path, DAY, "")


@pytest.mark.parametrize("day", [date(2026, 3, 9), date(2026, 3, 12)])
@pytest.mark.parametrize("country", ["", "ir", "??"])
def test_contributions_add_up_to_tor_metrics_own_numbers(golden_store: Store, day: date, country: str) -> None:
    """Of the archive with all awkward cases: twins, restarts, bridges without bytes, odd intervals."""
    assert_adds_up(explain(golden_store.folder.parent, day, country))
