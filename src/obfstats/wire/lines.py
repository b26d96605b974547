r"""What a transport's program says to tor: one line each on stdout (pt-spec, "Pluggable Transport To Parent Process").

    SMETHOD obfs3 0.0.0.0:443 ARGS:k=v      SMETHOD-ERROR obfs3 why       SMETHODS DONE
    CMETHOD obfs3 socks5 127.0.0.1:4711     CMETHOD-ERROR obfs3 why       CMETHODS DONE
    PROXY DONE                              PROXY-ERROR why               ENV-ERROR why
    LOG SEVERITY=notice MESSAGE="..."       STATUS TRANSPORT=obfs3 KEY="..."

Every function gives one line without its end, in printable ASCII. What must never happen: a second line out of one
message, or a line that tor takes for a reason to end the program. So what tor reads word by word (names, addresses,
ARGS) is refused where it does not fit, and what people read is escaped, cut off and never empty.

Values of LOG and STATUS are C strings, always in quotes: bytes 32, 33, 35 to 91 and 93 to 126 stand for themselves,
every other byte of the UTF-8 text is written as a backslash and three octal digits.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Literal, TypeAlias

from obfstats.wire.arguments import join_arguments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from obfstats.wire.endpoint import Endpoint

Severity: TypeAlias = Literal["error", "warning", "notice", "info", "debug"]
"""How tor names them; it ignores a line with any other word."""

SMETHODS_DONE = "SMETHODS DONE"
CMETHODS_DONE = "CMETHODS DONE"
PROXY_DONE = "PROXY DONE"

MAX_MESSAGE = 500
"""Characters of a message for people; what is longer is cut off."""

_MAX_MESSAGE_BYTES = 1000

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ONE_TOKEN = re.compile(r"[!-~]*")
_PLAIN = frozenset((32, 33, *range(35, 92), *range(93, 127)))


def is_name(name: str) -> bool:
    """Tell whether tor takes this for a transport's name: a C identifier."""
    return _NAME.fullmatch(name) is not None


def smethod(name: str, endpoint: Endpoint, arguments: Mapping[str, str] | None = None) -> str:
    """Say that a server's transport listens.

    Args:
        name: the transport.
        endpoint: the address and port that it listens on, the port it really has.
        arguments: what tor publishes with the transport, for bridge lines; None or empty for nothing.

    Raises:
        ValueError: tor would not take the line; the text quotes nothing.
    """
    line = f"SMETHOD {_named(name)} {_address(endpoint)}"
    if not arguments:
        return line
    text = join_arguments(arguments, ",")
    if not _ONE_TOKEN.fullmatch(text):
        raise ValueError("an argument holds a blank or what is no printable ASCII")
    return f"{line} ARGS:{text}"


def smethod_error(name: str, message: str) -> str:
    """Say that a server's transport does not work.

    Raises:
        ValueError: the name is none.
    """
    return f"SMETHOD-ERROR {_named(name)} {one_line(message)}"


def cmethod(name: str, endpoint: Endpoint) -> str:
    """Say where a client's transport takes SOCKS5.

    Raises:
        ValueError: tor would not take the line; the text quotes nothing.
    """
    return f"CMETHOD {_named(name)} socks5 {_address(endpoint)}"


def cmethod_error(name: str, message: str) -> str:
    """Say that a client's transport does not work.

    Raises:
        ValueError: the name is none.
    """
    return f"CMETHOD-ERROR {_named(name)} {one_line(message)}"


def proxy_error(message: str) -> str:
    """Say that the upstream proxy cannot be used; the program ends after it."""
    return f"PROXY-ERROR {one_line(message)}"


def env_error(message: str) -> str:
    """Say that the environment is not as it must be; the program ends after it."""
    return f"ENV-ERROR {one_line(message)}"


def log(severity: Severity, message: str) -> str:
    """Have tor log a message.

    A line end in it is shown as an escape: tor would write it out, and what follows would look like a line of tor's.
    """
    shown = "".join(
        character if character.isprintable() else _escaped(character) for character in message[: MAX_MESSAGE + 1]
    )
    # A byte takes up to four characters: within a kibibyte the line is one that a pipe takes whole or not at all.
    short = _cut_off(shown).encode("utf-8", "backslashreplace")[:_MAX_MESSAGE_BYTES].decode("utf-8", "ignore")
    return f"LOG SEVERITY={severity} MESSAGE={c_string(short)}"


def status(transport: str, pairs: Mapping[str, str]) -> str:
    """Tell tor's controllers about a transport.

    Args:
        transport: its name.
        pairs: what there is to tell; keys of letters, digits, dashes and underscores.

    Raises:
        ValueError: the name or a key is none.
    """
    return " ".join((f"STATUS TRANSPORT={_named(transport)}", *_pairs(pairs)))


def status_version(version: str, implementation: str) -> str:
    """Tell tor which program this is; a bridge publishes it."""
    return " ".join(("STATUS TYPE=version", *_pairs({"VERSION": version, "IMPLEMENTATION": implementation})))


def one_line(message: str) -> str:
    """Write a message for people as one line of printable ASCII, cut off where it is too long.

    It is never empty: tor reads on behind the end of a line that has no message.
    """
    shown = "".join(
        character if " " <= character <= "~" else _escaped(character) for character in message[: MAX_MESSAGE + 1]
    )
    return _cut_off(shown) or "no reason given"


def c_string(text: str) -> str:
    """Write a text in quotes, as LOG and STATUS want it."""
    return '"{}"'.format(
        "".join(chr(byte) if byte in _PLAIN else f"\\{byte:03o}" for byte in text.encode("utf-8", "backslashreplace"))
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _cut_off(shown: str) -> str:
    return shown if len(shown) <= MAX_MESSAGE else f"{shown[: MAX_MESSAGE - 3]}..."


def _pairs(pairs: Mapping[str, str]) -> list[str]:
    if not all(_KEY.fullmatch(key) for key in pairs):
        raise ValueError("a key is not of letters, digits, dashes and underscores")
    return [f"{key}={c_string(value)}" for key, value in pairs.items()]


def _named(name: str) -> str:
    if not is_name(name):
        raise ValueError("a transport's name is not of letters, digits and underscores")
    return name


def _address(endpoint: Endpoint) -> str:
    """Write where something listens, in the one form that tor takes."""
    try:
        ip_address(endpoint.host)
    except ValueError:
        raise ValueError("a listener's host is not an IP address") from None
    if "%" in endpoint.host or not 1 <= endpoint.port <= 65535:
        raise ValueError("a listener's address has a zone, or its port is none")
    return str(endpoint)
