"""The published document: what leaves a bridge (docs/document.md has the specification; ticket 5047, comments 1 to 3).

    @type obfsproxy-stats 1.0
    hashed-fingerprint 7cb8c8b7a9e2f1d0c3b4a5968778695a4b3c2d1e
    obfsproxy-stats-end (86400 s) 2012-02-10 09:22:04
    obfsproxy-ips DE=48,EU=48,AU=32
    obfsproxy-reqs DE=64,EU=56,AU=32

Rules:

- Only `obfsproxy-stats-end` must be there. It stands in front of the numbers; every line stands once.
- Numbers are written sorted: by the number, largest first, then by code, so that their order tells nothing of what was
  rounded away. Transports are sorted by name, and where countries are split up by transport they are in the order of
  `obfsproxy-ips`.
- Readers take any order of numbers, lower-case codes, and Tor's order of the stats-end line. What is written is always
  the same for the same values.
- A line that is not known here is kept by who passes documents on, and refused by who publishes: a new line may hold
  anything.
- An error says which line and why, and never quotes it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from obfstats.formats.document_lines import HEADING, READERS, TYPE, GeoIpSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "MAX_DOCUMENT_LENGTH",
    "Document",
    "DocumentError",
    "GeoIpSource",
    "read_documents",
    "sorted_by_size",
    "write_document",
]

MAX_DOCUMENT_LENGTH = 50_000
"""Bytes of one document: as much as tor gives to an extra-info descriptor."""

_KEYWORD = re.compile(r"@?[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_ARGUMENTS = re.compile(r"[\x20-\x7e]*")


class DocumentError(ValueError):
    """Text is no document.

    Attributes:
        line: the number of the line that does not fit, counted from 1.
        reason: what is wrong with it, in words.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Document:
    """One interval's numbers as they are published.

    Attributes:
        end: end of the interval, `YYYY-MM-DD HH:MM:SS`, UTC.
        seconds: its length.
        fingerprint: SHA-1 over the bridge's 20 fingerprint bytes, lower-case hex; None where it is not said.
        epsilon: of the noise on `ips`, as decimal text; None where the numbers are rounded.
        ips: unique addresses by upper-case country code; None where they are not known.
        requests: connections by upper-case country code; None where they are not published.
        ip_versions: unique addresses by `v4` and `v6`.
        ip_transports: unique addresses by transport.
        ip_country_transports: unique addresses by (upper-case country code, transport).
        geoip: where the countries of IPv4 addresses come from.
        geoip6: the same for IPv6.
        is_typed: whether it begins with its type.
        minor: its version is 1 and this; 0 where it does not say its type.
        unknown: lines of a later version, in their order, as they stand.
    """

    end: str
    seconds: int
    fingerprint: str | None = None
    epsilon: str | None = None
    ips: Mapping[str, int] | None = None
    requests: Mapping[str, int] | None = None
    ip_versions: Mapping[str, int] | None = None
    ip_transports: Mapping[str, int] | None = None
    ip_country_transports: Mapping[tuple[str, str], int] | None = None
    geoip: GeoIpSource | None = None
    geoip6: GeoIpSource | None = None
    is_typed: bool = False
    minor: int = 0
    unknown: tuple[str, ...] = field(default=())


def write_document(document: Document) -> bytes:
    """Write a document as it is published.

    Raises:
        DocumentError: where a value is not of the grammar; nothing that cannot be read again is ever written.
    """
    text = "".join(f"{line}\n" for line in _lines(document)).encode("utf-8", "surrogatepass")
    if read_documents(text, keep_unknown=True) != [document]:
        raise DocumentError(1, "a value cannot be written so that it reads the same")
    return text


def read_documents(text: bytes, *, keep_unknown: bool = False) -> list[Document]:
    """Read documents, one below the other.

    Args:
        text: lines that end in LF; the last may lack it.
        keep_unknown: whether lines that are not known are kept; else they are refused.

    Raises:
        DocumentError: where the text is not of the grammar.
    """
    lines = text.removesuffix(b"\n").split(b"\n") if text else []
    return [_read(first, part, keep_unknown=keep_unknown) for first, part in _split(lines)]


def sorted_by_size(numbers: Mapping[str, int]) -> list[str]:
    """Give the names by their numbers, the largest first, then by name (ticket 5047, comment 3)."""
    return sorted(numbers, key=lambda name: (-numbers[name], name))


