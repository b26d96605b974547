"""Documents for programs that are no readers of documents: JSON and CSV.

Both hold what the documents hold, rounded or noisy, and nothing else; not their type, and no line of a later version,
which nobody publishes. Numbers stand in the order of the document's lines, so that it tells nothing of what was rounded
away, and what is written is always the same for the same values.

JSON is one array, an object for each interval. CSV has one row for each number; what the document says of itself stands
in every row, and is empty where it is not known:

    start,end,seconds,measure,country,transport,family,count,hashed_fingerprint,noise,geoip,geoip6
    2012-02-09 09:22:04,2012-02-10 09:22:04,86400,ips,DE,,,48,7cb8c8b7a9e2f1d0c3b4a5968778695a4b3c2d1e,,,

A document without a single number is one row without measure and count. Beside other numbers, a measure without any
has no row: only JSON tells whether nobody came or nobody counted.

No field can begin a formula in a spreadsheet: names are of the document's grammar, numbers are numbers.
"""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from obfstats.formats.document import sorted_by_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from obfstats.formats.document import Document

_HEAD = (
    *("start", "end", "seconds", "measure", "country", "transport", "family", "count"),
    *("hashed_fingerprint", "noise", "geoip", "geoip6"),
)
_DISTRIBUTION = "discrete-laplace"


def to_json(documents: Sequence[Document]) -> bytes:
    """Write documents as a JSON array; what a document does not say is not there."""
    return (json.dumps([_object(document) for document in documents], indent=2) + "\n").encode()


def to_csv(documents: Sequence[Document]) -> bytes:
    """Write documents as CSV (RFC 4180, but for lines that end in LF), one number a row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEAD)
    for document in documents:
        interval = (_start(document), document.end, document.seconds)
        about = (
            document.fingerprint,
            None if document.epsilon is None else f"{_DISTRIBUTION} epsilon={document.epsilon}",
            *(None if source is None else " ".join(source) for source in (document.geoip, document.geoip6)),
        )
        rows = list(_rows(document)) or [("", "", "", "", "")]
        writer.writerows((*interval, *row, *about) for row in rows)
    return text.getvalue().encode()


def _object(document: Document) -> dict[str, object]:
    cells = _by_country(document)
    said: dict[str, object] = {
        "start": _start(document),
        "end": document.end,
        "seconds": document.seconds,
        "hashed_fingerprint": document.fingerprint,
        "noise": None if document.epsilon is None else {"distribution": _DISTRIBUTION, "epsilon": document.epsilon},
        "ips": _by_size(document.ips),
        "reqs": _by_size(document.requests),
        "ip_versions": _by_name(document.ip_versions),
        "ip_transports": _by_name(document.ip_transports),
        "ip_country_transports": None if cells is None else {"/".join(key): cells[key] for key in cells},
        "geoip": None if document.geoip is None else document.geoip._asdict(),
        "geoip6": None if document.geoip6 is None else document.geoip6._asdict(),
    }
    return {name: value for name, value in said.items() if value is not None}


def _rows(document: Document) -> Iterator[tuple[str, str, str, str, int | str]]:
    """Give measure, country, transport, family and number of each row."""
    for measure, numbers in (("ips", document.ips), ("reqs", document.requests)):
        for country, number in (_by_size(numbers) or {}).items():
            yield measure, country, "", "", number
    for family, number in (_by_name(document.ip_versions) or {}).items():
        yield "ip-versions", "", "", family, number
    for transport, number in (_by_name(document.ip_transports) or {}).items():
        yield "ip-transports", "", transport, "", number
    for (country, transport), number in (_by_country(document) or {}).items():
        yield "ip-country-transports", country, transport, "", number


def _by_size(numbers: Mapping[str, int] | None) -> dict[str, int] | None:
    return None if numbers is None else {name: numbers[name] for name in sorted_by_size(numbers)}


def _by_name(numbers: Mapping[str, int] | None) -> dict[str, int] | None:
    return None if numbers is None else dict(sorted(numbers.items()))


def _by_country(document: Document) -> dict[tuple[str, str], int] | None:
    """Sort countries by transport as the document has them: countries in the order of its addresses, then by name."""
    cells = document.ip_country_transports
    if cells is None:
        return None
    place = {code: place for place, code in enumerate(sorted_by_size(document.ips or {}))}
    return {key: cells[key] for key in sorted(cells, key=lambda key: (place.get(key[0], len(place)), *key))}


def _start(document: Document) -> str | None:
    """Work out when the interval began; None where that is before the year 1."""
    try:
        return str(datetime.fromisoformat(document.end) - timedelta(seconds=document.seconds))
    except OverflowError:
        return None
