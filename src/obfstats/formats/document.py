"""The published document: what leaves a bridge (docs/document.md is the specification; ticket 5047, comments 1 to 3).

    @type obfsproxy-stats 1.0
    hashed-fingerprint 7cb8c8b7a9e2f1d0c3b4a5968778695a4b3c2d1e
    obfsproxy-stats-end (86400 s) 2012-02-10 09:22:04
    obfsproxy-ips DE=48,EU=48,AU=32
    obfsproxy-reqs DE=64,EU=56,AU=32

Rules:

- Only `obfsproxy-stats-end` is mandatory. It precedes the numbers; no keyword occurs twice.
- Numbers are written in canonical order (`in_canonical_order`), so that their order reveals nothing that was rounded
  away, and equal values are always equal bytes.
- Readers accept any order of numbers, lower-case country codes, and Tor's order of the stats-end line (dir-spec,
  bridge-stats-end).
- A program that passes documents on keeps unknown lines. A program that publishes refuses them: a new line may hold
  anything.
- An error names the line and the reason, and never quotes the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from obfstats.formats.interval import TIME_PATTERN, Interval, parse_time
from obfstats.formats.logline import TRANSPORT_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MAX_DOCUMENT_LENGTH = 50_000
"""Bytes of one document: tor's limit for an extra-info descriptor."""

TYPE = "obfsproxy-stats"
"""The type that the first line of an extended document names; its version follows."""

NOISE_DISTRIBUTION = "discrete-laplace"
"""What noise is drawn from."""

NOISE_METHOD = f"{NOISE_DISTRIBUTION} epsilon="
"""How noisy numbers are described, in documents, exports and ledgers: epsilon as decimal text follows."""

_TYPE = re.compile(rf"{TYPE} 1\.(0|[1-9][0-9]{{0,3}})")
_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{40}")
_STATS_END = re.compile(
    rf"\((?P<a>[0-9]{{1,9}}) s\) (?P<b>{TIME_PATTERN})|(?P<c>{TIME_PATTERN}) \((?P<d>[0-9]{{1,9}}) s\)"
)
_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,11}")
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9]|\?\?")
_FAMILY = re.compile(r"v[46]")
_NOISE = re.compile(rf"{NOISE_METHOD}((?:0|[1-9][0-9]{{0,5}})(?:\.[0-9]{{1,6}})?)")
_IPV6_PREFIX = re.compile("32|40|48|56|64|72|80|88|96|104|112|120")
# A version of four parts would read as an IPv4 address.
_GEOIP = re.compile(r"(tor|file) ([0-9A-Fa-f]{40})|(iptocc) ([0-9]{1,9}(?:\.[0-9]{1,9}){0,2})")

