"""From intervals to the bytes that leave the machine: documents, JSON, CSV, and tor's own lines.

**Noise** is drawn once for an interval. The ledger records the release on the disk before this runs (ledgers.py), so a
release that fails afterwards, on a full disk for example, is lost rather than repeated.

**JSON and CSV** hold what the documents hold, in the same order, except the type and the lines of a later version,
which are never published. JSON is one array with an object for each interval. CSV has one row for each number; what
describes the document is repeated in every row, and is empty where it is unknown:

    start,end,seconds,measure,country,transport,family,count,hashed_fingerprint,noise,geoip,geoip6,ipv6_prefix,instance
    2012-02-09 09:22:04,2012-02-10 09:22:04,86400,ips,DE,,,48,7cb8c8b7a9e2f1d0c3b4a5968778695a4b3c2d1e,,,,,

A document without any number is one row without measure and count. A measure without numbers has no row beside other
measures: only JSON tells whether no client connected or clients were not counted. No field can begin a spreadsheet
formula: names are of the document's grammar, numbers are numbers.

**Tor's lines** are what tor writes of its own clients (dir-spec, bridge-stats-end and the lines after it), so that both
can be compared (ticket 5047: equivalent, or at least easily comparable):

    bridge-stats-end 2026-11-23 12:22:27 (86400 s)
    bridge-ips ??=8,tr=8,us=8
    bridge-ip-versions v4=16,v6=8
    bridge-ip-transports <??>=8,<OR>=8,obfs3=8

As with tor, a client is an address and a transport, so an address that used two transports counts twice in every line;
where the log does not name transports, a client is an address. Countries are sorted by the rounded number, transports
by name. The lines of versions and transports need these columns in every line of the interval.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from obfstats.formats.counts import round_up
from obfstats.formats.document import NOISE_DISTRIBUTION, NOISE_METHOD, in_canonical_order, sorted_by_size
from obfstats.formats.interval import format_time
from obfstats.publish.ledger import ROUNDED_TOR, write_method
from obfstats.publish.making_documents import (
    FAMILIES,
    DocumentOptions,
    noisy_document,
    rounded_document,
    write_within_limit,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from fractions import Fraction

    from obfstats.formats.counts import Counts
    from obfstats.formats.document import Document
    from obfstats.publish.budget import EpsilonBudget

OutputFormat: TypeAlias = Literal["ticket", "tor", "json", "csv"]

_CSV_HEADER = (
    *("start", "end", "seconds", "measure", "country", "transport", "family", "count"),
    *("hashed_fingerprint", "noise", "geoip", "geoip6", "ipv6_prefix", "instance"),
)


@dataclass(frozen=True, slots=True)
class NoiseOptions:
    """How noise is added.

    Attributes:
        epsilon: bound on what a release reveals of one client.
        codes: every country of the GeoIP source, lower case.
        budget: what the noise of several intervals may spend; None for any sum.
    """

    epsilon: Fraction
    codes: Sequence[str]
    budget: EpsilonBudget | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """What is written of intervals.

    Attributes:
        format: in which form.
        options: what documents contain beside numbers.
        noise: how noise is added; None to round instead.
    """

    format: OutputFormat = "ticket"
    options: DocumentOptions = field(default_factory=DocumentOptions)
    noise: NoiseOptions | None = None

    @property
    def method(self) -> str:
        """How this releases intervals, for the ledger."""
        if self.format == "tor":
            return ROUNDED_TOR
        return write_method(self.noise.epsilon if self.noise else None, extended=self.options.extended)


def render(intervals: Sequence[Counts], output: Output, warn: Callable[[str], None]) -> bytes:
    """Write intervals in the form that was asked for.

    Args:
        intervals: those that may be published, sorted by start.
        output: what is written.
        warn: gets sentences for the operator about what is left out.
    """
    if output.format == "tor":
        return "".join(f"{line}\n" for counts in intervals for line in _tor_lines(counts)).encode()
    noise, options = output.noise, output.options
    documents = [
        rounded_document(counts, options)
        if noise is None
        else noisy_document(counts, options, noise.codes, noise.epsilon)
        for counts in intervals
    ]
    if options.extended and not all(counts.has_all_columns() for counts in intervals):
        warn("some lines of --extended are left out: the log does not name transport and family of every connection")
    if output.format == "json":
        return to_json(documents)
    if output.format == "csv":
        return to_csv(documents)
    return b"".join(write_within_limit(document, warn) for document in documents)


def to_json(documents: Sequence[Document]) -> bytes:
    """Write documents as a JSON array; a value that a document does not have is left out."""
    objects = [_object(in_canonical_order(document)) for document in documents]
    return (json.dumps(objects, indent=2) + "\n").encode()


def to_csv(documents: Sequence[Document]) -> bytes:
    """Write documents as CSV (RFC 4180, but lines end in LF), one number a row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV_HEADER)
    for document in documents:
        interval = (_start(document), document.end, document.seconds)
        about = (
            document.fingerprint,
            None if document.epsilon is None else f"{NOISE_METHOD}{document.epsilon}",
            *(None if source is None else " ".join(source) for source in (document.geoip, document.geoip6)),
            document.ipv6_prefix,
            document.instance,
        )
        cells = list(_cells(in_canonical_order(document))) or [("", "", "", "", "")]
        writer.writerows((*interval, *cell, *about) for cell in cells)
    return text.getvalue().encode()


