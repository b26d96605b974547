"""Written archives hold the numbers of the world, as stem and ingest read them; truth and events are beside them."""

from __future__ import annotations

import csv
import datetime as dt
import tarfile
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pytest
from stem.descriptor.extrainfo_descriptor import BridgeExtraInfoDescriptor
from stem.descriptor.networkstatus import BridgeNetworkStatusDocument

from obfstats.analyse.days import DAY
from obfstats.analyse.engine import DuckDbEngine
from obfstats.analyse.ingest import ingest
from obfstats.analyse.published import estimate_published
from obfstats.analyse.simulate import (
    PLAIN,
    Blocking,
    Forgery,
    ManyInstances,
    Settings,
    World,
    round_up,
    simulate,
)
from obfstats.analyse.simulate_files import estimate_size, write_files
from obfstats.analyse.store import Store
from obfstats.cli import main
from obfstats.formats.document import Document, read_documents

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = Settings(
    bridges=12,
    days=10,
    first_day=dt.date(2026, 3, 27),
    seed=5,
    users=900,
    countries=("ru", "ir", "us", "??"),
    churn=0.02,
    restarts=0.1,
    documents=1.0,
    noisy_documents=0.3,
    served_last=1.0,
    blockings=(Blocking("ir", 3, 4, 0.8), Blocking("ru", 5, 1, -1.0, "obfs4")),
    forgeries=(Forgery(2, "us", 4, 300),),
    many=(ManyInstances(3, 0.3),),
)


@pytest.fixture(scope="module")
def world() -> World:
    """The world that is written."""
    return simulate(SETTINGS)


