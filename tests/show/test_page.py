"""The command `obfstats page`: a folder of documents becomes a page."""

from __future__ import annotations

import os
import socket
import struct
from contextlib import closing
from dataclasses import replace
from http.client import HTTPConnection, HTTPResponse
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from obfstats import cli
from obfstats.formats.document import write_document
from obfstats.show.page import PAGE_NAME, make_page
from obfstats.show.serve import PageServer
from tests.show.bridges import END, publish, write_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A folder of a bridge that has run for three days."""
    documents = publish([{"IR": 44}] * 3)
    documents[0] = replace(documents[0], instance="first")
    return write_folder(tmp_path / "published", documents)


def run(published: Path, out: Path) -> int:
    """Run the command."""
    return cli.main(["page", "--from", str(published), "--to", str(out)])


def test_a_page_is_written(published: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One file, which others may read; nothing is printed."""
    assert run(published, tmp_path / "www" / "bridge") == 0
    assert capfd.readouterr() == ("", "")
    (page,) = (tmp_path / "www" / "bridge").iterdir()
    assert page.name == PAGE_NAME
    assert "41 to 48 addresses from 1 country used this bridge" in page.read_text()


def test_a_page_is_written_again_only_if_it_has_changed(published: Path, tmp_path: Path) -> None:
    """A server tells browsers that nothing is new, and rsync has nothing to send."""
    page = tmp_path / PAGE_NAME
    run(published, tmp_path)
    os.utime(page, (1, 1))
    run(published, tmp_path)
    assert page.stat().st_mtime == 1
    write_folder(published, publish([{"IR": 44}] * 4))
    run(published, tmp_path)
    assert page.stat().st_mtime > 1
    assert "On all 4 days" in page.read_text()


def test_only_published_documents_are_read(published: Path, tmp_path: Path) -> None:
    """No log, no ledger, no document that is being written, no link, no pipe."""
    run(published, tmp_path / "before")
    (document,) = publish([{"DE": 99}])
    secret = tmp_path / "secret"
    secret.write_bytes(write_document(document))
    (published / ".2026-11-30-09-22-04-obfsproxy-stats.new").write_bytes(write_document(document))
    (published / ".ledger").write_text("a ledger")
    (published / "clients.log").write_text("a log")
    (published / "2026-11-30-09-22-04-obfsproxy-stats").symlink_to(secret)
    assert run(published, tmp_path / "after") == 0
    assert (tmp_path / "after" / PAGE_NAME).read_bytes() == (tmp_path / "before" / PAGE_NAME).read_bytes()


def test_what_is_no_document_is_left_out_and_named(
    published: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The page is made of the others, and says so; the status is 1. What the file holds is not repeated."""
    name = "2026-11-30-09-22-04-obfsproxy-stats"
    (published / name).write_text("<script>alert(1)</script>\n")
    os.mkfifo(published / f"1{name}")
    (published / f"2{name}").write_bytes(b"")
    (published / f"3{name}").write_text("obfsproxy-stats-end 0003-01-01 00:00:00 (86400 s)\n")
    (published / f"4{name}").write_bytes(b"a" * 60_000)
    assert run(published, tmp_path) == 1
    error = capfd.readouterr().err
    assert error.count("is left out") == 5
    assert f"{published / name} is left out: line 1: unknown keyword" in error
    assert f"1{name} is left out: not a regular file" in error
    assert f"3{name} is left out: an interval of another century" in error
    assert "script" not in error
    page = (tmp_path / PAGE_NAME).read_text()
    assert "5 files could not be read as documents" in page
    assert "41 to 48 addresses" in page


@pytest.mark.parametrize("other", [{"fingerprint": "0" * 40}, {"instance": "second"}], ids=["bridge", "instance"])
def test_documents_of_two_bridges_are_refused(
    published: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], other: dict[str, Any]
) -> None:
    """Their numbers would be those of neither."""
    write_folder(published, [replace(document, **other) for document in publish([{"IR": 44}])])
    assert run(published, tmp_path) == 2
    assert "has documents of several bridges or instances; give each its own folder" in capfd.readouterr().err
    assert not (tmp_path / PAGE_NAME).exists()


def test_a_folder_that_is_not_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One line: what to do."""
    assert run(tmp_path / "none", tmp_path) == 2
    assert capfd.readouterr().err == (
        f"obfstats page: cannot read {tmp_path / 'none'}: No such file or directory; "
        "give --from the folder of --publish\n"
    )


def test_a_place_that_cannot_be_written(published: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A file is where the folder should be."""
    (tmp_path / "file").write_text("")
    assert run(published, tmp_path / "file") == 2
    assert "cannot write to" in capfd.readouterr().err


@pytest.fixture
def server(published: Path) -> Iterator[PageServer]:
    """The page of the folder, served on this machine."""
    with PageServer(("127.0.0.1", 0), lambda: make_page(published, END)) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(server: PageServer, path: str = "/", method: str = "GET", **headers: str) -> tuple[HTTPResponse, str]:
    """Send one request."""
    connection = HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    with closing(connection):
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response, response.read().decode()


def test_the_page_is_served(server: PageServer, published: Path) -> None:
    """Made anew for each request, with headers that forbid everything else."""
    response, page = ask(server)
    assert response.status == 200
    assert "On all 3 days" in page
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
    write_folder(published, publish([{"IR": 44}] * 4))
    assert "On all 4 days" in ask(server, "/index.html")[1]
    assert ask(server, method="HEAD")[1] == ""


def test_a_page_that_the_browser_has_is_not_sent_again(server: PageServer) -> None:
    """It asks with what it has got."""
    tag = ask(server)[0].headers["ETag"]
    response, page = ask(server, If_None_Match=tag)
    assert (response.status, page) == (304, "")


def test_there_is_no_other_page(server: PageServer) -> None:
    """Neither the documents nor any other file."""
    for path in ("/favicon.ico", "/../published", "//etc/passwd", "/?x#y/..", "/index.html/"):
        assert ask(server, path)[0].status == (200 if path.startswith("/?") else 404)


def test_a_folder_that_has_gone_is_an_answer_too(
    server: PageServer, published: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """And nothing is logged, neither of the request nor of a browser that goes away."""
    published.rename(published.with_name("moved"))
    response, text = ask(server)
    assert response.status == 503
    assert text.endswith("No such file or directory; give --from the folder of --publish\n")
    with socket.create_connection(("127.0.0.1", server.server_address[1])) as browser:
        browser.sendall(b"GET / HTTP/1.1\r\n")
        browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert ask(server)[0].status == 503
    assert capfd.readouterr() == ("", "")


def test_an_address_that_is_taken(server: PageServer, published: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One line: what to do."""
    address = f"127.0.0.1:{server.server_address[1]}"
    assert cli.main(["page", "--from", str(published), "--serve", address]) == 2
    assert "Address already in use; give --serve another address" in capfd.readouterr().err
