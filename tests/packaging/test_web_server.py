"""The web server's configuration in docs/running.md: nginx passes requests on, shows the site, and keeps no address."""

from __future__ import annotations

import contextlib
import http.client
import re
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from obfstats.collect.signing import SigningKey
from peers import missing
from peers.child import Child
from peers.fetched import find_program
from peers.program import OBFSTATS
from tests.collect.certificates import NAME, Authority
from tests.collect.collectors import document
from tests.collect.services import serving
from tests.collect.test_collecting_doc import published
from tests.networks import in_own_network_if_allowed
from tests.proxy.visiting import wait_until
from tests.publish.programs import run

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE_FOLDER = Path(__file__).parents[2] / "docs"
PAGE = (PAGE_FOLDER / "running.md").read_text()
CLIENT = "127.0.0.77"
DAY = 86_400


@contextlib.contextmanager
def nginx(folder: Path, servers: str) -> Iterator[Child]:
    """Run nginx with `server` blocks. Logs that a block does not turn off are in the folder."""
    folder.mkdir()
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr notice; events {{}}\n"
        f"http {{ access_log {folder}/access.log; error_log {folder}/error.log; {temporary}\n{servers}}}\n"
    )
    program = find_program("nginx") or "nginx"
    with Child([program, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]) as child:
        child.wait_for_line("stderr", r"\[notice\] .*: OS: ")
        yield child


def get(
    path: str, body: bytes | None = None, *, authority: Authority | None = None, host: str = NAME, port: int = 8086
) -> http.client.HTTPResponse:
    """Send one request from CLIENT to nginx, over TLS or by default to the onion service's port; the answer is read."""
    connection = http.client.HTTPConnection("127.0.0.1", port, 30, source_address=(CLIENT, 0))
    if authority is not None:
        context = ssl.create_default_context(cafile=str(authority.file))
        connection = http.client.HTTPSConnection(
            "127.0.0.1", 443, timeout=30, context=context, source_address=(CLIENT, 0)
        )
    with contextlib.closing(connection):
        headers = {"content-type": "application/json", "host": host}
        connection.request("GET" if body is None else "POST", path, body, headers)
        response = connection.getresponse()
        response.read()
        return response


def configure(folder: Path) -> str:
    """Give the page's `server` blocks with a certificate and the site in a folder."""
    [servers] = re.findall(r"```nginx\n(.*?)```", PAGE, re.DOTALL)
    servers = servers.replace("/var/lib/obfstats/site", f"{folder}/site")
    return re.sub(r"(ssl_certificate(?:_key)?) [^;]+", rf"\1 {folder}/server.pem", servers)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority, with a server's certificate beside its own."""
    missing.need("nginx", "nginx")
    made = Authority.create(tmp_path)
    made.context()
    return made


def find_client(*folders: Path) -> set[str]:
    """Give the names of files that have CLIENT."""
    paths = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {path.name for path in paths if CLIENT.encode() in path.read_bytes()}


def test_nginx_passes_requests_on_and_keeps_no_address(tmp_path: Path, authority: Authority) -> None:
    """A bridge submits and a mirror copies over TLS; an error, when the collector is away, is not logged either."""
    obfstats = ["env", f"SSL_CERT_FILE={authority.file}", OBFSTATS]
    key = SigningKey.create(tmp_path / "bridge" / "submit.key")
    (tmp_path / "document").write_bytes(document(1, int(time.time()) - DAY))
    submit = ["submit", "--reveal-address", "--data-dir", str(tmp_path / "bridge"), str(tmp_path / "document")]
    arguments = ["--listen", "127.0.0.1:8085", "--publish-every", "1", "--admit", key.public]

    def story() -> None:
        with nginx(tmp_path / "nginx", configure(tmp_path)):
            with serving(tmp_path / "collector", *arguments):
                result = run([*obfstats, *submit, "--to", "https://127.0.0.1"])
                assert b": accepted; " in result.stdout, result.stderr
                assert wait_until(lambda: bool(published(tmp_path / "collector")))
                assert run([*obfstats, "mirror", "https://127.0.0.1", str(tmp_path / "mirrored")]).returncode == 0
                for tls in (authority, None):
                    assert get("/v1/health", authority=tls).status == 200
                    assert get("/metrics", authority=tls).status == 404
                    assert get("/v1/documents", bytes((1 << 20) + 1), authority=tls).status == 413
                    assert get("/v1/documents", b"{}", authority=tls).status == 422
            assert get("/v1/health", authority=authority).status == 502

    in_own_network_if_allowed(story)
    assert list((tmp_path / "mirrored" / "recent").rglob("*-obfsproxy-stats"))
    assert find_client(tmp_path / "nginx", tmp_path / "collector") == set()


def test_nginx_shows_the_site_and_keeps_no_address(tmp_path: Path, authority: Authority) -> None:
    """The other name, with the headers of docs/show.md; plain HTTP leads to it; an error is not logged either."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("the site")
    [policy] = re.findall("Content-Security-Policy: (.*)", (PAGE_FOLDER / "show.md").read_text())

    def story() -> None:
        with nginx(tmp_path / "nginx", configure(tmp_path)):
            page = get("/", authority=authority, host="bridges.example")
            assert (page.status, page.headers["content-length"]) == (200, "8")
            assert page.headers["content-security-policy"] == policy
            assert page.headers["x-content-type-options"] == "nosniff"
            assert get("/no-such-page", authority=authority, host="bridges.example").status == 404
            sent = get("/country/de.html", host="bridges.example", port=80)
            assert (sent.status, sent.headers["location"]) == (301, "https://bridges.example/country/de.html")

    in_own_network_if_allowed(story)
    assert find_client(tmp_path / "nginx") == set()


@pytest.mark.parametrize("host", [NAME, "bridges.example"])
def test_without_two_lines_of_a_server_block_nginx_would_log_clients(
    tmp_path: Path, authority: Authority, host: str
) -> None:
    """So each block needs them, and the search finds what there is."""
    servers = re.sub(r"^ *(?:access_log|error_log) .*\n", "", configure(tmp_path), flags=re.MULTILINE)

    def story() -> None:
        with nginx(tmp_path / "nginx", servers):
            assert get("/no-such-page", authority=authority, host=host).status in {404, 502}

    in_own_network_if_allowed(story)
    assert find_client(tmp_path / "nginx") == {"access.log", "error.log"}
