"""Keys and values as tor writes them for a transport (pt-spec), every special character escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def write_arguments(arguments: Mapping[str, str]) -> str:
    """Write the arguments of a bridge line: `k=v;k2=v2`."""
    return ";".join(f"{_escape(key, '=;')}={_escape(value, '=;')}" for key, value in arguments.items())


def write_options(options: Mapping[str, Mapping[str, str]]) -> str:
    """Write TOR_PT_SERVER_TRANSPORT_OPTIONS; a transport without options is left out."""
    return ";".join(
        f"{_escape(name, ':;=')}:{_escape(key, ':;=')}={_escape(value, ':;=')}"
        for name, pairs in options.items()
        for key, value in pairs.items()
    )


def _escape(text: str, special: str) -> str:
    return "".join(f"\\{character}" if character in f"\\{special}" else character for character in text)