def _object(document: Document) -> dict[str, object]:
    cells, epsilon = document.ip_country_transports, document.epsilon
    values: dict[str, object] = {
        "start": _start(document),
        "end": document.end,
        "seconds": document.seconds,
        "hashed_fingerprint": document.fingerprint,
        "instance": document.instance,
        "noise": None if epsilon is None else {"distribution": NOISE_DISTRIBUTION, "epsilon": epsilon},
        "ipv6_prefix": document.ipv6_prefix,
        "ips": document.ips,
        "reqs": document.requests,
        "ip_versions": document.ip_versions,
        "ip_transports": document.ip_transports,
        "ip_country_transports": None if cells is None else {"/".join(key): cells[key] for key in cells},
        "geoip": None if document.geoip is None else document.geoip._asdict(),
        "geoip6": None if document.geoip6 is None else document.geoip6._asdict(),
    }
    return {name: value for name, value in values.items() if value is not None}


def _cells(document: Document) -> Iterator[tuple[str, str, str, str, int | str]]:
    """Give measure, country, transport, family and number of each row."""
    for measure, numbers in (("ips", document.ips), ("reqs", document.requests)):
        for country, number in (numbers or {}).items():
            yield measure, country, "", "", number
    for family, number in (document.ip_versions or {}).items():
        yield "ip-versions", "", "", family, number
    for transport, number in (document.ip_transports or {}).items():
        yield "ip-transports", "", transport, "", number
    for (country, transport), number in (document.ip_country_transports or {}).items():
        yield "ip-country-transports", country, transport, "", number


def _start(document: Document) -> str | None:
    """Give the start of the interval; None where that is before the year 1."""
    try:
        return document.interval.label
    except OverflowError:
        return None


def _tor_lines(counts: Counts) -> Iterator[str]:
    """Give tor's lines for one interval; none where addresses are unknown."""
    pairs = counts.pairs
    if pairs is None:
        return
    yield f"bridge-stats-end {format_time(counts.interval.end)} ({counts.interval.seconds} s)"
    countries = {country: round_up(number) for country, number in pairs.countries.items()}
    yield f"bridge-ips {_tor_cells(countries, sorted_by_size(countries))}"
    if pairs.families is not None:
        yield f"bridge-ip-versions {_tor_cells(FAMILIES | dict(pairs.families), FAMILIES)}"
    if pairs.transports is not None:
        yield f"bridge-ip-transports {_tor_cells(pairs.transports, sorted(pairs.transports))}"


def _tor_cells(numbers: Mapping[str, int], names: Iterable[str]) -> str:
    return ",".join(f"{name}={round_up(numbers[name])}" for name in names)
