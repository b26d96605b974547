"""`obfstats mirror` as an operator runs it: exit statuses, interrupts, proxies, memory."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

import pytest

from obfstats.collect.signing import SigningKey
from peers import socks_proxy
from peers.child import Child
from peers.program import OBFSTATS
from tests.collect.archives import MONTH, RECENT, WebServer, publish_plain, publish_signed, serve
from tests.proxy.visiting import wait_until
from tests.publish.programs import run, run_measured

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILES = {RECENT: b"documents", MONTH: bytes(1 << 20)}


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    """A web server of an empty folder."""
    (tmp_path / "source").mkdir()
    with serve(tmp_path / "source") as server:
        yield server


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    """The collector's key."""
    return SigningKey.create(tmp_path / "collector.key")


def mirror(folder: Path, url: str, *options: str) -> tuple[int, str]:
    """Run the command; give its exit status and what it told the operator."""
    result = run([OBFSTATS, "mirror", url, str(folder), *options])
    assert result.stdout == b""
    return result.returncode, result.stderr.decode()


def test_a_mirror_says_what_it_did_and_ends_with_0(tmp_path: Path, web: WebServer, key: SigningKey) -> None:
    """Two lines at the first visit, one later."""
    publish_signed(web.folder, FILES, key)
    status, told = mirror(tmp_path / "mirrored", web.url)
    assert status == 0
    assert told.splitlines()[0].startswith(f"obfstats mirror: {web.url} is signed by {key.public}, which is remembered")
    assert told.splitlines()[1].startswith("obfstats mirror: 6 files copied, 0 unchanged; ")
    assert (tmp_path / "mirrored" / MONTH).read_bytes() == FILES[MONTH]
    status, told = mirror(tmp_path / "mirrored", f"{web.url}/", "--key", key.public)
    assert status == 0
    assert told.count("\n") == 1


def test_what_is_refused_ends_with_1(tmp_path: Path, web: WebServer, key: SigningKey) -> None:
    """One line for each file, and one for an index."""
    publish_signed(web.folder, FILES, key)
    (web.folder / MONTH).write_bytes(b"bad")
    status, told = mirror(tmp_path / "mirrored", web.url, "--key", key.public)
    assert status == 1
    assert told == f"obfstats mirror: refused: {MONTH} has 3 bytes, but {1 << 20} in the index\n"
    (web.folder / "index.json.xz.minisig").write_bytes(b"no signature")
    status, told = mirror(tmp_path / "mirrored", web.url)
    assert status == 1
    assert told.startswith(
        f"obfstats mirror: the index of {web.url} is not signed by {key.public}; nothing was changed"
    )
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["ftp://collector.example", "m"], "give the collector as https://HOST"),
        (["http://collector.example", "m"], "http:// is for .onion addresses and this machine"),
        (["https://collector.example", "m", "--key", "RWx"], "--key is not a public key of 56 characters"),
        (
            ["https://collector.example", "m", "--through", "http://127.0.0.1:1"],
            "give the proxy as socks5h://HOST:PORT",
        ),
        (["http://127.0.0.1:9", "/proc/m"], "/proc/m"),
        (["http://127.0.0.1:9", "m", "--through", "socks5h://127.0.0.1:9"], "no proxy at 127.0.0.1:9"),
    ],
)
def test_bad_use_and_a_source_that_is_not_there_end_with_2(tmp_path: Path, arguments: list[str], error: str) -> None:
    """One line says what to do."""
    result = run([OBFSTATS, "mirror", *arguments], folder=tmp_path)
    assert result.returncode == 2
    assert error in result.stderr.decode()
    assert result.stderr.count(b"\n") == 1


def test_an_interrupt_ends_with_130_and_the_next_run_continues(tmp_path: Path, web: WebServer) -> None:
    """Ctrl-C in the middle of a file: what came is not asked for again."""
    publish_plain(web.folder, FILES)
    web.stalled[MONTH] = threading.Event()
    partials = tmp_path / "mirrored" / ".mirror" / "partial"
    with Child([OBFSTATS, "mirror", web.url, str(tmp_path / "mirrored")]) as child:
        assert wait_until(lambda: partials.exists() and any(path.stat().st_size for path in partials.iterdir()))
        child.send_signal(signal.SIGINT)
        assert child.wait() == 130
    assert child.stderr == ""
    [partial] = partials.iterdir()
    came = partial.stat().st_size
    assert 0 < came < len(FILES[MONTH])
    web.stalled.pop(MONTH).set()
    web.requests.clear()
    status, _ = mirror(tmp_path / "mirrored", web.url)
    assert status == 0
    assert web.asked(MONTH) == [f"{MONTH} bytes={came}-"]
    assert (tmp_path / "mirrored" / MONTH).read_bytes() == FILES[MONTH]


def test_every_connection_goes_through_the_proxy(tmp_path: Path, web: WebServer) -> None:
    """The proxy resolves the name; where the server ends a connection, the next one goes through the proxy too."""
    publish_plain(web.folder, FILES)
    web.cut_after = [100_000]
    with socks_proxy.serve(("127.0.0.1", web.port)) as proxy:
        through = "socks5h://{}:{}".format(*proxy.address)
        status, told = mirror(tmp_path / "mirrored", "http://archive.onion", "--through", through)
    assert (status, told.count("\n")) == (0, 1)
    assert set(proxy.asked) == {("archive.onion", 80)}
    assert len(proxy.asked) == 2


def test_memory_does_not_grow_with_the_files(tmp_path: Path, web: WebServer) -> None:
    """A file of 64 MiB needs no more memory than one of 64 KiB."""
    peaks = []
    for size in (64 << 10, 64 << 20):
        publish_plain(web.folder, {"large": bytes(size)})
        result, peak = run_measured([OBFSTATS, "mirror", web.url, str(tmp_path / str(size))])
        assert result.returncode == 0
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 8192
