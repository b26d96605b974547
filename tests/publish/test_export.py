"""JSON and CSV: everything that documents hold, in their order, and no spreadsheet formula."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.formats.document import Document, GeoIpSource, read_documents, write_document
from obfstats.publish import render
from obfstats.publish.render import to_csv, to_json
from tests.formats.documents import EXTENDED, NOISY, TICKETS, documents, shuffled

if TYPE_CHECKING:
    from random import Random

HEAD = (
    "start,end,seconds,measure,country,transport,family,count,"
    "hashed_fingerprint,noise,geoip,geoip6,ipv6_prefix,instance"
)
ABOUT = "7cb8c8b7a9e2f1d0c3b4a5968778695a4b3c2d1e,,tor B08BFE286DC8F11F29AACEAFB6F7EF0F5C771042,iptocc 3.3.170,,"
EMPTY = Document("2012-02-10 09:22:04", 86_400)
MEASURES = ("ips", "reqs", "ip-versions", "ip-transports", "ip-country-transports")


def objects(of: list[Document]) -> list[dict[str, object]]:
    """Write documents as JSON and read it as another program would."""
    read = json.loads(to_json(of))
    assert isinstance(read, list)
    return read


def rows(of: list[Document]) -> list[dict[str, str]]:
    """Write documents as CSV and read it as another program would; a row of another length fails."""
    head, *body = csv.reader(io.StringIO(to_csv(of).decode(), newline=""))
    assert ",".join(head) == HEAD
    return [dict(zip(head, row, strict=True)) for row in body]


def began(document: Document) -> str | None:
    """Count back from the end to the start, by days and seconds; None where the calendar has no such day."""
    end = datetime.fromisoformat(document.end)
    if (end - datetime.fromisoformat("0001-01-01")).total_seconds() < document.seconds:
        return None
    return (end - timedelta(*divmod(document.seconds, 86_400))).isoformat(" ")


def as_the_document_has_them(document: Document) -> dict[str, list[tuple[str, int]]]:
    """Give the names and numbers of each line of the written document."""
    lines = {}
    for text in write_document(document).decode().splitlines():
        keyword, _, cells = text.partition(" ")
        measure = keyword.removeprefix("obfsproxy-")
        if measure in MEASURES:
            split = [cell.rpartition("=") for cell in cells.split(",")] if cells else []
            lines[measure] = [(name, int(number)) for name, _, number in split]
    return lines


def source(of: GeoIpSource | None) -> dict[str, str] | None:
    """Give a source of countries as JSON has it."""
    return None if of is None else {"name": of.name, "version": of.version}


def line_of(of: GeoIpSource | None) -> str:
    """Give a source of countries as the document's line has it."""
    return "" if of is None else f"{of.name} {of.version}"


# By example


def test_json_of_a_document_with_every_line() -> None:
    """Names, values, what is a number and what is text."""
    assert objects(read_documents(EXTENDED)) == [
        {
            "start": "2012-02-09 09:22:04",
            "end": "2012-02-10 09:22:04",
            "seconds": 86_400,
            "hashed_fingerprint": "7cb8c8b7a9e2f1d0c3b4a5968778695a4b3c2d1e",
            "ips": {"DE": 48, "EU": 48, "AU": 32},
            "reqs": {"DE": 64, "EU": 56, "AU": 32},
            "ip_versions": {"v4": 112, "v6": 16},
            "ip_transports": {"obfs2": 8, "obfs3": 120},
            "ip_country_transports": {"DE/obfs3": 48, "EU/obfs3": 48, "AU/obfs2": 8, "AU/obfs3": 24},
            "geoip": {"name": "tor", "version": "B08BFE286DC8F11F29AACEAFB6F7EF0F5C771042"},
            "geoip6": {"name": "iptocc", "version": "3.3.170"},
        }
    ]


