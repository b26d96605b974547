"""Names of countries, in English: those of Unicode's CLDR, as Babel has them.

GeoIP files have codes that are no countries: of regions, of what cannot be resolved, of anonymous networks.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from babel import Locale

if TYPE_CHECKING:
    from collections.abc import Mapping

ALL: Final = "all countries"

_SPECIAL: Final = {
    "": ALL,
    "??": "unknown",
    "ZZ": "unknown",
    "EU": "Europe, country unknown",
    "AP": "Asia and Pacific, country unknown",
    "A1": "anonymous proxies",
    "A2": "satellite providers",
    "O1": "other countries",
}


@cache
def _load_territories() -> Mapping[str, str]:
    territories: Mapping[str, str] = Locale("en").territories
    return {**territories, "UK": territories["GB"], **_SPECIAL}


def country_name(code: str) -> str:
    """Name a country.

    Args:
        code: two letters in either case, `??`, or nothing for all countries.

    Returns:
        Its name; the code itself in upper case if it is not in the list.
    """
    return _load_territories().get(code.upper(), code.upper())
