"""Text becomes a field of CSV that no spreadsheet takes for a formula.

Names come from outside, and spreadsheets compute a field that begins with `=`, `+`, `-`, `@`, a tab or a carriage
return. Such text gets an apostrophe in front. No name that Tor's specifications allow begins with any of these, so
only a forged or damaged name changes. Text with a comma, a quotation mark or a line end is quoted.
"""

from __future__ import annotations

import re

_FORMULA = re.compile(r"[=+\-@\t\r]")
_QUOTED = re.compile(r'[,"\r\n]')


def escape_text(text: str) -> str:
    """Write a text as a field."""
    if _FORMULA.match(text):
        text = f"'{text}"
    if _QUOTED.search(text):
        text = '"' + text.replace('"', '""') + '"'
    return text
