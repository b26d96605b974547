"""JSON and CSV hold what the document holds: each number in its place, and no order that tells more."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from dataclasses import fields, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import assume, given
from hypothesis import strategies as st

from obfstats.formats.document import Document, GeoIpSource, read_documents, write_document
from obfstats.publish.export import to_csv, to_json
from tests.formats.documents import EXTENDED, NOISY, documents

if TYPE_CHECKING:
    from random import Random

NUMBERS = ("ips", "requests", "ip_versions", "ip_transports", "ip_country_transports")


def begins(document: Document) -> str:
    """When its interval began."""
    return str(datetime.fromisoformat(document.end) - timedelta(seconds=document.seconds))


@st.composite
def days(draw: st.DrawFn) -> Document:
    """Give any document whose interval began after year 1."""
    document = draw(documents(unknown=False))
    assume(datetime.fromisoformat(document.end) - datetime(1, 1, 1) > timedelta(seconds=document.seconds))  # noqa: DTZ001
    return document


def read_json(text: bytes) -> list[Document]:
    """Make documents of JSON again, field by field."""
    read = []
    for one in json.loads(text):
        said: dict[str, Any] = dict(one)
        assert said.pop("start") == str(datetime.fromisoformat(said["end"]) - timedelta(seconds=said["seconds"]))
        noise = said.pop("noise", None)
        assert noise is None or noise.pop("distribution") == "discrete-laplace"
        pairs = said.pop("ip_country_transports", None)
        read.append(
            Document(
                end=said.pop("end"),
                seconds=said.pop("seconds"),
                fingerprint=said.pop("hashed_fingerprint", None),
                epsilon=noise and noise.pop("epsilon"),
                ips=said.pop("ips", None),
                requests=said.pop("reqs", None),
                ip_versions=said.pop("ip_versions", None),
                ip_transports=said.pop("ip_transports", None),
                ip_country_transports=None
                if pairs is None
                else {(key.split("/")[0], key.split("/")[1]): number for key, number in pairs.items()},
                geoip=_source(said.pop("geoip", None)),
                geoip6=_source(said.pop("geoip6", None)),
            )
        )
        assert (said, noise or {}) == ({}, {})
    return read


def _source(said: dict[str, str] | None) -> GeoIpSource | None:
    return None if said is None else GeoIpSource(**said)


@given(st.lists(days(), max_size=3))
def test_json_holds_every_field(given_documents: list[Document]) -> None:
    """And nothing else: whoever reads it has the documents again."""
    plain = [replace(document, is_typed=False, minor=0) for document in given_documents]
    for document, read in zip(plain, read_json(to_json(given_documents)), strict=True):
        for field in fields(Document):
            there, wanted = getattr(read, field.name), getattr(document, field.name)
            # No country at all and no line are both nothing to a mapping that is empty.
            assert there == wanted or (not there and not wanted), field.name


@given(st.lists(days(), max_size=3))
def test_csv_has_a_row_for_each_number(given_documents: list[Document]) -> None:
    """With all that is needed to know what it counts, and under what noise."""
    wanted = Counter[tuple[str, ...]]()
    for document in given_documents:
        interval = (begins(document), document.end, str(document.seconds))
        source = (
            document.fingerprint or "",
            f"discrete-laplace epsilon={document.epsilon}" if document.epsilon else "",
            *(" ".join(one) if one else "" for one in (document.geoip, document.geoip6)),
        )
        rows = [
            *(("ips", code, "", "", str(number)) for code, number in (document.ips or {}).items()),
            *(("reqs", code, "", "", str(number)) for code, number in (document.requests or {}).items()),
            *(("ip-versions", "", "", name, str(number)) for name, number in (document.ip_versions or {}).items()),
            *(("ip-transports", "", name, "", str(number)) for name, number in (document.ip_transports or {}).items()),
            *(
                ("ip-country-transports", code, name, "", str(number))
                for (code, name), number in (document.ip_country_transports or {}).items()
            ),
        ]
        wanted.update((*interval, *row, *source) for row in rows or [("", "", "", "", "")])
    head, *rows_read = csv.reader(io.StringIO(to_csv(given_documents).decode()))
    assert ",".join(head) == (
        "start,end,seconds,measure,country,transport,family,count,hashed_fingerprint,noise,geoip,geoip6"
    )
    assert Counter(map(tuple, rows_read)) == wanted


@given(days(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_tells_nothing(document: Document, random: Random) -> None:
    """The same numbers are the same bytes, in whatever order they were counted."""
    changes: dict[str, Any] = {}
    for name in NUMBERS:
        cells = list((getattr(document, name) or {}).items())
        random.shuffle(cells)
        changes[name] = dict(cells) if getattr(document, name) is not None else None
    shuffled = replace(document, **changes)
    assert write_document(shuffled) == write_document(document)
    assert to_json([shuffled]) == to_json([document])
    assert to_csv([shuffled]) == to_csv([document])


def test_the_order_is_the_documents() -> None:
    """Countries by size, all else by name."""
    (document,) = read_documents(EXTENDED)
    rows = list(csv.DictReader(io.StringIO(to_csv([document]).decode())))
    assert [(row["measure"], row["country"], row["count"]) for row in rows[:6]] == [
        ("ips", "DE", "48"),
        ("ips", "EU", "48"),
        ("ips", "AU", "32"),
        ("reqs", "DE", "64"),
        ("reqs", "EU", "56"),
        ("reqs", "AU", "32"),
    ]
    (said,) = json.loads(to_json([document]))
    assert list(said["ips"]) == ["DE", "EU", "AU"]
    assert list(said["ip_transports"]) == ["obfs2", "obfs3"]


def test_noise_is_told_from_rounding() -> None:
    """In each row, since rows are torn from their file."""
    (document,) = read_documents(NOISY)
    rows = list(csv.DictReader(io.StringIO(to_csv([document]).decode())))
    assert {row["noise"] for row in rows} == {"discrete-laplace epsilon=0.5"}
    assert [int(row["count"]) for row in rows] == [45, 29, 1, 0, -2]
    assert json.loads(to_json([document]))[0]["noise"] == {"distribution": "discrete-laplace", "epsilon": "0.5"}


def test_nothing_is_an_empty_list() -> None:
    """And a head without rows."""
    assert json.loads(to_json([])) == []
    assert to_csv([]).count(b"\n") == 1