@pytest.fixture(scope="module")
def folder(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its files."""
    folder = tmp_path_factory.mktemp("simulated")
    write_files(world, folder, lambda _size: None)
    return folder


def members(folder: Path, name: str) -> dict[str, bytes]:
    """Members of all tarballs of one type."""
    found = {}
    for path in sorted(folder.glob(f"{name}-*.tar.xz")):
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                found[member.name] = file.read()
    return found


def parse(text: bytes) -> Any:
    """One extra-info descriptor, checked by stem. It takes the annotation apart itself only in files."""
    return BridgeExtraInfoDescriptor(text.split(b"\n", 1)[1], validate=True)


@pytest.fixture(scope="module")
def descriptors(folder: Path) -> dict[tuple[str, str, int], Any]:
    """Extra-infos by fingerprint, nickname and day of their end; of repeated ones the last."""
    found = {}
    for text in members(folder, "bridge-extra-infos").values():
        parsed = parse(text)
        day = (parsed.dir_stats_end.date() - SETTINGS.first_day).days
        found[parsed.fingerprint, parsed.nickname, day] = parsed
    return found


def rounded(world: World, numbers: dict[str, Any], instance: int, day: int) -> dict[str, int]:
    """What is published of one report: numbers by country without zeros."""
    cells = {country: int(round_up(numbers[country][instance, day])) for country in world.countries}
    return {country: number for country, number in cells.items() if number}


def test_descriptors_have_the_numbers_of_the_world(world: World, descriptors: dict[tuple[str, str, int], Any]) -> None:
    """Each report is there, and stem reads its rounded requests, addresses and transports."""
    requests = {country: world.report_requests(country) for country in world.countries}
    addresses = {country: world.report_addresses(country) for country in world.countries}
    by_transport = {
        name: np.sum([world.report_addresses(country, name) for country in world.countries], axis=0)
        for name in world.transports
    }
    reports = np.argwhere(world.report_end >= 0).tolist()
    assert len(reports) > 100
    for instance, day in reports:
        parsed = descriptors[world.fingerprints[world.bridge[instance]], world.nicknames[instance], day]
        end = dt.datetime.combine(SETTINGS.first_day, dt.time()) + dt.timedelta(
            days=day, seconds=int(world.report_end[instance, day])
        )
        assert (parsed.dir_stats_end, parsed.dir_stats_interval) == (end, DAY)
        assert parsed.dir_v3_requests == rounded(world, requests, instance, day)
        assert parsed.bridge_ips == rounded(world, addresses, instance, day)
        transports = {name: int(round_up(numbers[instance, day])) for name, numbers in by_transport.items()}
        assert parsed.ip_transports == {name: number for name, number in transports.items() if number}
        total = sum(int(requests[country][instance, day]) for country in world.countries)
        assert parsed.dir_write_history_values[-1] == total * 41_000 // 1024 * 1024
        assert parsed.dir_write_history_end == end
        assert {"v4", "v6"} == set(parsed.ip_versions)
    # The day after the last has the rest of the last day.
    assert {day for _, _, day in descriptors} == set(range(11))
    assert len([key for key in descriptors if key[2] < 10]) == len(reports)


def test_responses_are_counted_as_its_tor_counts(world: World, folder: Path) -> None:
    """`ok` is all requests; with `served=` that is what `served` says, and `ok` has complete answers only."""
    total = np.sum([world.report_requests(country) for country in world.countries], axis=0)
    seen = set()
    for text in members(folder, "bridge-extra-infos").values():
        parsed = parse(text)
        day = (parsed.dir_stats_end.date() - SETTINGS.first_day).days
        instance = world.nicknames.index(parsed.nickname)
        line = next(row for row in text.decode().splitlines() if row.startswith("dirreq-v3-resp "))
        numbers = dict(cell.split("=") for cell in line.split(" ", 1)[1].split(","))
        assert ("served" in numbers) == world.served[instance, min(day, 9)]
        if day < 10:
            expected = str(round_up(total[instance, day]))
            assert numbers.get("served", numbers["ok"]) == expected
            seen.add("served" in numbers and int(numbers["ok"]) < 0.97 * int(numbers["served"]))
    assert seen == {False, True}


def test_repeated_reports_are_published_later(folder: Path) -> None:
    """Some reports are there twice, with the same statistics and another time of publication."""
    published = defaultdict(list)
    for text in members(folder, "bridge-extra-infos").values():
        parsed = parse(text)
        published[parsed.nickname, parsed.dir_stats_end].append(parsed.published)
    repeated = [times for times in published.values() if len(times) == 2]
    assert 0.02 < len(repeated) / len(published) < 0.25
    assert all(abs(times[0] - times[1]) >= dt.timedelta(hours=6) for times in repeated)


def test_statuses_list_who_runs(world: World, folder: Path) -> None:
    """Each hour's status has the bridges of the day, with the flag Running where the world says so."""
    statuses = members(folder, "bridge-statuses")
    hours = set()
    for name, text in statuses.items():
        month, day_of_month, base = name.split("/")
        moment = dt.datetime.strptime(base[:15], "%Y%m%d-%H%M%S").replace(tzinfo=dt.UTC)
        assert (month, day_of_month) == (f"bridge-statuses-{moment:%Y-%m}", f"{moment:%d}")
        # stem knows neither the annotation nor the two lines after the time.
        rows = text.split(b"\n")
        parsed = BridgeNetworkStatusDocument(b"\n".join([rows[1], *rows[4:]]), validate=True)
        assert parsed.published == moment.replace(tzinfo=None)
        day = (moment.date() - SETTINGS.first_day).days
        listed = {entry.fingerprint: "Running" in entry.flags for entry in parsed.routers.values()}
        expected: dict[str, bool] = {}
        for instance in np.flatnonzero(world.running[:, day]):
            fingerprint = world.fingerprints[world.bridge[instance]]
            runs = bool(world.hours[instance, day] >> moment.hour & 1)
            expected[fingerprint] = expected.get(fingerprint, False) or runs
        assert listed == expected
        hours.add((day, moment.hour))
    assert 0.95 * 240 <= len(hours) <= 240
    assert len(statuses) > len(hours)


def test_ingest_reads_what_was_written(world: World, folder: Path, tmp_path: Path) -> None:
    """The store's rows are the world's rounded numbers, and nothing is damaged."""
    store = Store(tmp_path / "store")
    result = ingest([folder], store, workers=1, advance=lambda _size: None)
    assert result.damaged == {}
    assert result.read["bridge-extra-info"] == len(members(folder, "bridge-extra-infos"))
    assert result.read["obfsproxy-stats"] == len(members(folder, "obfsproxy-stats"))
    duck = duckdb.connect()
    for table in ("reports", "cells", "statuses", "documents", "document_cells"):
        duck.read_parquet(store.files(table)).create_view(table)
    cells = """SELECT key, day, sum(number) FROM (SELECT DISTINCT fingerprint, nickname, key, r.day, number
        FROM reports r JOIN cells USING (report) WHERE line = 'requests') GROUP BY ALL"""
    sums = {(key, day): number for key, day, number in duck.execute(cells).fetchall()}
    for country in world.countries:
        expected = round_up(world.report_requests(country)).sum(axis=0).tolist()
        assert [sums.get((country, world.first_day + day), 0) for day in range(10)] == expected
    listed = duck.execute("SELECT fingerprint, day, bit_or(hours) FROM statuses GROUP BY ALL").fetchall()
    hours: dict[tuple[str, int], int] = defaultdict(int)
    for instance, day in np.argwhere(world.hours > 0).tolist():
        hours[world.fingerprints[world.bridge[instance]], world.first_day + day] |= int(world.hours[instance, day])
    assert {(fingerprint, day): bits for fingerprint, day, bits in listed if bits} == hours
    pairs = """SELECT country, day, sum(number) FROM (SELECT c.* FROM documents JOIN document_cells c USING (document)
        WHERE epsilon IS NULL AND line = 'ips') GROUP BY ALL"""
    of_documents = {(country, day): number for country, day, number in duck.execute(pairs).fetchall()}
    is_exact = (world.documents & (world.epsilon == 0))[:, np.newaxis]
    for country in world.countries:
        addresses = sum(
            (world.report_addresses(country, name) * is_exact for name in world.transports if name != PLAIN),
            np.zeros_like(world.report_end),
        )
        # Each instance has one transport besides <OR>, so rounding the sum is rounding its number.
        written = [of_documents.get((country, world.first_day + day), 0) for day in range(10)]
        assert written == round_up(addresses).sum(axis=0).tolist()


def test_the_published_method_comes_near_the_truth(tmp_path: Path) -> None:
    """Tor Metrics' total of simulated archives is within 10 % of the true users, though bridges are missing."""
    world = simulate(Settings(bridges=150, days=12, users=15_000, countries=("ru", "ir"), seed=2, silent=0.2))
    folder = tmp_path / "archive"
    folder.mkdir()
    write_files(world, folder, lambda _size: None)
    store = Store(tmp_path / "store")
    ingest([folder], store, workers=1, advance=lambda _size: None)
    engine = DuckDbEngine(tmp_path)
    try:
        days = range(world.first_day, world.first_day + 12)
        rows = estimate_published(engine, store, days).userstats.to_pylist()
    finally:
        engine.close()
    totals = {row["date"]: row for row in rows if not (row["country"] or row["transport"] or row["version"])}
    dates = [world.settings.first_day + dt.timedelta(days=day) for day in range(12)]
    users = np.array([totals[date]["users"] for date in dates])
    assert users == pytest.approx(world.truth(), rel=0.1)
    assert np.mean(users / world.truth()) == pytest.approx(1, abs=0.05)
    assert np.mean([totals[date]["frac"] for date in dates]) == pytest.approx(76, abs=6)


def test_documents_have_the_main_transport(world: World, folder: Path) -> None:
    """Documents are those of docs/document.md: addresses by country and transport, connections by country."""
    transports = [world.transports[number] for number in world.transport]
    addresses = {name: {c: world.report_addresses(c, name) for c in world.countries} for name in set(transports)}
    connections = {name: {c: world.report_connections(c, name) for c in world.countries} for name in set(transports)}
    documents = [read_documents(text)[0] for text in members(folder, "obfsproxy-stats").values()]
    found: dict[tuple[str, str], Document] = {(doc.fingerprint or "", doc.end): doc for doc in documents}
    exact, noisy = 0, []
    for instance, day in np.argwhere(world.report_end >= 0).tolist():
        end = (world.first_day + day) * DAY + int(world.report_end[instance, day])
        key = (
            world.fingerprints[world.bridge[instance]].lower(),
            dt.datetime.fromtimestamp(end, dt.UTC).strftime("%Y-%m-%d %H:%M:%S"),
        )
        document = found.get(key)
        assert (document is not None) == bool(world.documents[instance])
        if document is None or document.ips is None:
            continue
        name = transports[instance]
        if document.epsilon is not None:
            assert float(document.epsilon) == world.epsilon[instance]
            noisy += [document.ips[c.upper()] - int(addresses[name][c][instance, day]) for c in world.countries]
            assert document.requests is None
            continue
        exact += 1
        expected = {c.upper(): number for c, number in rounded(world, addresses[name], instance, day).items()}
        assert document.ips == expected
        assert document.ip_country_transports == {(c, name): number for c, number in expected.items()}
        counted = rounded(world, connections[name], instance, day)
        assert document.requests == {c.upper(): number for c, number in counted.items()}
    assert exact > 20
    assert len(noisy) > 40
    assert 0.5 < np.mean(np.square(noisy)) / 7.8 < 2
    assert PLAIN not in {name for doc in documents for name in doc.ip_transports or {}}


def test_truth_and_events_are_written(world: World, folder: Path) -> None:
    """truth.csv has the true users; events.csv has the blockings as annotations."""
    with (folder / "truth.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10 * 5
    for number, country in enumerate(("", *world.countries)):
        written = [float(row["users"]) for row in rows[number::5]]
        assert written == pytest.approx(world.truth(country).tolist(), abs=0.051)
        assert {row["country"] for row in rows[number::5]} == {country}
    assert (rows[0]["date"], rows[-1]["date"]) == ("2026-03-27", "2026-04-05")
    assert (folder / "events.csv").read_text() == (
        "start,end,places,protocols,description,links\n"
        "2026-03-30,2026-04-02,ir,bridge,simulated loss of 80% of the requests,\n"
        "2026-04-01,2026-04-01,ru,obfs4,simulated rise of 100% of the requests,\n"
    )


def test_the_same_settings_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    """All files are the same in a second run."""
    sizes: list[int] = []
    world = simulate(SETTINGS)
    write_files(world, tmp_path, sizes.append)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        path.name: path.read_bytes() for path in tmp_path.iterdir()
    }
    assert sum(sizes) == pytest.approx(estimate_size(world), rel=0.5)


def test_hourly_files_hold_the_same_descriptors(folder: Path, world: World, tmp_path: Path) -> None:
    """CollecTor's folder `recent`: the same bytes, in files of an hour, statuses in one each."""
    write_files(world, tmp_path, lambda _size: None, is_hourly=True)
    for name, kind in (("extra-infos", "bridge-extra-infos"), ("documents", "obfsproxy-stats")):
        joined = b"".join(path.read_bytes() for path in (tmp_path / name).iterdir())
        parts = sorted(b"@type" + part for part in joined.split(b"@type")[1:])
        assert parts == sorted(members(folder, kind).values())
    for path in (tmp_path / "extra-infos").iterdir():
        collected = dt.datetime.strptime(path.name[:19], "%Y-%m-%d-%H-%M-%S").replace(tzinfo=dt.UTC)
        for part in path.read_text().split("\npublished ")[1:]:
            published = dt.datetime.fromisoformat(part[:19] + "+00:00")
            assert dt.timedelta() < collected - published < dt.timedelta(minutes=70)
    statuses = {path.name: path.read_bytes() for path in (tmp_path / "statuses").iterdir()}
    expected = {name.rpartition("/")[2]: text for name, text in members(folder, "bridge-statuses").items()}
    assert statuses == expected


@pytest.mark.parametrize("name", ["incomplete", "repeats", "second_statuses"])
def test_settings_of_files_have_an_effect(name: str, folder: Path, tmp_path: Path) -> None:
    """A setting that only files show changes them."""
    changed: dict[str, Any] = {name: 0.9}
    write_files(simulate(replace(SETTINGS, **changed)), tmp_path, lambda _size: None)
    kind = "bridge-statuses" if name == "second_statuses" else "bridge-extra-infos"
    assert members(tmp_path, kind) != members(folder, kind)


def test_the_command_writes_a_folder(tmp_path: Path) -> None:
    """`obfstats simulate` writes all files; blockings and forgeries are given by date."""
    folder = tmp_path / "new" / "simulated"
    words = ["simulate", "--bridges", "5", "--days", "6", "--first-day", "2026-01-30", "--to", str(folder)]
    assert main([*words, "--block", "IR:2026-02-01:2:0.9:obfs4", "--forge", "2:us:2026-02-01:500:3"]) == 0
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [f"{name}-2026-0{month}.tar.xz" for name in ("bridge-extra-infos", "bridge-statuses") for month in (1, 2)]
        + [path.name for path in folder.glob("obfsproxy-stats-*")]
        + ["events.csv", "truth.csv"]
    )
    assert "2026-02-01,2026-02-02,ir,obfs4,simulated loss of 90%" in (folder / "events.csv").read_text()


