"""Tor's reading of a program's stdout, once more and as plain as can be: what `lines` writes is held against it."""

from __future__ import annotations

import re

_WORD = re.compile(r'(?P<key>[^ ="]+)=(?:"(?P<quoted>(?:[^"\\]|\\[0-7]{3})*)"|(?P<bare>[^ "]*))(?: |\Z)')


def values(line: str) -> dict[str, str]:
    """Read KEY=VALUE behind the first word, as in LOG and STATUS; a value may be a C string."""
    rest = line.partition(" ")[2]
    found: dict[str, str] = {}
    while rest:
        match = _WORD.match(rest)
        assert match is not None, "tor does not understand the line"
        quoted = match["quoted"]
        found[match["key"]] = match["bare"] if quoted is None else c_string(quoted)
        rest = rest[match.end() :]
    return found


def c_string(text: str) -> str:
    """Undo the escapes of a C string's inside."""
    bare = re.sub(r"\\([0-7]{3})", lambda escape: chr(int(escape[1], 8)), text)
    return bare.encode("latin-1").decode("utf-8")
