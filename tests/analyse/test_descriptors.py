"""Descriptors become rows: everything that they say, nothing that is damaged, and nothing is lost silently."""

from __future__ import annotations

import datetime as dt
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
import stem.descriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz import fuzz_descriptors
from tests.analyse.texts import DOCUMENT, EXTRA_INFO, FINGERPRINT, SERVER, STATUS, Reading, members_of

SAMPLES = Path(__file__).parent / "samples"
DAY = 86_400


def seconds(text: str) -> int:
    """A time in UTC as seconds since 1970."""
    return int(dt.datetime.fromisoformat(f"{text}+00:00").timestamp())


def test_a_bridge_extra_info() -> None:
    """Every number of the ten lines is in a row."""
    reading = Reading(EXTRA_INFO)
    assert reading.damaged == []
    assert reading.read == {"bridge-extra-info": 1}
    day = seconds("2026-03-08 00:00:00") // DAY
    assert reading.rows["reports"] == [
        {
            "day": day, "fingerprint": FINGERPRINT, "nickname": "jarod125", "published": seconds("2026-03-09 06:17:46"),
            "stats_end": seconds("2026-03-08 14:00:35"), "stats_seconds": DAY, "ok": 24, "served": 32,
            "has_requests": True, "bridge_end": seconds("2026-03-08 14:01:30"), "bridge_seconds": DAY,
        }
    ]  # fmt: skip
    assert [(row["day"], row["line"], row["key"], row["number"]) for row in reading.rows["cells"]] == [
        (day, "requests", "ir", 16), (day, "requests", "us", 8), (day, "ips", "ir", 16), (day, "ips", "us", 8),
        (day, "transports", "<OR>", 8), (day, "transports", "obfs4", 24), (day, "versions", "v4", 24),
        (day, "versions", "v6", 8),
    ]  # fmt: skip
    end = seconds("2026-03-08 14:58:04")
    assert [(row["start_time"], row["end_time"], row["bytes"]) for row in reading.rows["histories"]] == [
        (end - 28_800, end - 14_400, 3_462_144), (end - 14_400, end, 2_851_840),
    ]  # fmt: skip
    assert {row["history_end"] for row in reading.rows["histories"]} == {end}


def test_lines_may_be_missing_or_empty() -> None:
    """A bridge without statistics has a report with nulls; an empty list is there, but has no cells."""
    reading = Reading(
        f"@type bridge-extra-info 1.0\nextra-info a {FINGERPRINT.lower()}\npublished 2010-01-01 00:00:00\n",
        f"@type bridge-extra-info 1.3\nextra-info a {FINGERPRINT}\npublished 2010-01-01 00:00:00\n"
        "dirreq-write-history 2010-01-01 00:00:00 (900 s) \ndirreq-v3-reqs \ndirreq-v3-resp ok=4\nbridge-ips\n",
    )
    assert reading.damaged == []
    assert [(row["fingerprint"], row["ok"], row["served"], row["has_requests"]) for row in reading.rows["reports"]] == [
        (FINGERPRINT, None, None, False), (FINGERPRINT, 4, None, True),
    ]  # fmt: skip
    assert reading.rows["cells"] == reading.rows["histories"] == []


def test_minor_versions_and_annotations() -> None:
    """Every version 1.x of a type is read; annotations that old files have are counted and left out."""
    reading = Reading(
        '@downloaded-at 2011-05-01 12:00:00\n@source "198.51.100.1"\n' + EXTRA_INFO.replace("1.3", "1.0"),
        EXTRA_INFO.replace("1.3\n", "1.9\n@source x\n"),
        EXTRA_INFO.replace("1.3", "2.0"),
    )
    assert reading.read == {"bridge-extra-info": 2}
    assert reading.skipped == {"@downloaded-at": 1, "@source": 2, "@type bridge-extra-info 2.0": 1}
    assert reading.damaged == []


