"""Where a collector is, and which way a request goes there. Pure.

- By default a request goes through tor, so that the collector does not learn the bridge's address. The name of the
  collector is resolved by tor as well (socks5h).
- A collector on this machine is reached directly.
- Plain HTTP is for this machine and for onion services, which tor encrypts and authenticates by their name.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

_PORT = r"(?P<port>[1-9][0-9]{0,4})"
_HOST = r"(?P<host>[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])"
_URL = re.compile(rf"(?P<scheme>https?)://{_HOST}(?::{_PORT})?(?P<path>(?:/[A-Za-z0-9._~-]{{1,100}}){{0,10}})/?")
_PROXY = re.compile(rf"socks5h://{_HOST}:{_PORT}")
_LABEL = re.compile("[A-Za-z0-9_-]{1,63}")
_MAX_PORT = 65_535


class Proxy(NamedTuple):
    """A SOCKS5 proxy that resolves names.

    Attributes:
        host: its name or address, IPv6 without brackets.
        port: its port.
    """

    host: str
    port: int

    def __str__(self) -> str:
        return _join(self.host, self.port)


class CollectorUrl(NamedTuple):
    """Where a collector is.

    Attributes:
        is_https: whether the connection is encrypted.
        host: its name or address in lower case, IPv6 without brackets.
        port: its port.
        path: what precedes the paths of its service, without a slash at its end.
    """

    is_https: bool
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        return f"{'https' if self.is_https else 'http'}://{self.authority}{self.path}"

    @property
    def authority(self) -> str:
        """Host and port as a URL has them: without the port that the scheme implies."""
        return _join(self.host, None if self.port == _default_port(self.is_https) else self.port)

    @property
    def is_onion(self) -> bool:
        """Whether it is an onion service."""
        return self.host.endswith(".onion")

    @property
    def is_this_machine(self) -> bool:
        """Whether it is on the loopback interface."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


TOR = Proxy("127.0.0.1", 9050)
"""The port where tor listens by default."""


def parse_collector_url(text: str) -> CollectorUrl:
    """Read a collector's URL.

    Raises:
        ValueError: if it is none, or if what is sent there could be read or changed on its way.
    """
    match = _URL.fullmatch(text)
    if match is None:
        raise ValueError("give the collector as https://HOST, https://HOST:PORT or https://HOST/PATH")
    is_https = match["scheme"] == "https"
    port = _read_port(match["port"]) if match["port"] else _default_port(is_https)
    url = CollectorUrl(is_https, _read_host(match["host"]), port, match["path"])
    if not is_https and not url.is_onion and not url.is_this_machine:
        raise ValueError("http:// is for .onion addresses and this machine; give https://")
    return url


def parse_proxy(text: str) -> Proxy:
    """Read a proxy's URL.

    Raises:
        ValueError: if it is none. socks5:// without h is refused: its names would be resolved outside of tor.
    """
    match = _PROXY.fullmatch(text)
    if match is None:
        raise ValueError("give the proxy as socks5h://HOST:PORT, for example socks5h://127.0.0.1:9050")
    return Proxy(_read_host(match["host"]), _read_port(match["port"]))


def choose_proxy(url: CollectorUrl, through: Proxy | None, *, reveal_address: bool) -> Proxy | None:
    """Choose the way to a collector.

    Args:
        url: where it is.
        through: the proxy that was asked for.
        reveal_address: whether the collector may learn this machine's address.

    Returns:
        The proxy; None for a direct connection.

    Raises:
        ValueError: if the options contradict each other.
    """
    if reveal_address and through is not None:
        raise ValueError("--through hides the address that --reveal-address reveals; give one of them")
    if reveal_address and url.is_onion:
        raise ValueError("an .onion address can be reached through tor only; give --through")
    if through is not None:
        return through
    return None if reveal_address or url.is_this_machine else TOR


def describe_route(url: CollectorUrl, proxy: Proxy | None) -> str:
    """Tell an operator which way requests go, and whether the collector learns this machine's address."""
    if proxy is not None:
        return f"through the proxy at {proxy}"
    return "directly" if url.is_this_machine else "directly, which reveals this machine's address"


def _default_port(is_https: bool) -> int:  # noqa: FBT001
    return 443 if is_https else 80


def _join(host: str, port: int | None) -> str:
    name = f"[{host}]" if ":" in host else host
    return name if port is None else f"{name}:{port}"


def _read_host(text: str) -> str:
    try:
        if text.startswith("["):
            return str(IPv6Address(text[1:-1]))
        if re.fullmatch("[0-9.]+", text):
            return str(IPv4Address(text))
    except AddressValueError:
        raise ValueError("not an IP address") from None
    if not all(_LABEL.fullmatch(label) for label in text.split(".")):
        raise ValueError("not the name of a host")
    return text.lower()


def _read_port(text: str) -> int:
    if int(text) > _MAX_PORT:
        raise ValueError(f"not a port from 1 to {_MAX_PORT}")
    return int(text)
