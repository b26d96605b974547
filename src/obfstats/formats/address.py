"""A client's IP address, packed: 4 bytes for IPv4, 16 for IPv6. IPv4-mapped IPv6 is IPv4 (design, decision 3).

An address must never reach a log, an error or a traceback: no error quotes it, and `repr` of a value here hides it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Literal, TypeAlias

Family: TypeAlias = Literal["v4", "v6"]
"""Address family, as the log and Tor's `bridge-ip-versions` name it."""

WHOLE_IPV6 = 128
"""Bits of an IPv6 address. Clients are told apart by all of them, or by as many as `--ipv6-prefix` says."""

_MAPPED_PREFIX = bytes(10) + b"\xff\xff"


def pack_address(text: str) -> bytes:
    """Pack an address. A zone (`%eth0`) is ignored.

    Raises:
        ValueError: if the text is no address. The text is not in the error.
    """
    try:
        return inet_pton(AF_INET, text)
    except (OSError, ValueError):
        pass
    try:
        packed = inet_pton(AF_INET6, text.partition("%")[0])
    except (OSError, ValueError):
        raise ValueError("not an IP address") from None
    return packed.removeprefix(_MAPPED_PREFIX)


def family_of(packed: bytes) -> Family:
    """Give the family of a packed address."""
    return "v4" if len(packed) == 4 else "v6"


@dataclass(frozen=True, slots=True)
class ClientAddress:
    """Address and port of a connected client, parsed once: from the accepted socket, or from USERADDR.

    Attributes:
        packed: the address, 4 or 16 bytes.
        port: the TCP port.
    """

    packed: bytes = field(repr=False)
    port: int = field(repr=False)

    @classmethod
    def parse(cls, host: str, port: int) -> ClientAddress:
        """Parse the peer of a socket, or what an extended ORPort message contains.

        Raises:
            ValueError: if the host is no IP address. The text is not in the error.
        """
        return cls(pack_address(host), port)

    @property
    def family(self) -> Family:
        """The address family."""
        return family_of(self.packed)

    @property
    def host_and_port(self) -> str:
        """The text form, `192.0.2.7:40000` or `[2001:db8::7]:40000`: for tor's USERADDR, never for a log as it is."""
        if len(self.packed) == 4:
            return f"{inet_ntop(AF_INET, self.packed)}:{self.port}"
        return f"[{inet_ntop(AF_INET6, self.packed)}]:{self.port}"
