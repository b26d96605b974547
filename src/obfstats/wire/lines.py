r"""The lines that a transport's program writes to tor on stdout (pt-spec, "Pluggable Transport To Parent Process").

    SMETHOD obfs3 0.0.0.0:443               SMETHOD-ERROR obfs3 why       SMETHODS DONE
    CMETHOD obfs3 socks5 127.0.0.1:4711     CMETHOD-ERROR obfs3 why       CMETHODS DONE
    PROXY DONE                              PROXY-ERROR why               ENV-ERROR why
    LOG SEVERITY=notice MESSAGE="..."       STATUS TYPE=version VERSION="..." IMPLEMENTATION="..."

Every function returns one line without its end, in printable ASCII. What must never happen: one message becomes two
lines, or a line makes tor end the program. So what tor parses (names, addresses) is refused where it is invalid, and
messages for people are escaped, truncated and never empty.

Values of LOG and STATUS are C strings, always quoted: bytes 32, 33, 35 to 91 and 93 to 126 are written as they are,
every other byte of the UTF-8 text as a backslash and three octal digits.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from obfstats.wire.endpoint import Endpoint

Severity: TypeAlias = Literal["error", "warning", "notice", "info", "debug"]
"""As tor names them; it ignores a line with any other word."""

SMETHODS_DONE = "SMETHODS DONE"
CMETHODS_DONE = "CMETHODS DONE"
PROXY_DONE = "PROXY DONE"

MAX_MESSAGE = 500
"""Characters of a message for people; the rest is cut off."""

_MAX_MESSAGE_BYTES = 1000

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_UNESCAPED = frozenset((32, 33, *range(35, 92), *range(93, 127)))


def is_name(name: str) -> bool:
    """Tell whether tor accepts this as a transport's name: a C identifier."""
    return _NAME.fullmatch(name) is not None


def smethod(name: str, endpoint: Endpoint) -> str:
    """Announce that a server's transport listens.

    Args:
        name: the transport.
        endpoint: the address and port it listens on, never port 0.

    Raises:
        ValueError: tor would not accept the line; the text quotes nothing.
    """
    return f"SMETHOD {_check_name(name)} {_format_address(endpoint)}"


def smethod_error(name: str, message: str) -> str:
    """Report that a server's transport does not work.

    Raises:
        ValueError: the name is invalid.
    """
    return f"SMETHOD-ERROR {_check_name(name)} {ascii_line(message)}"


def cmethod(name: str, endpoint: Endpoint) -> str:
    """Announce where a client's transport accepts SOCKS5.

    Raises:
        ValueError: tor would not accept the line; the text quotes nothing.
    """
    return f"CMETHOD {_check_name(name)} socks5 {_format_address(endpoint)}"


def cmethod_error(name: str, message: str) -> str:
    """Report that a client's transport does not work.

    Raises:
        ValueError: the name is invalid.
    """
    return f"CMETHOD-ERROR {_check_name(name)} {ascii_line(message)}"


def proxy_error(message: str) -> str:
    """Report that the upstream proxy cannot be used; the program ends after it."""
    return f"PROXY-ERROR {ascii_line(message)}"


def env_error(message: str) -> str:
    """Report that the environment is invalid; the program ends after it."""
    return f"ENV-ERROR {ascii_line(message)}"


def log(severity: Severity, message: str) -> str:
    """Have tor log a message.

    A line end in it becomes an escape: tor would write it out, and what follows would look like a line of tor's.
    """
    shown = "".join(
        character if character.isprintable() else _escape(character) for character in message[: MAX_MESSAGE + 1]
    )
    # A byte takes up to four characters. A line of up to 4 KiB is written to a pipe whole or not at all.
    short = _truncate(shown).encode("utf-8", "backslashreplace")[:_MAX_MESSAGE_BYTES].decode("utf-8", "ignore")
    return f"LOG SEVERITY={severity} MESSAGE={c_string(short)}"


def status_version(version: str, implementation: str) -> str:
    """Tell tor which program this is; a bridge publishes it."""
    return f"STATUS TYPE=version VERSION={c_string(version)} IMPLEMENTATION={c_string(implementation)}"


def ascii_line(message: str) -> str:
    """Write a message for people as one line of printable ASCII, truncated to MAX_MESSAGE.

    It is never empty: tor reads past the end of a line that has no message.
    """
    shown = "".join(
        character if " " <= character <= "~" else _escape(character) for character in message[: MAX_MESSAGE + 1]
    )
    return _truncate(shown) or "no reason given"


def c_string(text: str) -> str:
    """Quote a text as LOG and STATUS require."""
    escaped = (
        chr(byte) if byte in _UNESCAPED else f"\\{byte:03o}" for byte in text.encode("utf-8", "backslashreplace")
    )
    return f'"{"".join(escaped)}"'


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _truncate(shown: str) -> str:
    return shown if len(shown) <= MAX_MESSAGE else f"{shown[: MAX_MESSAGE - 3]}..."


def _check_name(name: str) -> str:
    if not is_name(name):
        raise ValueError("a transport's name is not of letters, digits and underscores")
    return name


def _format_address(endpoint: Endpoint) -> str:
    """Format a listener's address in the one form that tor accepts."""
    try:
        ip_address(endpoint.host)
    except ValueError:
        raise ValueError("a listener's host is not an IP address") from None
    if "%" in endpoint.host or not 1 <= endpoint.port <= 65535:
        raise ValueError("a listener's address has a zone, or its port is invalid")
    return str(endpoint)
