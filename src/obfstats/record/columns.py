"""The further columns that a line of the log may have: transport and address family (formats/logline.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from obfstats.formats.logline import is_transport_name

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

Column: TypeAlias = Literal["transport", "family"]
"""A further column of the log."""

COLUMNS: tuple[Column, ...] = ("transport", "family")
"""All of them, in the order of the line."""


def further_columns(columns: AbstractSet[Column], transport: str | None, packed: bytes) -> str:
    """Make a line's further columns, each with a blank before it.

    Args:
        columns: which of them the log has.
        transport: the transport's name; None for a plain connection. What is no name becomes `<??>`.
        packed: the client's address, 4 or 16 bytes.
    """
    further = ""
    if "transport" in columns:
        further = " <OR>" if transport is None else f" {transport}" if is_transport_name(transport) else " <??>"
    if "family" in columns:
        further += " v4" if len(packed) == 4 else " v6"
    return further