_UNKNOWN_KEYWORD = re.compile(r"@?[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_UNKNOWN_ARGUMENTS = re.compile(r"[\x20-\x7e]*")

INSTANCE_NAME = re.compile(r"(?!.*[0-9]{1,3}(?:\.[0-9]{1,3}){3})(?!.*\.minisig\Z)[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}")
"""Names of instances: parts of file names, fields of CSV. None contains what reads as an IPv4 address, and none ends as
the name of a signature does, which an archive has beside each document."""

# Names occur again and again, so reading one is mostly a look-up. Wrong ones are not kept.
_KEPT_NAMES = 4096

_Name = TypeVar("_Name", str, tuple[str, str])


class DocumentError(ValueError):
    """Text is not a document, or a value cannot be written as one.

    Attributes:
        line: the number of the wrong line, counted from 1.
        reason: what is wrong with it, in words.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


class GeoIpSource(NamedTuple):
    """Where country codes come from.

    Attributes:
        name: `tor` for the file that comes with tor, `file` for another in its form, `iptocc` for that package's data.
        version: SHA-1 of the file in upper-case hex (dir-spec, geoip-db-digest), or the package's version.
    """

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Document:
    """One interval's published numbers.

    Attributes:
        end: end of the interval, `YYYY-MM-DD HH:MM:SS`, UTC.
        seconds: its length.
        fingerprint: SHA-1 of the bridge's 20 fingerprint bytes, lower-case hex; None without that line.
        instance: name of one of several tors, or of one of several programs, with the same fingerprint; None for the
            only one.
        epsilon: of the noise on `ips`, as decimal text; None where the numbers are rounded.
        ips: different addresses by upper-case country code; None where they are unknown.
        requests: connections by upper-case country code; None where they are not published.
        ip_versions: different addresses by `v4` and `v6`.
        ip_transports: different addresses by transport.
        ip_country_transports: different addresses by (upper-case country code, transport).
        geoip: where the countries of IPv4 addresses come from.
        geoip6: the same for IPv6.
        ipv6_prefix: bits of an IPv6 address that told clients apart; None where they were whole addresses (128).
        minor: minor version, as in `@type obfsproxy-stats 1.0`; None without that line, which means 0.
        unknown: lines of a later version, in their order, without their newlines.
    """

    end: str
    seconds: int
    fingerprint: str | None = None
    instance: str | None = None
    epsilon: str | None = None
    ips: Mapping[str, int] | None = None
    requests: Mapping[str, int] | None = None
    ip_versions: Mapping[str, int] | None = None
    ip_transports: Mapping[str, int] | None = None
    ip_country_transports: Mapping[tuple[str, str], int] | None = None
    geoip: GeoIpSource | None = None
    geoip6: GeoIpSource | None = None
    ipv6_prefix: int | None = None
    minor: int | None = None
    unknown: tuple[str, ...] = ()

    @property
    def interval(self) -> Interval:
        """The interval.

        Raises:
            OverflowError: if it began before the year 1.
        """
        return Interval.ending(parse_time(self.end), self.seconds)


def sorted_by_size(numbers: Mapping[str, int]) -> list[str]:
    """Sort names by their numbers, the largest first, then by name (ticket 5047, comment 3)."""
    return sorted(numbers, key=lambda name: (-numbers[name], name))


def in_canonical_order(document: Document) -> Document:
    """Sort a document's numbers in the one order in which they are published.

    Countries are sorted by the published number, the largest first, then by code; families and transports by name;
    countries by transport in the order of the countries of `ips`, then by transport.
    """
    rank = {code: rank for rank, code in enumerate(sorted_by_size(document.ips or {}))}
    cells = document.ip_country_transports or {}
    return replace(
        document,
        ips=_in_order(document.ips, sorted_by_size(document.ips or {})),
        requests=_in_order(document.requests, sorted_by_size(document.requests or {})),
        ip_versions=_in_order(document.ip_versions, sorted(document.ip_versions or {})),
        ip_transports=_in_order(document.ip_transports, sorted(document.ip_transports or {})),
        ip_country_transports=_in_order(
            document.ip_country_transports, sorted(cells, key=lambda cell: (rank.get(cell[0], len(rank)), *cell))
        ),
    )


def find_minor(document: Document) -> int:
    """Find the smallest minor version that has all known lines of a document."""
    if document.instance is not None:
        return 2
    return 0 if document.ipv6_prefix is None else 1


def write_document(document: Document) -> bytes:
    """Write a document as it is published, in canonical order.

    Raises:
        DocumentError: where a value is not of the grammar; nothing that cannot be read again is ever written.
    """
    lines = [*_write_lines(in_canonical_order(document)), *document.unknown]
    text = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")
    if read_documents(text, keep_unknown=True) != [document]:
        raise DocumentError(1, "value cannot be written so that it reads the same")
    return text


def read_documents(text: bytes, *, keep_unknown: bool = False) -> list[Document]:
    """Read concatenated documents.

    Args:
        text: lines that end in LF; the last may lack it.
        keep_unknown: whether unknown lines are kept; else they are refused.

    Raises:
        DocumentError: where the text is not of the grammar.
    """
    lines = text.removesuffix(b"\n").split(b"\n") if text else []
    return [_read_document(first, part, keep_unknown=keep_unknown) for first, part in _split(lines)]


def split_documents(text: bytes) -> Iterator[tuple[int, bytes]]:
    """Split concatenated documents, so that a damaged one does not keep the others from being read.

    Args:
        text: as for `read_documents`.

    Yields:
        The number of lines that precede a document, and its text.
    """
    lines = text.removesuffix(b"\n").split(b"\n") if text else []
    for first, part in _split(lines):
        yield first, b"\n".join(part) + b"\n"


def _in_order(numbers: Mapping[_Name, int] | None, names: list[_Name]) -> dict[_Name, int] | None:
    return None if numbers is None else {name: numbers[name] for name in names}


def _split(lines: list[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Split lines into documents: a new one begins with a heading line after an obfsproxy-stats-end."""
    first, has_end = 0, False
    for number, line in enumerate(lines):
        keyword = line.partition(b" ")[0]
        if keyword in _HEADING and has_end:
            yield first, lines[first:number]
            first, has_end = number, False
        has_end = has_end or keyword == b"obfsproxy-stats-end"
    if lines:
        yield first, lines[first:]


def _read_document(first: int, lines: list[bytes], *, keep_unknown: bool) -> Document:
    """Read one document; `first` lines precede it in the text."""
    # A keyword without arguments is written with a trailing blank, so that blank counts.
    if sum(len(line) + (b" " not in line) + 1 for line in lines) > MAX_DOCUMENT_LENGTH:
        raise DocumentError(first + 1, f"document exceeds {MAX_DOCUMENT_LENGTH} bytes")
    values: dict[str, object] = {}
    unknown: list[str] = []
    for number, line in enumerate(lines, first + 1):
        try:
            text = line.decode("ascii")
        except UnicodeDecodeError:
            raise DocumentError(number, "non-ASCII byte") from None
        keyword, blank, arguments = text.partition(" ")
        known = LINES.get(keyword)
        if known is None and not (
            keep_unknown and _UNKNOWN_KEYWORD.fullmatch(keyword) and _UNKNOWN_ARGUMENTS.fullmatch(blank + arguments)
        ):
            raise DocumentError(number, "unknown keyword")
        if "end" not in values and (known is None or not known.is_heading):
            raise DocumentError(number, "line before obfsproxy-stats-end")
        if known is None:
            unknown.append(text)
            continue
        if known.attribute in values:
            raise DocumentError(number, "duplicate line")
        try:
            values[known.attribute] = known.read(arguments)
        except ValueError as error:
            raise DocumentError(number, str(error)) from None
    if "end" not in values:
        raise DocumentError(first + 1, "document without obfsproxy-stats-end")
    end, seconds = values.pop("end")  # type: ignore[misc]
    document = Document(end, seconds, **values, unknown=tuple(unknown))  # type: ignore[has-type, arg-type]
    if document.epsilon is None and min(_numbers(document), default=0) < 0:
        raise DocumentError(first + 1, "negative number in a document without noise")
    return document


def _numbers(document: Document) -> Iterator[int]:
    for numbers in (document.ips, document.requests, document.ip_versions, document.ip_transports):
        yield from (numbers or {}).values()
    yield from (document.ip_country_transports or {}).values()


def _write_lines(document: Document) -> Iterator[str]:
    for keyword, line in LINES.items():
        value = (document.end, document.seconds) if line.attribute == "end" else getattr(document, line.attribute)
        if value is not None:
            yield f"{keyword} {line.write(value)}"


# The lines, each by itself: a reader raises ValueError with a reason that never quotes the line.


class LineGrammar(NamedTuple):
    """One kind of line.

    Attributes:
        attribute: the attribute of `Document` that holds its value.
        read: parses the text after the keyword; raises ValueError with a reason that never quotes it.
        write: the reverse.
        is_heading: whether it may precede obfsproxy-stats-end.
    """

    attribute: str
    read: Callable[[str], object]
    write: Callable[..., str]
    is_heading: bool = False


def _match(pattern: re.Pattern[str], text: str, reason: str) -> re.Match[str]:
    match = pattern.fullmatch(text)
    if match is None:
        raise ValueError(reason)
    return match


def _read_type(text: str) -> int:
    return int(_match(_TYPE, text, "unknown document type or version")[1])


def _read_fingerprint(text: str) -> str:
    return _match(_FINGERPRINT, text, "not a fingerprint of 40 hex digits")[0].lower()


def _read_instance(text: str) -> str:
    return _match(INSTANCE_NAME, text, "not the name of an instance")[0]


def _read_end(text: str) -> tuple[str, int]:
    match = _match(_STATS_END, text, "not an interval's end and length")
    end, seconds = match["b"] or match["c"], int(match["a"] or match["d"])
    parse_time(end)
    if not seconds:
        raise ValueError("zero-length interval")
    return end, seconds


def _write_end(end_and_seconds: tuple[str, int]) -> str:
    end, seconds = end_and_seconds
    return f"({seconds} s) {end}"


def _read_epsilon(text: str) -> str:
    epsilon = _match(_NOISE, text, "unknown kind of noise")[1]
    if not epsilon.strip("0."):
        raise ValueError("epsilon is zero")
    return epsilon


def _read_ipv6_prefix(text: str) -> int:
    return int(_match(_IPV6_PREFIX, text, "not a multiple of 8 bits below 128")[0])


def _read_geoip(text: str) -> GeoIpSource:
    match = _match(_GEOIP, text, "unknown source of countries")
    return GeoIpSource(match[3], match[4]) if match[3] else GeoIpSource(match[1], match[2].upper())


@lru_cache(_KEPT_NAMES)
def _read_code(text: str) -> str:
    return _match(_CODE, text, "not a country code")[0].upper()


def _read_family(text: str) -> str:
    return _match(_FAMILY, text, "neither v4 nor v6")[0]


@lru_cache(_KEPT_NAMES)
def _read_transport(text: str) -> str:
    name = _match(TRANSPORT_NAME, text, "not a transport name")[0]
    if _FAMILY.fullmatch(name):
        raise ValueError("address family instead of a transport name")
    return name


@lru_cache(_KEPT_NAMES)
def _read_country_transport(text: str) -> tuple[str, str]:
    code, _, transport = text.partition("/")
    return _read_code(code), _read_transport(transport)


def _numbers_line(attribute: str, read_name: Callable[[str], _Name]) -> LineGrammar:
    """Make the line of comma-separated `name=number` cells."""

    def read(text: str) -> dict[_Name, int]:
        numbers: dict[_Name, int] = {}
        for cell in text.split(",") if text else ():
            written, _, number = cell.rpartition("=")
            name = read_name(written)
            if name in numbers:
                raise ValueError("duplicate name")
            if _NUMBER.fullmatch(number) is None:
                raise ValueError("not a number after a name")
            numbers[name] = int(number)
        return numbers

    def write(numbers: Mapping[_Name, int]) -> str:
        return ",".join(
            f"{name if isinstance(name, str) else '/'.join(name)}={number}" for name, number in numbers.items()
        )

    return LineGrammar(attribute, read, write)


LINES = {
    "@type": LineGrammar("minor", _read_type, lambda minor: f"{TYPE} 1.{minor}", is_heading=True),
    "hashed-fingerprint": LineGrammar("fingerprint", _read_fingerprint, str, is_heading=True),
    "obfsproxy-stats-end": LineGrammar("end", _read_end, _write_end, is_heading=True),
    "instance": LineGrammar("instance", _read_instance, str),
    "obfsproxy-noise": LineGrammar("epsilon", _read_epsilon, lambda epsilon: f"{NOISE_METHOD}{epsilon}"),
    "obfsproxy-ipv6-prefix": LineGrammar("ipv6_prefix", _read_ipv6_prefix, str),
    "obfsproxy-ips": _numbers_line("ips", _read_code),
    "obfsproxy-reqs": _numbers_line("requests", _read_code),
    "obfsproxy-ip-versions": _numbers_line("ip_versions", _read_family),
    "obfsproxy-ip-transports": _numbers_line("ip_transports", _read_transport),
    "obfsproxy-ip-country-transports": _numbers_line("ip_country_transports", _read_country_transport),
    "obfsproxy-geoip": LineGrammar("geoip", _read_geoip, " ".join),
    "obfsproxy-geoip6": LineGrammar("geoip6", _read_geoip, " ".join),
}
"""Every known line by its keyword, in the order in which they are written."""

_HEADING = frozenset(keyword.encode() for keyword, line in LINES.items() if line.is_heading)
