"""Where a collector may be, and which way a request goes: through tor, unless the operator decides otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.collect.client.keys import KEY_NAME
from obfstats.collect.client.request import RequestError, send_request, write_get
from obfstats.collect.client.route import TOR, Proxy, choose_proxy, parse_collector_url, parse_proxy
from obfstats.collect.signing import SigningKey
from peers import socks_proxy
from peers.program import OBFSTATS
from tests.collect import stand_in
from tests.publish.programs import run

if TYPE_CHECKING:
    from pathlib import Path

ONION = "http://2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.onion"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("https://collector.example", (True, "collector.example", 443, "")),
        ("https://Collector.Example:8443/obfs/", (True, "collector.example", 8443, "/obfs")),
        ("https://[2001:DB8::1]/a/b", (True, "2001:db8::1", 443, "/a/b")),
        ("https://192.0.2.7", (True, "192.0.2.7", 443, "")),
        ("http://127.0.0.1:8085", (False, "127.0.0.1", 8085, "")),
        ("http://[::1]:8085", (False, "::1", 8085, "")),
        ("http://localhost", (False, "localhost", 80, "")),
        (ONION, (False, ONION.removeprefix("http://"), 80, "")),
    ],
)
def test_a_collectors_url(text: str, parts: tuple[bool, str, int, str]) -> None:
    """Host, port and path; and written again it reads the same."""
    url = parse_collector_url(text)
    assert url == parts
    assert parse_collector_url(str(url)) == url


@pytest.mark.parametrize(
    "text",
    [
        "collector.example",
        "ftp://collector.example",
        "https://",
        "https://user:password@collector.example",
        "https://collector.example?x=1",
        "https://collector.example/#x",
        "https://collector.example/a b",
        "https://collector.example/a\r\nX: y",
        "https://collector.example:0",
        "https://collector.example:65536",
        "https://collector..example",
        f"https://{'a' * 64}.example",
        "https://127.1",
        "https://[::1",
        "https://[1.2.3.4]",
        "https://köln.example",
    ],
)
def test_what_is_no_collectors_url(text: str) -> None:
    """Nothing in it may become a line of the request, and no password goes along."""
    with pytest.raises(ValueError, match=r"give the collector as|not a port|not the name|not an IP"):
        parse_collector_url(text)


@pytest.mark.parametrize("text", ["http://collector.example", "http://192.0.2.7:8085", "http://127.0.0.1.example"])
def test_http_is_for_this_machine_and_onion_services(text: str) -> None:
    """Elsewhere a machine in the middle could read and change what is sent."""
    with pytest.raises(ValueError, match=r"http:// is for \.onion addresses and this machine; give https://"):
        parse_collector_url(text)


@given(st.text(max_size=80) | st.from_regex(r"https?://[a-z0-9.\[\]:/%@-]{1,60}", fullmatch=True))
def test_any_text_is_a_url_or_a_sentence(text: str) -> None:
    """A URL that is accepted is written the same way ever after, and its request is three lines."""
    try:
        url = parse_collector_url(text)
    except ValueError:
        return
    assert parse_collector_url(str(url)) == url
    assert write_get(url, "/v1/health").count(b"\r\n") == 4


def test_a_proxys_url() -> None:
    """Only with h: without it the program would resolve the collector's name outside of tor."""
    assert parse_proxy("socks5h://127.0.0.1:9150") == ("127.0.0.1", 9150)
    assert parse_proxy("socks5h://[::1]:9050") == ("::1", 9050)
    for text in ("socks5://127.0.0.1:9050", "socks5h://127.0.0.1", "http://127.0.0.1:8118", "127.0.0.1:9050"):
        with pytest.raises(ValueError, match="give the proxy as socks5h://HOST:PORT"):
            parse_proxy(text)


def test_the_way_is_through_tor_unless_the_operator_decides_otherwise() -> None:
    """A collector on this machine needs no proxy."""
    https, onion, local = map(parse_collector_url, ("https://192.0.2.7", ONION, "http://127.0.0.1:8085"))
    other = Proxy("127.0.0.1", 9150)
    assert choose_proxy(https, None, reveal_address=False) == TOR
    assert choose_proxy(onion, None, reveal_address=False) == TOR
    assert choose_proxy(local, None, reveal_address=False) is None
    assert choose_proxy(https, other, reveal_address=False) == other
    assert choose_proxy(local, other, reveal_address=False) == other
    assert choose_proxy(https, None, reveal_address=True) is None
    with pytest.raises(ValueError, match="give one of them"):
        choose_proxy(https, other, reveal_address=True)
    with pytest.raises(ValueError, match="through tor only"):
        choose_proxy(onion, None, reveal_address=True)


def test_the_proxy_resolves_the_collectors_name(tmp_path: Path) -> None:
    """The name reaches it as it is, and the request arrives through it."""
    SigningKey.create(tmp_path / KEY_NAME)
    document = tmp_path / "document"
    document.write_bytes(stand_in.document())
    with stand_in.serve() as collector, socks_proxy.serve(collector.address) as proxy:
        result = run([OBFSTATS, "submit", "--to", ONION, "--through", f"socks5h://127.0.0.1:{proxy.address[1]}",
                      "--data-dir", str(tmp_path), str(document)])  # fmt: skip
    assert (result.returncode, result.stderr) == (0, b"")
    assert proxy.asked == [(ONION.removeprefix("http://"), 80)]
    assert collector.documents == [stand_in.document()]


def test_a_proxy_that_reaches_no_collector_is_a_sentence() -> None:
    """The proxy's own reason, in words."""
    with socks_proxy.serve(("127.0.0.1", 1)) as proxy:
        proxy.reply = 5
        with pytest.raises(
            RequestError, match=r"the proxy at .* cannot reach .*: Connection refused by dest"
        ) as caught:
            send_request(parse_collector_url(ONION), Proxy(*proxy.address), b"")
    assert caught.value.is_temporary


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--to", "http://collector.example"], "argument --to: http:// is for .onion addresses and this machine"),
        (["--to", ONION, "--reveal-address"], "an .onion address can be reached through tor only"),
        (
            ["--to", "https://a.example", "--through", "socks5://127.0.0.1:9050"],
            "give the proxy as socks5h://HOST:PORT",
        ),
        (["--to", "https://a.example", "--status", "document"], "--status sends nothing; give no DOCUMENT with it"),
        ([], "the following arguments are required: --to"),
    ],
)
def test_bad_use_is_a_line(arguments: list[str], sentence: str) -> None:
    """Exit status 2, and nothing is sent."""
    result = run([OBFSTATS, "submit", *arguments])
    assert (result.returncode, result.stdout) == (2, b"")
    assert sentence in result.stderr.decode()
    assert result.stderr.count(b"\n") == 1
