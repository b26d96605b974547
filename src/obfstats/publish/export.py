"""Documents for programs that are no readers of documents: JSON and CSV.

Both hold what the documents hold, rounded or noisy, and nothing else. JSON is one array, an object for each interval;
CSV has one row for each number:

    start,end,seconds,measure,country,transport,family,count
    2012-02-09 09:22:04,2012-02-10 09:22:04,86400,ips,DE,,,48

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

_HEAD = ("start", "end", "seconds", "measure", "country", "transport", "family", "count")


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
        writer.writerows((*interval, *row) for row in _rows(document))
    return text.getvalue().encode()


def _object(document: Document) -> dict[str, object]:
    said: dict[str, object] = {
        "start": _start(document),
        "end": document.end,
        "seconds": document.seconds,
        "hashed_fingerprint": document.fingerprint,
        "noise": None
        if document.epsilon is None
        else {"distribution": "discrete-laplace", "epsilon": document.epsilon},
        "ips": _by_size(document.ips),
        "reqs": _by_size(document.requests),
        "ip_versions": document.ip_versions,
        "ip_transports": document.ip_transports,
        "ip_country_transports": None
        if document.ip_country_transports is None
        else {"/".join(key): number for key, number in sorted(document.ip_country_transports.items())},
        "geoip": None if document.geoip is None else document.geoip._asdict(),
        "geoip6": None if document.geoip6 is None else document.geoip6._asdict(),
    }
    return {name: value for name, value in said.items() if value is not None}


def _rows(document: Document) -> Iterator[tuple[str, str, str, str, int]]:
    """Give measure, country, transport, family and number of each row."""
    for measure, numbers in (("ips", document.ips), ("reqs", document.requests)):
        for country, number in (_by_size(numbers) or {}).items():
            yield measure, country, "", "", number
    for family, number in sorted((document.ip_versions or {}).items()):
        yield "ip-versions", "", "", family, number
    for transport, number in sorted((document.ip_transports or {}).items()):
        yield "ip-transports", "", transport, "", number
    for (country, transport), number in sorted((document.ip_country_transports or {}).items()):
        yield "ip-country-transports", country, transport, "", number


def _by_size(numbers: Mapping[str, int] | None) -> dict[str, int] | None:
    return None if numbers is None else {name: numbers[name] for name in sorted_by_size(numbers)}


def _start(document: Document) -> str:
    """Work out when the interval began."""
    return str(datetime.fromisoformat(document.end) - timedelta(seconds=document.seconds))