def test_csv_of_a_document_with_every_line() -> None:
    """Byte for byte: each number in its row, each name in its column, the rest in every row."""
    interval = "2012-02-09 09:22:04,2012-02-10 09:22:04,86400"
    cells = [
        *("ips,DE,,,48", "ips,EU,,,48", "ips,AU,,,32"),
        *("reqs,DE,,,64", "reqs,EU,,,56", "reqs,AU,,,32"),
        *("ip-versions,,,v4,112", "ip-versions,,,v6,16"),
        *("ip-transports,,obfs2,,8", "ip-transports,,obfs3,,120"),
        *("ip-country-transports,DE,obfs3,,48", "ip-country-transports,EU,obfs3,,48"),
        *("ip-country-transports,AU,obfs2,,8", "ip-country-transports,AU,obfs3,,24"),
    ]
    expected = "".join(f"{line}\n" for line in [HEAD, *(f"{interval},{cell},{ABOUT}" for cell in cells)])
    assert to_csv(read_documents(EXTENDED)).decode() == expected


def test_a_day_with_noise_says_so_in_both() -> None:
    """A reader needs to know the noise; numbers may be negative."""
    noisy = read_documents(NOISY)
    assert objects(noisy)[0]["noise"] == {"distribution": "discrete-laplace", "epsilon": "0.5"}
    assert objects(noisy)[0]["ips"] == {"DE": 45, "AU": 29, "??": 1, "DK": 0, "EU": -2}
    assert {row["noise"] for row in rows(noisy)} == {"discrete-laplace epsilon=0.5"}
    assert [row["count"] for row in rows(noisy)] == ["45", "29", "1", "0", "-2"]


def test_the_modules_example_is_what_is_written() -> None:
    """The header and first row of the ticket's document."""
    assert render.__doc__ is not None
    head, first = to_csv(read_documents(TICKETS)).decode().splitlines()[:2]
    assert f"\n    {head}\n    {first}\n" in render.__doc__


# Of any documents


@given(st.lists(documents(unknown=False), max_size=3))
def test_json_holds_what_the_documents_hold(several: list[Document]) -> None:
    """One object for each document; a missing value is left out, an empty one is empty."""
    read = objects(several)
    assert len(read) == len(several)
    for one, document in zip(read, several, strict=True):
        cells = document.ip_country_transports
        expected = {
            "start": began(document),
            "end": document.end,
            "seconds": document.seconds,
            "hashed_fingerprint": document.fingerprint,
            "noise": document.epsilon and {"distribution": "discrete-laplace", "epsilon": document.epsilon},
            "instance": document.instance,
            "ipv6_prefix": document.ipv6_prefix,
            "ips": document.ips,
            "reqs": document.requests,
            "ip_versions": document.ip_versions,
            "ip_transports": document.ip_transports,
            "ip_country_transports": None if cells is None else {f"{key[0]}/{key[1]}": cells[key] for key in cells},
            "geoip": source(document.geoip),
            "geoip6": source(document.geoip6),
        }
        assert one == {name: value for name, value in expected.items() if value is not None}


@given(documents(unknown=False))
def test_json_has_the_documents_order(document: Document) -> None:
    """Each object has the order of its line, which reveals no order of connections."""
    (one,) = objects([document])
    for measure, cells in as_the_document_has_them(document).items():
        numbers = one[measure.replace("-", "_")]
        assert isinstance(numbers, dict)
        assert list(numbers.items()) == cells


@given(st.lists(documents(unknown=False), max_size=3))
def test_csv_holds_what_the_documents_hold(several: list[Document]) -> None:
    """Every number once, in the document's order, with the document's other values."""
    expected = []
    for document in several:
        numbers = []
        for measure, cells in as_the_document_has_them(document).items():
            for name, number in cells:
                country, transport, family = {
                    "ips": (name, "", ""),
                    "reqs": (name, "", ""),
                    "ip-versions": ("", "", name),
                    "ip-transports": ("", name, ""),
                    "ip-country-transports": (name[:2], name[3:], ""),
                }[measure]
                numbers.append((measure, country, transport, family, str(number)))
        expected += [
            {
                "start": began(document) or "",
                "end": document.end,
                "seconds": str(document.seconds),
                "measure": measure,
                "country": country,
                "transport": transport,
                "family": family,
                "count": count,
                "hashed_fingerprint": document.fingerprint or "",
                "noise": "" if document.epsilon is None else f"discrete-laplace epsilon={document.epsilon}",
                "geoip": line_of(document.geoip),
                "geoip6": line_of(document.geoip6),
                "ipv6_prefix": "" if document.ipv6_prefix is None else str(document.ipv6_prefix),
                "instance": document.instance or "",
            }
            for measure, country, transport, family, count in numbers or [("", "", "", "", "")]
        ]
    assert rows(several) == expected


