"""The lines of a published document, each on its own: from the text behind the keyword to a value.

docs/document.md has the grammar. Country codes come out in upper case, as the ticket writes them; readers take Tor's
lower case as well, and Tor's order of the line that ends an interval (dir-spec, bridge-stats-end).
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from obfstats.formats.logline import TRANSPORT_NAME

if TYPE_CHECKING:
    from collections.abc import Callable

TYPE = "obfsproxy-stats 1."
"""The type and the major version; the minor one follows."""

_TYPE = re.compile(r"obfsproxy-stats 1\.(0|[1-9][0-9]{0,3})")
_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{40}")
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}"
_STATS_END = re.compile(rf"\((?P<a>[0-9]{{1,9}}) s\) (?P<b>{_TIME})|(?P<c>{_TIME}) \((?P<d>[0-9]{{1,9}}) s\)")
_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,11}")
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9]|\?\?")
_FAMILY = re.compile(r"v[46]")
_NOISE = re.compile(r"discrete-laplace epsilon=((?:0|[1-9][0-9]{0,5})(?:\.[0-9]{1,6})?)")
# A version of four parts would read as an IPv4 address.
_GEOIP = re.compile(r"(tor|file) ([0-9A-Fa-f]{40})|(iptocc) ([0-9]{1,9}(?:\.[0-9]{1,9}){0,2})")

_Read = TypeVar("_Read")


class GeoIpSource(NamedTuple):
    """Where countries come from.

    Attributes:
        name: `tor` for the file that comes with tor, `file` for another in its form, `iptocc` for that package's data.
        version: SHA-1 of the file in upper-case hex (dir-spec, geoip-db-digest), or the package's version.
    """

    name: str
    version: str


def _whole(pattern: re.Pattern[str], text: str, what: str) -> re.Match[str]:
    match = pattern.fullmatch(text)
    if match is None:
        raise ValueError(what)
    return match


def _read_type(text: str) -> int:
    return int(_whole(_TYPE, text, "another type of document, or another version")[1])


def _read_fingerprint(text: str) -> str:
    return _whole(_FINGERPRINT, text, "no fingerprint of 40 hex digits")[0].lower()


def _read_end(text: str) -> tuple[str, int]:
    match = _whole(_STATS_END, text, "no end of an interval with its seconds")
    end, seconds = match["b"] or match["c"], int(match["a"] or match["d"])
    try:
        is_real = datetime.fromisoformat(end).isoformat(" ") == end
    except ValueError:
        is_real = False
    if not is_real or not seconds:
        raise ValueError("no such date or time, or no second at all")
    return end, seconds


def _read_epsilon(text: str) -> str:
    epsilon = _whole(_NOISE, text, "no noise that is known")[1]
    if not epsilon.strip("0."):
        raise ValueError("an epsilon of nought")
    return epsilon


def _read_geoip(text: str) -> GeoIpSource:
    match = _whole(_GEOIP, text, "no source of countries that is known")
    return GeoIpSource(match[3], match[4]) if match[3] else GeoIpSource(match[1], match[2].upper())


def _cells_of(read_name: Callable[[str], _Read]) -> Callable[[str], dict[_Read, int]]:
    """Make a reader of numbers with names."""

    def read(text: str) -> dict[_Read, int]:
        numbers: dict[_Read, int] = {}
        for cell in text.split(",") if text else ():
            name, _, number = cell.rpartition("=")
            key = read_name(name)
            if key in numbers:
                raise ValueError("a name that stands twice")
            numbers[key] = int(_whole(_NUMBER, number, "no number behind a name")[0])
        return numbers

    return read


def _read_code(text: str) -> str:
    return _whole(_CODE, text, "no country code")[0].upper()


def _read_family(text: str) -> str:
    return _whole(_FAMILY, text, "neither v4 nor v6")[0]


def _read_transport(text: str) -> str:
    name = _whole(TRANSPORT_NAME, text, "no transport's name")[0]
    if _FAMILY.fullmatch(name):
        raise ValueError("a family's name in a transport's place")
    return name


def _read_country_transport(text: str) -> tuple[str, str]:
    code, _, transport = text.partition("/")
    return _read_code(code), _read_transport(transport)


HEADING = frozenset({"minor", "fingerprint", "end"})
"""The values that stand in front of the numbers."""

READERS: dict[str, tuple[str, Callable[[str], object]]] = {
    "@type": ("minor", _read_type),
    "hashed-fingerprint": ("fingerprint", _read_fingerprint),
    "obfsproxy-stats-end": ("end", _read_end),
    "obfsproxy-noise": ("epsilon", _read_epsilon),
    "obfsproxy-ips": ("ips", _cells_of(_read_code)),
    "obfsproxy-reqs": ("requests", _cells_of(_read_code)),
    "obfsproxy-ip-versions": ("ip_versions", _cells_of(_read_family)),
    "obfsproxy-ip-transports": ("ip_transports", _cells_of(_read_transport)),
    "obfsproxy-ip-country-transports": ("ip_country_transports", _cells_of(_read_country_transport)),
    "obfsproxy-geoip": ("geoip", _read_geoip),
    "obfsproxy-geoip6": ("geoip6", _read_geoip),
}
"""What each keyword's value is called in a Document, and what makes it of the rest of the line.

A reader raises ValueError with what is wrong, in words that never quote the line."""
