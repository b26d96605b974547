"""HOST:PORT, as on a command line: `127.0.0.1:9001`, `[2001:db8::1]:9001`, `localhost:9001`."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import NamedTuple

_ENDPOINT = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})")


class Endpoint(NamedTuple):
    """Where to listen or connect. `str` formats it as `parse_endpoint` reads it."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_endpoint(text: str) -> Endpoint:
    """Parse HOST:PORT; an IPv6 address is in brackets.

    Raises:
        ValueError: the text is something else; the error says what is expected.
    """
    match = _ENDPOINT.fullmatch(text)
    if match is None or int(match["port"]) > 65535:
        raise ValueError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:9001 or [::1]:9001")
    return Endpoint(match["v6"] or match["host"], int(match["port"]))


def is_loopback(endpoint: Endpoint) -> bool:
    """Tell whether only this machine can reach an address; of a name that is not known."""
    try:
        return ip_address(endpoint.host).is_loopback
    except ValueError:
        return False
