"""Text that a terminal may show: a file's name or another program's words may hold anything."""

from __future__ import annotations


def one_line(text: str) -> str:
    """Write what cannot be shown, line ends among it, as escapes."""
    return text if text.isprintable() else "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
