"""Names of countries, in English: those of Unicode's CLDR, as Babel has them. Used by `analyse` and `show`.

GeoIP files have codes that are no countries: of regions, of what cannot be resolved, of anonymous networks, of
countries that no longer exist.
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
    # Codes that ISO 3166 has withdrawn; GeoIP files still have them.
    "AN": "Netherlands Antilles",
    "CS": "Serbia and Montenegro",
    "SU": "Soviet Union",
    # CLDR's short forms.
    "HK": "Hong Kong",
    "MO": "Macao",
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
        Its name; for a code that is assigned to no country, `code` and the code in upper case.
    """
    return _load_territories().get(code.upper(), f"code {code.upper()}")