def _lines(document: Document) -> Iterator[str]:
    """Give a document's lines, in order."""
    if document.is_typed:
        yield f"@type {TYPE}{document.minor}"
    if document.fingerprint is not None:
        yield f"hashed-fingerprint {document.fingerprint}"
    yield f"obfsproxy-stats-end ({document.seconds} s) {document.end}"
    if document.epsilon is not None:
        yield f"obfsproxy-noise discrete-laplace epsilon={document.epsilon}"
    for keyword, numbers in (("obfsproxy-ips", document.ips), ("obfsproxy-reqs", document.requests)):
        if numbers is not None:
            yield _cells(keyword, {name: numbers[name] for name in sorted_by_size(numbers)})
    for keyword, numbers in (
        ("obfsproxy-ip-versions", document.ip_versions),
        ("obfsproxy-ip-transports", document.ip_transports),
    ):
        if numbers is not None:
            yield _cells(keyword, dict(sorted(numbers.items())))
    if document.ip_country_transports is not None:
        place = {code: place for place, code in enumerate(sorted_by_size(document.ips or {}))}
        cells = sorted(
            document.ip_country_transports.items(),
            key=lambda cell: (place.get(cell[0][0], len(place)), *cell[0]),
        )
        yield _cells("obfsproxy-ip-country-transports", {"/".join(key): number for key, number in cells})
    for keyword, source in (("obfsproxy-geoip", document.geoip), ("obfsproxy-geoip6", document.geoip6)):
        if source is not None:
            yield f"{keyword} {' '.join(source)}"
    yield from document.unknown


def _cells(keyword: str, numbers: Mapping[str, int]) -> str:
    return f"{keyword} {','.join(f'{name}={number}' for name, number in numbers.items())}"


def _split(lines: list[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Split a file into documents: a new one begins with a heading line behind the numbers of the one before."""
    first, in_body = 0, False
    for place, line in enumerate(lines):
        keyword = line.partition(b" ")[0]
        if keyword in {b"@type", b"hashed-fingerprint", b"obfsproxy-stats-end"} and in_body:
            yield first, lines[first:place]
            first, in_body = place, False
        in_body = in_body or keyword == b"obfsproxy-stats-end"
    if lines:
        yield first, lines[first:]


def _read(first: int, lines: list[bytes], *, keep_unknown: bool) -> Document:
    """Read one document; `first` lines stand in front of it."""
    # A blank that is missing behind a keyword is there when the line is written, so it counts.
    if sum(len(line) + (b" " not in line) + 1 for line in lines) > MAX_DOCUMENT_LENGTH:
        raise DocumentError(first + 1, f"a document of more than {MAX_DOCUMENT_LENGTH} bytes")
    values: dict[str, object] = {}
    unknown: list[str] = []
    for number, line in enumerate(lines, first + 1):
        try:
            text = line.decode("ascii")
        except UnicodeDecodeError:
            raise DocumentError(number, "a byte that is not ASCII") from None
        keyword, blank, arguments = text.partition(" ")
        known = READERS.get(keyword)
        if known is None and not (
            keep_unknown and _KEYWORD.fullmatch(keyword) and _ARGUMENTS.fullmatch(blank + arguments)
        ):
            raise DocumentError(number, "a line that is not known")
        if "end" not in values and (known is None or known[0] not in HEADING):
            raise DocumentError(number, "it stands before obfsproxy-stats-end")
        if known is None:
            unknown.append(text)
            continue
        name, read = known
        if name in values:
            raise DocumentError(number, "a second line of its kind")
        try:
            value = read(arguments)
        except ValueError as error:
            raise DocumentError(number, str(error)) from None
        if name == "end":
            values["end"], values["seconds"] = value  # type: ignore[misc]
        else:
            values[name] = value
    if "end" not in values:
        raise DocumentError(first + 1, "a document without obfsproxy-stats-end")
    document = Document(**values, is_typed="minor" in values, unknown=tuple(unknown))  # type: ignore[arg-type]
    if document.epsilon is None and any(number < 0 for number in _numbers(document)):
        raise DocumentError(first + 1, "a number below zero in a document without noise")
    return document


def _numbers(document: Document) -> Iterator[int]:
    for numbers in (document.ips, document.requests, document.ip_versions, document.ip_transports):
        yield from (numbers or {}).values()
    yield from (document.ip_country_transports or {}).values()