def test_the_command_does_not_mix_with_other_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder with files is refused, and so is one that cannot be made."""
    (tmp_path / "file").write_text("")
    words = ["simulate", "--bridges", "5", "--days", "6", "--to"]
    assert main([*words, str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"obfstats simulate: {tmp_path} is not empty; give a new folder\n"
    assert main([*words, str(tmp_path / "file" / "folder")]) == 2
    assert capsys.readouterr().err.startswith(f"obfstats simulate: cannot write to {tmp_path}/file/folder: ")


@pytest.mark.parametrize(
    "options",
    [
        ["--block", "ir:2026-03-05:2"],
        ["--block", "ir:2026-03-05:2:1.5"],
        ["--block", "ir:2026-02-30:2:0.5"],
        ["--block", "ir:2026-02-05:2:0.5"],
        ["--block", "xx:2026-03-05:2:0.5"],
        ["--block", "ir:2026-03-05:2:0.5:obfs9"],
        ["--forge", "x:us:2026-03-05:100"],
        ["--forge", "6:us:2026-03-05:100"],
        ["--forge", "1:us:2026-03-05:99999999"],
        ["--first-day", "yesterday"],
        ["--days", "0"],
        ["--days", "10001"],
        ["--noise", "nan"],
        ["--served", "2"],
    ],
    ids=" ".join,
)
def test_wrong_options_are_one_line(options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong option is said in one line with exit status 2, and nothing is written."""
    with pytest.raises(SystemExit) as end:
        main(["simulate", "--bridges", "5", "--days", "6", "--to", str(tmp_path / "new"), *options])
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("obfstats simulate: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "new").exists()
