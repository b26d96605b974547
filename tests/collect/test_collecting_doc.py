"""docs/collecting.md: a newcomer's commands, the web server's configuration, and the backup, as the page has them."""

from __future__ import annotations

import contextlib
import http.client
import re
import shutil
import ssl
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from obfstats.collect.index import parse_index, unpack_index
from obfstats.collect.signing import SigningKey
from peers import missing
from peers.child import Child
from peers.fetched import find_program
from peers.namespaces import in_own_network
from peers.program import OBFSTATS
from tests.collect.certificates import Authority
from tests.collect.collectors import document
from tests.collect.services import KEY, request, serving
from tests.networks import in_own_network_if_allowed
from tests.proxy.visiting import wait_until
from tests.publish.programs import run

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).parents[2] / "docs" / "collecting.md").read_text()
CLIENT = "127.0.0.77"
DAY = 86_400


def section(title: str) -> str:
    """A section of the page."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def commands(title: str) -> list[str]:
    """The indented blocks of a section: each is a command, or a few."""
    blocks = re.findall(r"(?:^    .*\n)+", section(title), re.MULTILINE)
    return [re.sub("^    ", "", block, flags=re.MULTILINE) for block in blocks]


def published(collector: Path) -> list[bytes]:
    """The documents of the recent files that a collector's index has."""
    public = collector / "public"
    if not (public / "index.json.xz").exists():
        return []
    paths = [entry.path for entry in parse_index(unpack_index((public / "index.json.xz").read_bytes())).files]
    texts = b"".join((public / path).read_bytes() for path in paths if path.endswith("-obfsproxy-stats"))
    return [b"@type" + text for text in texts.split(b"@type")[1:]]


def test_the_three_commands_of_the_page_work_as_they_stand(tmp_path: Path) -> None:
    """A collector, a bridge's document, a mirror; `script/obfstats` is the installed program here."""
    (tmp_path / "script").mkdir()
    (tmp_path / "script" / "obfstats").symlink_to(OBFSTATS)
    collect, submit, mirror = commands("Try it")

    def story() -> None:
        with Child(["bash", "-c", collect], folder=tmp_path) as collector:
            collector.wait_for_line("stdout", "^listening at http://127.0.0.1:8085$")
            sent = run(["bash", "-c", submit], folder=tmp_path)
            assert sent.returncode == 0, sent.stderr
            assert b": accepted; in the public archive by " in sent.stdout
            assert wait_until(lambda: bool(published(tmp_path / "trial" / "collector")))
            mirrored = run(["bash", "-c", mirror], folder=tmp_path)
            assert mirrored.returncode == 0, mirrored.stderr

    try:
        in_own_network(story)
    except PermissionError:
        # Only root may have port 8085 for itself.
        story()
    recent = tmp_path / "trial" / "mirrored" / "recent" / "obfsproxy-stats"
    [documents] = [path for path in recent.iterdir() if path.name.endswith("-obfsproxy-stats")]
    written = (tmp_path / "trial" / "document").read_text()
    assert documents.read_text() == f"@type obfsproxy-stats 1.0\n{written}"
    assert "obfsproxy-ips DE=24\n" in written
    assert (recent / f"{documents.name}.signatures").exists()


@contextlib.contextmanager
def nginx(folder: Path, server: str) -> Iterator[Child]:
    """Run nginx with one `server` block. Logs that the block does not turn off are in the folder."""
    folder.mkdir()
    temporary = "".join(
        f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr notice; events {{}}\n"
        f"http {{ access_log {folder}/access.log; error_log {folder}/error.log; {temporary}\n{server}}}\n"
    )
    program = find_program("nginx") or "nginx"
    with Child([program, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]) as child:
        child.wait_for_line("stderr", r"\[notice\] .*: OS: ")
        yield child


def fetch(path: str, body: bytes | None = None, *, authority: Authority | None = None) -> int:
    """Send one request from CLIENT to nginx, over TLS or to the onion service's port; give the status."""
    connection = http.client.HTTPConnection("127.0.0.1", 8086, 30, source_address=(CLIENT, 0))
    if authority is not None:
        context = ssl.create_default_context(cafile=str(authority.file))
        connection = http.client.HTTPSConnection(
            "127.0.0.1", 443, timeout=30, context=context, source_address=(CLIENT, 0)
        )
    with contextlib.closing(connection):
        connection.request("GET" if body is None else "POST", path, body, {"content-type": "application/json"})
        return connection.getresponse().status


def configure(folder: Path) -> str:
    """Give the page's `server` block with a certificate in a folder."""
    [server] = re.findall(r"```nginx\n(.*?)```", PAGE, re.DOTALL)
    return re.sub(r"(ssl_certificate(?:_key)?) [^;]+", rf"\1 {folder}/server.pem", server)


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
                    assert fetch("/v1/health", authority=tls) == 200
                    assert fetch("/metrics", authority=tls) == 404
                    assert fetch("/v1/documents", bytes((1 << 20) + 1), authority=tls) == 413
                    assert fetch("/v1/documents", b"{}", authority=tls) == 422
            assert fetch("/v1/health", authority=authority) == 502

    in_own_network_if_allowed(story)
    assert list((tmp_path / "mirrored" / "recent").rglob("*-obfsproxy-stats"))
    assert find_client(tmp_path / "nginx", tmp_path / "collector") == set()


def test_without_the_page_s_two_lines_nginx_would_log_clients(tmp_path: Path, authority: Authority) -> None:
    """So the lines are needed, and the search finds what there is."""
    server = re.sub(r"^ *(?:access_log|error_log) .*\n", "", configure(tmp_path), flags=re.MULTILINE)

    def story() -> None:
        with nginx(tmp_path / "nginx", server):
            assert fetch("/v1/health", authority=authority) == 502

    in_own_network_if_allowed(story)
    assert find_client(tmp_path / "nginx") == {"access.log", "error.log"}


def test_a_backup_is_restored_and_bridges_go_on(tmp_path: Path) -> None:
    """The page's `cp -a`, of a collector that was stopped with a document that was not public yet."""
    [stop, copy, start] = commands("Backup and restore")[0].splitlines()
    assert (stop.split()[1], start.split()[1]) == ("stop", "start")
    copy = copy.replace("/var/lib/", f"{tmp_path}/").replace("/backup/", f"{tmp_path}/backup/")
    folder = tmp_path / "obfstats-collector"
    (tmp_path / "backup").mkdir()
    now = int(time.time())
    first, second = document(1, now - DAY), document(1, now - 2 * DAY)

    with serving(folder, "--publish-every", "86400", "--admit", KEY.public) as collector:
        assert collector.post(request(first)).status == 201
    subprocess.run(["bash", "-c", copy], check=True)
    with serving(folder, "--publish-every", "1") as collector:
        assert collector.post(request(second)).status == 201
        assert wait_until(lambda: len(published(folder)) == 2)
        assert run([OBFSTATS, "mirror", collector.url, str(tmp_path / "mirrored")]).returncode == 0

    shutil.rmtree(folder)
    (tmp_path / "backup" / "obfstats-collector").rename(folder)
    with serving(folder, "--publish-every", "1") as collector:
        assert collector.post(request(first)).status == 200
        assert collector.post(request(second)).status == 201
        assert wait_until(lambda: len(published(folder)) == 2)
        result = run([OBFSTATS, "mirror", collector.url, str(tmp_path / "mirrored")])
        assert result.returncode == 0, result.stderr
    assert sorted(published(folder)) == sorted([first, second])