def test_other_types_are_left_out() -> None:
    """Relay descriptors among those of bridges are counted, and their lines do not get into others."""
    relay = EXTRA_INFO.replace("bridge-extra-info 1.3", "extra-info 1.0")
    reading = Reading(relay + EXTRA_INFO + relay, "Read me\n", "")
    assert reading.sorted_rows() == Reading(EXTRA_INFO).sorted_rows()
    assert reading.skipped == {"@type extra-info 1.0": 2, "text without @type": 1}


def test_odd_transport_names() -> None:
    """Names are kept as they are, whatever tor's grammar says of them; country codes become lower case."""
    text = EXTRA_INFO.replace("<OR>=8,obfs4=24", "<??>=8,obfs4_bridge:80=16,-=8").replace(
        "ir=16,us=8", "??=8,A1=8,DE=8"
    )
    cells = Reading(text).rows["cells"]
    assert [row["key"] for row in cells if row["line"] == "transports"] == ["<??>", "obfs4_bridge:80", "-"]
    assert [row["key"] for row in cells if row["line"] == "ips"] == ["??", "a1", "de"]


def test_further_arguments_are_ignored() -> None:
    """What a later tor appends to a line does not make it wrong (dir-spec)."""
    text = EXTRA_INFO.replace("us=8\n", "us=8 new,things\n").replace("(86400 s)\n", "(86400 s) new\n")
    assert Reading(text).sorted_rows() == Reading(EXTRA_INFO).sorted_rows()


def test_several_descriptors_under_one_annotation() -> None:
    """A type holds up to the next annotation, as metrics-lib reads it."""
    head, _, body = EXTRA_INFO.partition("\n")
    reading = Reading(f"{head}\n{body}{body}")
    assert reading.read == {"bridge-extra-info": 2}


@pytest.mark.parametrize(
    ("good", "bad", "reason", "line"),
    [
        ("jarod125 A0", "jarod125 ", "wrong extra-info line", 2),
        ("jarod125", "jarod 125", "wrong extra-info line", 2),
        ("jarod125", "järod", "wrong extra-info line", 2),
        ("extra-info jarod125", "extra-infos jarod125", "no extra-info line", 1),
        ("published 2026", "publishes 2026", "wrong published line", 2),
        ("2026-03-09 06:17:46", "2026-02-29 06:17:46", "wrong published line", 4),
        ("2026-03-09 06:17:46", "2026-03-09 24:00:00", "wrong published line", 4),
        ("2026-03-09 06:17:46", "2026-03-09 06:17:60", "wrong published line", 4),
        ("2026-03-09 06:17:46", "1970-01-01 00:00:00", "wrong published line", 4),
        ("2026-03-09 06:17:46", "2026-3-9 06:17:46", "wrong published line", 4),
        ("14:00:35 (86400 s)", "14:00:35 (0 s)", "wrong dirreq-stats-end line", 6),
        ("14:00:35 (86400 s)", "14:00:35 (-1 s)", "wrong dirreq-stats-end line", 6),
        ("14:00:35 (86400 s)", "14:00:35", "wrong dirreq-stats-end line", 6),
        ("14:00:35 (86400 s)", "14:00:35 (9999999999 s)", "wrong dirreq-stats-end line", 6),
        ("14:01:30 (86400 s)", "14:01:30 86400", "wrong bridge-stats-end line", 10),
        ("14:01:30 (86400 s)", "25:01:30 (86400 s)", "wrong bridge-stats-end line", 10),
        ("dirreq-v3-reqs ir=16", "dirreq-v3-reqs iran=16", "wrong dirreq-v3-reqs line", 7),
        ("dirreq-v3-reqs ir=16", "dirreq-v3-reqs ir=-16", "wrong dirreq-v3-reqs line", 7),
        ("dirreq-v3-reqs ir=16", "dirreq-v3-reqs ir=1e9", "wrong dirreq-v3-reqs line", 7),
        ("dirreq-v3-reqs ir=16", "dirreq-v3-reqs ir=9999999999", "wrong dirreq-v3-reqs line", 7),
        ("dirreq-v3-reqs ir=16,us=8", "dirreq-v3-reqs ir=16,", "wrong dirreq-v3-reqs line", 7),
        ("dirreq-v3-reqs ir=16,us=8", "dirreq-v3-reqs ,ir=16", "wrong dirreq-v3-reqs line", 7),
        ("ok=24,", "ok=,", "wrong dirreq-v3-resp line", 8),
        ("bridge-ips ir=16,us=8", "bridge-ips ir=16,,us=8", "wrong bridge-ips line", 11),
        ("v4=24,", "v4,", "wrong bridge-ip-versions line", 12),
        ("obfs4=24", "obfs4=2=4", "wrong bridge-ip-transports line", 13),
        ("obfs4=24", "obf\u00df4=24", "wrong bridge-ip-transports line", 13),
        ("obfs4=24", f"{'x' * 101}=24", "wrong bridge-ip-transports line", 13),
        ("obfs4=24", ",".join(f"{number}=8" for number in range(50)), "wrong bridge-ip-transports line", 13),
        ("us=8\nbridge-ip-v", "us=8" + ",de=8" * 399 + "\nbridge-ip-v", "wrong bridge-ips line", 11),
        ("obfs4=24", "obfs4\t=24", "wrong bridge-ip-transports line", 13),
        ("3462144,2851840", "3462144,,2851840", "wrong dirreq-write-history line", 5),
        ("3462144,2851840", "3462144,-2", "wrong dirreq-write-history line", 5),
        ("3462144,2851840", "9999999999999999999", "wrong dirreq-write-history line", 5),
        ("(14400 s)", "(86401 s)", "wrong dirreq-write-history line", 5),
        ("(14400 s) 3462144", f"(86400 s) {'1,' * 32}1", "wrong dirreq-write-history line", 5),
        ("bridge-ips ir=16,us=8\n", "bridge-ips ir=8\nbridge-ips ir=16,us=8\n", "two bridge-ips lines", 11),
        ("112DE1B\n", "112DE1B", "ends within a line", 2),
        ("transport obfs4\n", f"transport {'x' * 100_000}\n", "more than 100,000 bytes", 2),
    ],
)  # fmt: skip
def test_damaged_extra_infos(good: str, bad: str, reason: str, line: int) -> None:
    """A descriptor with one wrong line is left out as a whole and located; those around it are read."""
    assert EXTRA_INFO.count(good) == 1
    damaged = EXTRA_INFO.replace(good, bad)
    reading = Reading(EXTRA_INFO, ("folder/name", damaged), EXTRA_INFO)
    assert reading.damaged == [("bridge-extra-info", reason, f"folder/name, line {line}")]
    assert reading.sorted_rows() == Reading(EXTRA_INFO, EXTRA_INFO).sorted_rows()
    assert reading.read == {"bridge-extra-info": 2}


