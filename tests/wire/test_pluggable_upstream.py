"""TOR_PT_PROXY: the proxy on the way out, and its credentials, which are never shown."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.wire.endpoint import Endpoint
from obfstats.wire.upstream import Upstream, UpstreamError, parse_upstream

credentials = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("uri", "read"),
    [
        (
            "socks5://tor:test1234@198.51.100.1:8000",
            Upstream("socks5", Endpoint("198.51.100.1", 8000), "tor", "test1234"),
        ),
        ("socks4a://198.51.100.2:8001", Upstream("socks4a", Endpoint("198.51.100.2", 8001), None, None)),
        ("http://198.51.100.3:443", Upstream("http", Endpoint("198.51.100.3", 443), None, None)),
        ("HTTP://[2001:db8::1]:80", Upstream("http", Endpoint("2001:db8::1", 80), None, None)),
        ("http://proxy.example:3128", Upstream("http", Endpoint("proxy.example", 3128), None, None)),
        ("http://tor@198.51.100.3:80", Upstream("http", Endpoint("198.51.100.3", 80), "tor", None)),
        ("http://tor:@198.51.100.3:80", Upstream("http", Endpoint("198.51.100.3", 80), "tor", "")),
        ("socks4a://tor@198.51.100.2:81", Upstream("socks4a", Endpoint("198.51.100.2", 81), "tor", None)),
    ],
)
def test_proxies_are_read(uri: str, read: Upstream) -> None:
    """The specification's examples, and other valid URIs."""
    assert parse_upstream(uri) == read


def test_credentials_that_tor_did_not_escape_are_read() -> None:
    """Tor copies them from torrc as they are: at signs, slashes and colons need no escape."""
    upstream = parse_upstream("socks5://to/r:p@ss:w/rd@198.51.100.1:8000")
    assert (upstream.username, upstream.password) == ("to/r", "p@ss:w/rd")


@given(credentials.filter(lambda text: ":" not in text), credentials)
def test_credentials_are_percent_decoded(username: str, password: str) -> None:
    """As a URI has them, in UTF-8."""
    upstream = parse_upstream(f"http://{quote(username)}:{quote(password)}@[2001:db8::1]:1080")
    assert (upstream.username, upstream.password) == (username, password)


def test_credentials_are_not_shown() -> None:
    """Neither by `repr` nor by `str`."""
    shown = repr(parse_upstream("socks5://tor:xyzzy@198.51.100.1:8000"))
    assert "xyzzy" not in shown
    assert "tor" not in shown
    assert "8000" in shown


@pytest.mark.parametrize("uri", ["", "198.51.100.1:8000", "socks5:198.51.100.1:8000", "socks4://198.51.100.1:8000",
                                 "https://198.51.100.1:443", "://198.51.100.1:1"])  # fmt: skip
def test_other_kinds_are_refused_with_the_choices(uri: str) -> None:
    """SOCKS4 without names and HTTP under TLS are not in the specification."""
    with pytest.raises(UpstreamError, match=r"does not begin with socks5://, socks4a://, http://"):
        parse_upstream(uri)


@pytest.mark.parametrize("place", ["", "198.51.100.1", "198.51.100.1:", "198.51.100.1:0", "198.51.100.1:65536", ":80",
                                   "2001:db8::1", "[2001:db8::1]", "198.51.100.1:80/", "198.51.100.1:80?q",
                                   "xyzzy", "a b:80"])  # fmt: skip
def test_a_proxy_has_a_host_and_a_port(place: str) -> None:
    """No default ports, no path."""
    for uri in (f"http://{place}", f"http://tor:xyzzy@{place}"):
        with pytest.raises(UpstreamError, match=r"does not end with HOST:PORT") as refused:
            parse_upstream(uri)
        assert "xyzzy" not in str(refused.value)


@pytest.mark.parametrize("password", ["xyzzy%", "xyzzy%4", "%zzxyzzy", "100%xyzzy"])
def test_a_bare_percent_sign_is_told(password: str) -> None:
    """It could be a character of torrc's or a broken escape; the sentence says how to be clear."""
    with pytest.raises(UpstreamError, match=r"write it as %25$") as refused:
        parse_upstream(f"socks5://tor:{password}@198.51.100.1:8000")
    assert "xyzzy" not in str(refused.value)


@pytest.mark.parametrize("password", ["xyzzy%ff", "xyzzy\udcff", "xyzzy" + chr(0xD800)])
def test_credentials_are_text(password: str) -> None:
    """Bytes that are no UTF-8 have no characters."""
    with pytest.raises(UpstreamError, match=r"not text in UTF-8$") as refused:
        parse_upstream(f"socks5://tor:{password}@198.51.100.1:8000")
    assert "xyzzy" not in str(refused.value)


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("socks5://tor@198.51.100.1:80", "SOCKS5 proxy takes username and password"),
        ("socks5://tor:@198.51.100.1:80", "SOCKS5 proxy takes username and password"),
        ("socks5://:xyzzy@198.51.100.1:80", "SOCKS5 proxy takes username and password"),
        ("socks5://@198.51.100.1:80", "SOCKS5 proxy takes username and password"),
        (f"socks5://tor:{'x' * 256}@198.51.100.1:80", "SOCKS5 proxy takes username and password"),
        (f"socks5://{'x' * 256}:tor@198.51.100.1:80", "SOCKS5 proxy takes username and password"),
        (f"socks5://tor:{'%C3%A9' * 128}@198.51.100.1:80", "SOCKS5 proxy takes username and password"),
        ("socks4a://tor:xyzzy@198.51.100.1:80", "SOCKS4a proxy takes a username"),
        ("socks4a://tor:@198.51.100.1:80", "SOCKS4a proxy takes a username"),
        ("socks4a://@198.51.100.1:80", "SOCKS4a proxy takes a username"),
        ("socks4a://to%00r@198.51.100.1:80", "SOCKS4a proxy takes a username"),
        (f"socks4a://{'x' * 256}@198.51.100.1:80", "SOCKS4a proxy takes a username"),
        ("http://t%3Aor:xyzzy@198.51.100.1:80", "an HTTP proxy takes no colon in the username"),
    ],
)
def test_credentials_that_the_proxy_cannot_be_told_are_refused(uri: str, told: str) -> None:
    """At the start, and not at every connection."""
    with pytest.raises(UpstreamError, match=told) as refused:
        parse_upstream(uri)
    assert "xyzzy" not in str(refused.value)


def test_the_longest_credentials_fit() -> None:
    """255 bytes each."""
    upstream = parse_upstream(f"socks5://{'u' * 255}:{'p' * 255}@198.51.100.1:80")
    assert (upstream.username, upstream.password) == ("u" * 255, "p" * 255)


def test_a_giant_uri_is_refused() -> None:
    """Before anything is done with it."""
    parse_upstream("http://".ljust(4096 - 15, "u") + "@198.51.100.1:1")
    with pytest.raises(UpstreamError, match=r"longer than 4096 characters$"):
        parse_upstream("http://".ljust(4097 - 15, "u") + "@198.51.100.1:1")


@given(st.sampled_from(["socks5://", "socks4a://", "http://", ""]), st.text(st.sampled_from("u:@%4[].1/")) | st.text())
def test_any_text_is_read_or_refused(scheme: str, rest: str) -> None:
    """Nothing else is ever raised."""
    try:
        upstream = parse_upstream(scheme + rest)
    except UpstreamError:
        return
    assert 1 <= upstream.endpoint.port <= 65535