@given(documents(unknown=False), st.randoms(use_true_random=False))
def test_the_order_in_memory_is_not_written(document: Document, random: Random) -> None:
    """Equal values give equal bytes in both, so no order of connections shows."""
    other = shuffled(document, random)
    assert to_json([other]) == to_json([document])
    assert to_csv([other]) == to_csv([document])


@given(documents(unknown=False))
def test_no_field_begins_a_formula(document: Document) -> None:
    """No field begins like a formula; a count may begin with a minus because it is a plain number."""
    for row in rows([document]):
        assert re.fullmatch(r"|0|-?[1-9][0-9]*", row["count"])
        for name, text in row.items():
            assert name == "count" or not text.startswith(("=", "+", "-", "@", "\t", "\r"))


@given(documents())
def test_nothing_else_is_written(document: Document) -> None:
    """The type and unknown lines, which may hold anything, change no byte."""
    bare = replace(document, minor=None, unknown=())
    assert to_json([document]) == to_json([bare])
    assert to_csv([document]) == to_csv([bare])


# Next to nothing


def test_no_document_is_an_empty_array_and_a_head() -> None:
    """Readers need no special case."""
    assert to_json([]) == b"[]\n"
    assert to_csv([]).decode() == f"{HEAD}\n"


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(EMPTY, id="nothing counted"),
        pytest.param(replace(EMPTY, ips={}, requests={}), id="nobody came"),
        pytest.param(replace(EMPTY, ip_versions={}, ip_transports={}, ip_country_transports={}), id="extended"),
    ],
)
def test_an_interval_without_numbers_is_not_lost_in_csv(document: Document) -> None:
    """It is one row without measure and count."""
    written = to_csv([*read_documents(NOISY), document, *read_documents(NOISY)]).decode().splitlines()
    assert len(written) == 1 + 5 + 1 + 5
    assert written[6] == "2012-02-09 09:22:04,2012-02-10 09:22:04,86400,,,,,,,,,,,"


def test_an_interval_without_numbers_keeps_its_other_values() -> None:
    """Fingerprint, noise and sources are in the same columns as elsewhere."""
    (document,) = read_documents(EXTENDED)
    described = replace(
        EMPTY, fingerprint=document.fingerprint, epsilon="1", geoip=document.geoip, geoip6=document.geoip6
    )
    about = ABOUT.replace(",,", ",discrete-laplace epsilon=1,", 1)
    expected = f"2012-02-09 09:22:04,2012-02-10 09:22:04,86400,,,,,,{about}"
    assert to_csv([described]).decode().splitlines()[1:] == [expected]


def test_json_tells_an_empty_measure_from_none() -> None:
    """No client, or not counted."""
    interval = {"start": "2012-02-09 09:22:04", "end": "2012-02-10 09:22:04", "seconds": 86_400}
    assert objects([EMPTY, replace(EMPTY, ips={})]) == [interval, {**interval, "ips": {}}]


def test_a_start_that_no_calendar_has_is_left_out() -> None:
    """A start before the year 1 is left out; one second later it is written."""
    first = replace(EMPTY, end="0001-01-02 00:00:00")
    before = replace(first, seconds=86_401)
    assert objects([first])[0]["start"] == rows([first])[0]["start"] == "0001-01-01 00:00:00"
    assert "start" not in objects([before])[0]
    assert rows([before])[0]["start"] == ""
