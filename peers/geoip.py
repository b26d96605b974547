"""The countries of the loopback networks that test clients connect from, and their GeoIP file."""

from __future__ import annotations

import struct

COUNTRIES = {"de": 64, "tr": 128, "ir": 192}
"""Second bytes of networks, 127.64.0.0/16 and so on, and the country that the GeoIP file gives them."""


def geoip_text() -> str:
    """Give the GeoIP file."""
    lines = []
    for country, second in COUNTRIES.items():
        first = struct.unpack(">I", bytes((127, second, 0, 0)))[0]
        lines.append(f"{first},{first + 0xFFFF},{country.upper()}\n")
    return "".join(lines)