def test_a_network_status() -> None:
    """Bridges with the flag Running have the hour of the status, those without have no row."""
    later = STATUS.replace("08:58:57", "23:28:57", 1).replace("s Running\n", "s Fast\n")
    reading = Reading(STATUS, STATUS.replace("08:58:57", "08:28:57", 1), later)
    assert reading.read == {"bridge-network-status": 3}
    assert {(row["day"], row["fingerprint"], row["hours"]) for row in reading.rows["statuses"]} == {
        (seconds("2026-03-01 00:00:00") // DAY, "00782946F4C54CE1D028F21E541EF8440ECAA0EE", 1 << 8 | 1 << 23),
        (seconds("2026-03-01 00:00:00") // DAY, "0110A6CF41A07637808FFF79C0783FF37462B525", 1 << 8),
    }
    assert len(reading.rows["statuses"]) == 2


def test_the_time_of_an_old_status_is_in_its_name() -> None:
    """The first years' statuses have no published line."""
    old = STATUS.replace("published 2026-03-01 08:58:57\n", "").replace("1.2", "1.0")
    name = "bridge-statuses-2008-05/13/20080513-152105-4A0CCD2DDC7995083D73F5D667100C8A5831F16D"
    assert {(row["day"], row["hours"]) for row in Reading((name, old)).rows["statuses"]} == {
        (seconds("2008-05-13 00:00:00") // DAY, 1 << 15)
    }
    assert Reading(("name", old)).damaged == [("bridge-network-status", "wrong published line", "name, line 1")]


@pytest.mark.parametrize(
    ("good", "bad", "reason"),
    [
        ("published 2026-03-01 08:58:57", "published 2026-03-01 8:58:57", "wrong published line"),
        ("AHgpRvTFTOHQKPIeVB74RA7KoO4", "AHgpRvTFTOHQKPIeVB74RA7Ko", "wrong r line"),
        ("AHgpRvTFTOHQKPIeVB74RA7KoO4", "AHgpRvTFTOHQKPIeVB74RA7Ko=4", "wrong r line"),
        ("s Running\n", "s Running", "ends within a line"),
    ],
)
def test_damaged_statuses(good: str, bad: str, reason: str) -> None:
    """A damaged status is left out as a whole."""
    reading = Reading(STATUS.replace(good, bad), SERVER)
    assert [(kind, why) for kind, why, _ in reading.damaged] == [("bridge-network-status", reason)]
    assert not reading.rows.get("statuses")
    assert reading.read == {"bridge-server-descriptor": 1}


def test_a_server_descriptor() -> None:
    """The version of tor is that of the platform line; other programs have none."""
    reading = Reading(SERVER, SERVER.replace("Tor 0.4.8.22 on", "node-Tor"), SERVER.replace("C811 509D", "C811"))
    assert [(row["fingerprint"], row["nickname"], row["tor"]) for row in reading.rows["servers"]] == [
        ("C811509D2410C2CB18EE81154D9FBC669525B3A7", "snap269", "0.4.8.22"),
        ("C811509D2410C2CB18EE81154D9FBC669525B3A7", "snap269", None),
    ]
    assert reading.damaged == [("bridge-server-descriptor", "wrong fingerprint line", "file2, line 5")]


def test_our_documents() -> None:
    """Documents with and without @type and noise are read with their one grammar; a damaged one is left out alone."""
    noisy = (
        "obfsproxy-stats-end (43200 s) 2026-02-11 09:22:04\nobfsproxy-noise discrete-laplace epsilon=0.5\n"
        "obfsproxy-ips ir=-3,??=17\n"
    )
    new = DOCUMENT.replace("1.0", "1.7") + "obfsproxy-new x\n"
    reading = Reading(new, noisy + noisy.replace("=17", "=x") + noisy.removesuffix("\n"))
    assert reading.damaged == [("obfsproxy-stats", "not a number after a name", "file1, line 6")]
    end = seconds("2026-02-11 09:22:04")
    first, *others = reading.rows["documents"]
    assert (first["fingerprint"], first["epsilon"]) == ("7CB8C8B7A9E2F1D0C3B4A5968778695A4B3C2D1E", None)
    assert others == 2 * [
        {"day": end // DAY, "fingerprint": "", "instance": "", "end_time": end, "seconds": 43_200, "epsilon": 0.5}
    ]
    cells = [(row["line"], row["country"], row["key"], row["number"]) for row in reading.rows["document_cells"]]
    assert len(cells) == 14 + 4
    assert cells[:3] == [("ips", "de", "", 48), ("ips", "eu", "", 48), ("ips", "au", "", 32)]
    assert ("country_transports", "au", "obfs2", 8) in cells
    assert ("versions", "", "v6", 16) in cells
    assert cells[-2:] == [("ips", "ir", "", -3), ("ips", "??", "", 17)]


def test_instances_of_a_bridge_are_told_apart() -> None:
    """By the name that their documents have."""
    named = [DOCUMENT.replace("obfsproxy-ips ", f"instance {name}\nobfsproxy-ips ", 1) for name in ("Guard-1", "b")]
    reading = Reading(DOCUMENT + "".join(named))
    assert reading.damaged == []
    assert [row["instance"] for row in reading.rows["documents"]] == ["", "Guard-1", "b"]


def test_a_damaged_document_is_located() -> None:
    """Its line is that of the file."""
    reading = Reading(DOCUMENT + DOCUMENT.replace("DE=48,EU=48", "DE=x", 1) + DOCUMENT)
    assert reading.read == {"obfsproxy-stats": 2}
    assert reading.damaged == [("obfsproxy-stats", "not a number after a name", "file0, line 12")]
    far = Reading(DOCUMENT.replace("2026", "9999"))
    assert far.damaged == [("obfsproxy-stats", "not a time from 2000 to 2099", "file0, line 1")]


def test_real_descriptors_against_stem() -> None:
    """Every number of the real samples is what stem reads."""
    expected: dict[str, list[Any]] = {"reports": [], "cells": [], "histories": []}
    members = members_of((SAMPLES / "bridge-extra-infos-2019-03-cropped.tar").read_bytes())
    for _, content in members:
        (descriptor,) = stem.descriptor.parse_file(io.BytesIO(content), "bridge-extra-info 1.3")
        responses = descriptor.dir_v3_responses
        # stem's keys of responses are what tor calls them.
        expected["reports"].append(
            (descriptor.fingerprint, descriptor.nickname, descriptor.published, descriptor.dir_stats_end,
             descriptor.dir_stats_interval, None if responses is None else responses["ok"],
             descriptor.bridge_stats_end, descriptor.bridge_stats_interval)
        )  # fmt: skip
        for line, numbers in (
            ("requests", descriptor.dir_v3_requests),
            ("ips", descriptor.bridge_ips),
            ("transports", descriptor.ip_transports),
            ("versions", descriptor.ip_versions),
        ):
            expected["cells"] += [(line, key, number) for key, number in (numbers or {}).items()]
        expected["histories"] += [
            (descriptor.fingerprint, descriptor.dir_write_history_end, value)
            for value in descriptor.dir_write_history_values or ()
        ]
    reading = Reading(*(content for _, content in members))
    rows = reading.rows

    def moment(value: int | None) -> dt.datetime | None:
        return None if value is None else dt.datetime.fromtimestamp(value, dt.UTC).replace(tzinfo=None)

    assert reading.read == {"bridge-extra-info": 6}
    assert [
        (row["fingerprint"], row["nickname"], moment(row["published"]), moment(row["stats_end"]), row["stats_seconds"],
         row["ok"], moment(row["bridge_end"]), row["bridge_seconds"])
        for row in rows["reports"]
    ] == expected["reports"]  # fmt: skip
    assert sorted((row["line"], row["key"], row["number"]) for row in rows["cells"]) == sorted(expected["cells"])
    assert [(row["fingerprint"], moment(row["history_end"]), row["bytes"]) for row in rows["histories"]] == expected[
        "histories"
    ]


def test_real_statuses_against_stem() -> None:
    """The bridges that run are those that stem finds running."""
    with tarfile.open(SAMPLES / "bridge-statuses-2019-05-cropped.tar") as archive:
        contents = [archive.extractfile(member).read() for member in archive if member.isfile()]  # type: ignore[union-attr]
    running = {
        entry.fingerprint
        for content in contents
        for entry in stem.descriptor.parse_file(io.BytesIO(content), "bridge-network-status 1.2")
        if "Running" in entry.flags
    }
    reading = Reading(*contents)
    assert reading.read == {"bridge-network-status": 2}
    assert len(running) == 993
    assert {row["fingerprint"] for row in reading.rows["statuses"]} == running
    assert {row["hours"] for row in reading.rows["statuses"]} == {1}


NUMBERS = st.integers(0, 999_999_999)
TIMES = st.integers(seconds("2008-01-01 00:00:00"), seconds("2099-12-31 23:59:59")).map(
    lambda time: f"{dt.datetime.fromtimestamp(time, dt.UTC):%Y-%m-%d %H:%M:%S}"
)
COUNTRIES = st.text("abcdefghijklmnopqrstuvwxyz?0", min_size=2, max_size=2)
TRANSPORTS = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="=,"), min_size=1)


@st.composite
def extra_infos(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A descriptor, and what its rows must hold."""
    fingerprint = draw(st.binary(min_size=20, max_size=20)).hex().upper()
    values: dict[str, Any] = {"fingerprint": fingerprint, "published": draw(TIMES), "cells": [], "bytes": []}
    lines = []
    for keyword, line, keys in (
        ("dirreq-v3-reqs", "requests", COUNTRIES),
        ("bridge-ips", "ips", COUNTRIES),
        ("bridge-ip-versions", "versions", st.sampled_from(("v4", "v6"))),
        ("bridge-ip-transports", "transports", TRANSPORTS),
    ):
        numbers = draw(st.none() | st.dictionaries(keys, NUMBERS, max_size=4))
        if numbers is not None:
            lines.append(f"{keyword} " + ",".join(f"{key}={number}" for key, number in numbers.items()))
            values["cells"] += [(line, key, number) for key, number in numbers.items()]
    served, ok = draw(st.none() | NUMBERS), draw(st.none() | NUMBERS)
    values |= {"served": served, "ok": ok}
    cells = [f"{key}={number}" for key, number in (("served", served), ("ok", ok), ("busy", 0)) if number is not None]
    lines.append("dirreq-v3-resp " + ",".join(cells))
    values["stats_end"] = draw(st.none() | TIMES)
    if values["stats_end"] is not None:
        lines.append(f"dirreq-stats-end {values['stats_end']} ({draw(st.integers(1, 999_999_999))} s)")
    values["bytes"] = draw(st.lists(st.integers(0, 10**18 - 1), max_size=4))
    lines.append(f"dirreq-write-history {draw(TIMES)} (900 s) {','.join(map(str, values['bytes']))}")
    lines += draw(
        st.lists(st.sampled_from(("transport obfs4", "geoip-db-digest A", "read-history x", "opt y", "")), max_size=3)
    )
    body = "\n".join(draw(st.permutations(lines)))
    head = draw(st.sampled_from(("", "@source x\n"))) + f"@type bridge-extra-info 1.{draw(st.integers(0, 9))}\n"
    return f"{head}extra-info a {fingerprint}\npublished {values['published']}\n{body}\n", values


@given(st.lists(extra_infos(), min_size=1, max_size=4))
def test_any_extra_infos(descriptors: list[tuple[str, dict[str, Any]]]) -> None:
    """What is written by the grammar is read whole, whatever else is on other lines."""
    reading = Reading("".join(text for text, _ in descriptors))
    assert reading.damaged == []
    assert [
        (row["fingerprint"], row["published"], row["stats_end"], row["served"], row["ok"])
        for row in reading.rows["reports"]
    ] == [
        (
            values["fingerprint"], seconds(values["published"]),
            None if values["stats_end"] is None else seconds(values["stats_end"]), values["served"], values["ok"],
        )
        for _, values in descriptors
    ]  # fmt: skip
    assert sorted((row["line"], row["key"], row["number"]) for row in reading.rows["cells"]) == sorted(
        cell for _, values in descriptors for cell in values["cells"]
    )
    assert [row["bytes"] for row in reading.rows["histories"]] == [
        value for _, values in descriptors for value in values["bytes"]
    ]


@given(
    st.lists(
        st.sampled_from((EXTRA_INFO, STATUS, SERVER, DOCUMENT)) | extra_infos().map(lambda pair: pair[0]), max_size=6
    ),
    st.data(),
)
def test_how_descriptors_are_distributed_does_not_matter(texts: list[str], data: st.DataObject) -> None:
    """The same descriptors in one file, in many, or in any between make the same rows and counts."""
    cuts = sorted(data.draw(st.sets(st.integers(0, len(texts)))))
    files = ["".join(texts[start:end]) for start, end in zip([0, *cuts], [*cuts, len(texts)], strict=True)]
    one, many = Reading("".join(texts)), Reading(*files)
    assert one.sorted_rows() == many.sorted_rows()
    assert (one.read, one.skipped) == (many.read, many.skipped)


@settings(max_examples=30)
@given(st.binary(max_size=60))
def test_the_fuzz_target_holds(data: bytes) -> None:
    """The fuzz target's invariant, for damage anywhere in a file and in an archive."""
    fuzz_descriptors.check(data)


def test_the_fuzz_targets_good_file_is_good() -> None:
    """The fuzz target damages a good file."""
    reading = Reading(fuzz_descriptors.GOOD_FILE)
    assert (sum(reading.read.values()), reading.damaged, reading.skipped) == (4, [], {})
