"""TLS to a collector: only a certificate that is valid for its name, of an authority that the system knows."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from obfstats.collect.client.request import RequestError, send_request, write_get
from obfstats.collect.client.route import Proxy, parse_collector_url
from peers import socks_proxy
from tests.collect import stand_in
from tests.collect.certificates import NAME, Authority

if TYPE_CHECKING:
    from pathlib import Path

URL = parse_collector_url(f"https://{NAME}")
REQUEST = write_get(URL, "/v1/health")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority."""
    return Authority.create(tmp_path_factory.mktemp("authority"))


@pytest.fixture(autouse=True)
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system trusts that authority alone."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    monkeypatch.setenv("SSL_CERT_DIR", str(authority.folder / "none"))


def test_a_certificate_of_the_named_authority_is_accepted(authority: Authority) -> None:
    """SSL_CERT_FILE names it; the request arrives as it was written."""
    with stand_in.serve(authority.context()) as collector:
        assert send_request(collector.url, None, REQUEST).status == 404
    assert collector.requests == [REQUEST]


def test_the_name_is_checked_through_a_proxy_too(authority: Authority) -> None:
    """The proxy has resolved it, and could lead anywhere."""
    with stand_in.serve(authority.context()) as collector, socks_proxy.serve(collector.address) as proxy:
        assert send_request(URL, Proxy(*proxy.address), REQUEST).status == 404
        assert proxy.asked == [(NAME, 443)]
        other = parse_collector_url("https://other.example")
        with pytest.raises(RequestError, match=r"https://other\.example is not valid: Hostname mismatch"):
            send_request(other, Proxy(*proxy.address), REQUEST)


def test_a_certificate_of_an_unknown_authority_is_refused(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence, no retry, and not a byte of the request has been sent."""
    monkeypatch.setenv("SSL_CERT_FILE", str(Authority.create(tmp_path).file))
    with (
        stand_in.serve(authority.context()) as collector,
        pytest.raises(RequestError, match=r"is not valid: unable to get local issuer.*; nothing was sent$") as caught,
    ):
        send_request(collector.url, None, REQUEST)
    assert not caught.value.is_temporary
    assert collector.requests == []


@pytest.mark.parametrize(
    ("name", "days", "reason"),
    [("other.example", 10, "IP address mismatch, .*"), (NAME, 0, "certificate has expired")],
)
def test_a_wrong_certificate_is_refused(authority: Authority, name: str, days: int, reason: str) -> None:
    """Another host's, or an old one."""
    with (
        stand_in.serve(authority.context(name, days=days)) as collector,
        pytest.raises(RequestError, match=rf"^the certificate of {collector.url_text} is not valid: {reason}; noth"),
    ):
        send_request(collector.url, None, REQUEST)
    assert collector.requests == []


def test_a_server_without_tls_is_a_sentence() -> None:
    """Such as a port that was mixed up."""

    def greet() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            connection.recv(1000)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = parse_collector_url(f"https://127.0.0.1:{listening.getsockname()[1]}")
        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(RequestError, match=rf"^no TLS connection to {url}: [A-Z_]*WRONG_VERSION_NUMBER$"):
            send_request(url, None, REQUEST)
        thread.join()


def test_a_handshake_that_never_ends_has_a_deadline() -> None:
    """As the rest of a request."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = parse_collector_url(f"https://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(RequestError, match="has not answered in time"):
            send_request(url, None, REQUEST, seconds=0.2)
