"""The upstream proxy of a client's connections: TOR_PT_PROXY or --proxy, a URI (pt-spec; RFC 3986).

    socks5://[USERNAME:PASSWORD@]HOST:PORT      both of 1 to 255 bytes (RFC 1929), ASCII
    socks4a://[USERNAME@]HOST:PORT              ASCII without NUL, which ends it in SOCKS4
    http://[USERNAME[:PASSWORD]@]HOST:PORT      no colon in the username, which ends it in HTTP

Credentials are percent-decoded. Tor copies them from torrc as they are, so everything up to the last @ belongs to them,
and a percent sign that begins no escape is an error.

An error never quotes the URI: any part of it may be part of a misplaced password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from urllib.parse import unquote_to_bytes

from obfstats.wire.endpoint import Endpoint, parse_endpoint

Scheme: TypeAlias = Literal["socks5", "socks4a", "http"]

MAX_URI = 4096
"""Characters of a URI, at most."""

_MAX_CREDENTIAL = 255
_SCHEMES: dict[str, Scheme] = {"socks5": "socks5", "socks4a": "socks4a", "http": "http"}
_NO_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")


class UpstreamError(ValueError):
    """The URI names no usable proxy; the text quotes none of it."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """An upstream proxy.

    Attributes:
        scheme: its protocol.
        endpoint: its address or name, and port.
        username: None where it needs none.
        password: None where it needs none.
    """

    scheme: Scheme
    endpoint: Endpoint
    username: str | None = field(repr=False)
    password: str | None = field(repr=False)


def parse_upstream(uri: str) -> Upstream:
    """Parse the URI of a proxy.

    Raises:
        UpstreamError: it names no usable proxy.
    """
    if len(uri) > MAX_URI:
        raise UpstreamError(f"the proxy's URI is longer than {MAX_URI} characters")
    scheme_text, separator, rest = uri.partition("://")
    scheme = _SCHEMES.get(scheme_text.lower())
    if not separator or scheme is None:
        raise UpstreamError(f"the proxy's URI does not begin with {', '.join(f'{name}://' for name in _SCHEMES)}")
    credentials, separator, host_and_port = rest.rpartition("@")
    username, password = _parse_credentials(credentials) if separator else (None, None)
    _check_credentials(scheme, username, password)
    try:
        endpoint = parse_endpoint(host_and_port)
    except ValueError:
        endpoint = Endpoint("", 0)
    if not endpoint.port:
        raise UpstreamError("the proxy's URI does not end with HOST:PORT, such as 127.0.0.1:1080 or [::1]:1080")
    return Upstream(scheme, endpoint, username, password)


def _parse_credentials(text: str) -> tuple[str, str | None]:
    """Parse USERNAME[:PASSWORD]."""
    if _NO_ESCAPE.search(text):
        raise UpstreamError("a percent sign in the proxy's username or password is no escape; write it as %25")
    username, separator, password = text.partition(":")
    return _decode(username), _decode(password) if separator else None


def _decode(text: str) -> str:
    try:
        return unquote_to_bytes(text.encode("utf-8", "surrogateescape")).decode("utf-8")
    except UnicodeError:
        raise UpstreamError("the proxy's username or password is not text in UTF-8") from None


def _check_credentials(scheme: Scheme, username: str | None, password: str | None) -> None:
    """Check that the proxy's protocol can carry them."""
    if username is None:
        return
    if scheme == "socks5":
        if password is None or not (_fits(username) and _fits(password)):
            raise UpstreamError(
                "a SOCKS5 proxy takes username and password, each of 1 to 255 ASCII characters, or neither"
            )
    elif scheme == "socks4a":
        if password is not None or not _fits(username) or "\0" in username:
            raise UpstreamError(
                "a SOCKS4a proxy takes a username of 1 to 255 ASCII characters, no NUL, and no password"
            )
    elif ":" in username:
        raise UpstreamError("an HTTP proxy takes no colon in the username")


def _fits(credential: str) -> bool:
    # No specification says how a SOCKS proxy encodes other characters.
    return credential.isascii() and 1 <= len(credential) <= _MAX_CREDENTIAL
