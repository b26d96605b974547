r"""Keys and values in one text, as tor passes them to a transport (pt-spec).

    SOCKS username and password        k=v;k2=v2                a backslash before = ; \
    TOR_PT_SERVER_TRANSPORT_OPTIONS    name:k=v;name:k2=v2      a backslash before : ; = \

- The first unescaped equal sign ends the key. Later ones belong to the value: tor escapes none of them, although the
  specification requires it, and values in base64 end with some.
- A backslash may come only before what it can escape; a key is not empty and occurs once. Anything else is refused: an
  option that is misread can mean a bridge without its secret.
- Values may be secrets: an error gives the number of a pair and never shows any of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = re.compile(r"\\(?P<escaped>.?)|[^\\:;=]+|.", re.DOTALL)


class ArgumentsError(ValueError):
    """Keys and values do not follow the grammar; the text quotes none of them."""


def parse_arguments(text: bytes | str) -> dict[str, str]:
    """Parse the arguments of a bridge line, as SOCKS carries them.

    Args:
        text: `k=v;k2=v2`, or nothing. Bytes that are not UTF-8 become Python's surrogates, as in its environment.

    Raises:
        ArgumentsError: it does not follow the grammar.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    arguments: dict[str, str] = {}
    for number, (key, value) in _split_records(text, "=", "K=V"):
        _add(arguments, number, key, value)
    return arguments


def parse_options(text: str) -> dict[str, dict[str, str]]:
    """Parse the options of all transports, by the transport's name.

    Args:
        text: the value of TOR_PT_SERVER_TRANSPORT_OPTIONS.

    Raises:
        ArgumentsError: it does not follow the grammar.
    """
    options: dict[str, dict[str, str]] = {}
    for number, (name, key, value) in _split_records(text, ":=", "NAME:K=V"):
        if not name:
            raise ArgumentsError(f"option {number} has no transport's name")
        _add(options.setdefault(name, {}), number, key, value)
    return options


def _split_records(text: str, delimiters: str, form: str) -> Iterator[tuple[int, list[str]]]:
    """Split at semicolons, and each record once at each delimiter, in their order; number the records from 1."""
    if not text:
        return
    records = [[""]]
    for token in _TOKEN.finditer(text):
        fields = records[-1]
        escaped = token["escaped"]
        if escaped is not None:
            if not escaped or escaped not in f"{delimiters};\\":
                raise ArgumentsError(f"a backslash in pair {len(records)} escapes nothing; write it twice")
            fields[-1] += escaped
        elif token[0] == ";":
            records.append([""])
        elif token[0] == delimiters[len(fields) - 1 : len(fields)]:
            fields.append("")
        else:
            fields[-1] += token[0]
    for number, fields in enumerate(records, 1):
        if len(fields) <= len(delimiters):
            raise ArgumentsError(f"pair {number} is not of the form {form}")
        yield number, fields


def _add(arguments: dict[str, str], number: int, key: str, value: str) -> None:
    if not key:
        raise ArgumentsError(f"the key of pair {number} is empty")
    if key in arguments:
        raise ArgumentsError(f"pair {number} repeats a key")
    arguments[key] = value
