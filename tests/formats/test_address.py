"""Addresses are packed once, and nothing of them is shown."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.formats.address import ClientAddress, pack_address

addresses = st.ip_addresses()


@given(addresses)
def test_an_address_is_packed_as_the_standard_library_packs_it(address: IPv4Address | IPv6Address) -> None:
    """IPv4-mapped IPv6 is IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    assert pack_address(str(address)) == (mapped or address).packed


def test_a_zone_is_ignored() -> None:
    """A link-local client's address has its interface's name with it."""
    assert pack_address("fe80::1%eth0") == ip_address("fe80::1").packed


@given(st.text(max_size=20))
def test_what_is_no_address_is_refused_without_being_quoted(text: str) -> None:
    """It may be a client's address with something beside it."""
    try:
        pack_address(text)
    except ValueError as error:
        assert str(error) == "not an IP address"  # noqa: PT017 - most texts are refused, some are addresses


@given(addresses, st.integers(0, 65535))
def test_a_client_shows_nothing_of_itself(address: IPv4Address | IPv6Address, port: int) -> None:
    """Not in a repr and not in a string, which a log or a traceback may hold."""
    client = ClientAddress.parse(str(address), port)
    assert repr(client) == str(client) == "ClientAddress()"
    assert client.family in {"v4", "v6"}


@pytest.mark.parametrize(
    ("host", "text"),
    [("192.0.2.7", "192.0.2.7:443"), ("::ffff:192.0.2.7", "192.0.2.7:443"), ("2001:db8::7", "[2001:db8::7]:443")],
)
def test_tor_is_told_host_and_port(host: str, text: str) -> None:
    """In the form of USERADDR (the extended ORPort's specification)."""
    assert ClientAddress.parse(host, 443).host_and_port == text
