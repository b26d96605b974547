"""`obfstats mirror`: an archive is copied from a real web server, and what is wrong with it is refused."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tarfile
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from obfstats.collect.client.request import RequestError
from obfstats.collect.client.route import parse_collector_url
from obfstats.collect.download import Source
from obfstats.collect.index import FileEntry, parse_index, unpack_index
from obfstats.collect.mirror import RefusedError, mirror
from obfstats.collect.mirror_state import MirrorState, MirrorStateError
from obfstats.collect.signing import SigningKey
from obfstats.commandline import UsageError
from obfstats.lockedfile import FileInUseError
from peers import missing
from tests.collect.archives import (
    CREATED,
    MONTH,
    RECENT,
    WebServer,
    entry_of,
    publish_plain,
    publish_signed,
    serve,
    write,
    write_plain_index,
    write_signed_index,
)
from tests.collect.collectors import DAY, NOW, document, open_collector

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILES = {
    RECENT: b"@type obfsproxy-stats 1.0\n" * 20,
    f"{RECENT}.signatures": b"untrusted comment: ...\n",
    MONTH: bytes(range(256)) * 1000,
    "withdrawn": b"",
}


class Visitor:
    """Runs `mirror` again and again into one folder.

    Attributes:
        folder: the mirror.
        said: what the last visit told the operator.
        waits: seconds that the last visit waited between attempts.
    """

    def __init__(self, folder: Path, web: WebServer) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.waits: list[float] = []
        self._web = web

    def visit(self, *only: str, key: str | None = None, now: int = CREATED) -> int:
        """Run it once; give the exit status."""
        self.said, self.waits = [], []
        self._web.requests.clear()
        url = parse_collector_url(self._web.url)
        with MirrorState(self.folder) as state, closing(Source(url, None, self.waits.append)) as source:
            return mirror(source, state, key=key, prefixes=only, now=now, report=self.said.append)

    def files(self) -> dict[str, bytes]:
        """What it has, without hidden files and the index."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(self.folder).parts)
            and not path.name.startswith("index.json")
        }


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebServer]:
    """A web server of an empty folder."""
    (tmp_path / "source").mkdir()
    with serve(tmp_path / "source") as server:
        yield server


@pytest.fixture
def visitor(tmp_path: Path, web: WebServer) -> Visitor:
    """A mirror that has not made its first visit."""
    return Visitor(tmp_path / "mirrored", web)


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    """The collector's key."""
    return SigningKey.create(tmp_path / "collector.key")


def signed_files(folder: Path) -> dict[str, bytes]:
    """What a signed archive consists of, without its index."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("index.json")
    }


# Copying


def test_a_signed_archive_is_copied_with_its_signatures(visitor: Visitor, web: WebServer, key: SigningKey) -> None:
    """Every file of the index, its signature, the key, and the index itself: a mirror can be mirrored."""
    publish_signed(web.folder, FILES, key)
    assert visitor.visit() == 0
    assert visitor.files() == signed_files(web.folder)
    assert set(FILES) < set(visitor.files())
    assert visitor.said[-1] == (
        f"10 files copied, 0 unchanged; the index is of 2026-11-30 14:09 UTC, signed by {key.public}"
    )
    with serve(visitor.folder) as second:
        again = Visitor(visitor.folder.with_name("second"), second)
        assert again.visit(key=key.public) == 0
        assert again.files() == visitor.files()


@pytest.mark.parametrize("index_path", ["index.json", "index.json.xz", "index/index.json", "index/index.json.xz"])
def test_a_collector_tree_is_copied(visitor: Visitor, web: WebServer, index_path: str) -> None:
    """CollecTor's trees are not signed; their index may be in any of its places."""
    files = {"archive/bridge-descriptors/extra-infos/bridge-extra-infos-2019-03.tar.xz": b"tar", "recent/x/y.xz": b""}
    publish_plain(web.folder, files, index_path=index_path)
    assert visitor.visit() == 0
    assert visitor.files() == files
    assert visitor.said == ["2 files copied, 0 unchanged; the index is of 2026-11-30 14:09 UTC, not signed"]


def test_a_second_visit_fetches_only_what_changed(visitor: Visitor, web: WebServer, key: SigningKey) -> None:
    """The index and its signature; and a month that grew, with its signature."""
    publish_signed(web.folder, FILES, key)
    visitor.visit()
    assert visitor.visit() == 0
    assert web.requests == ["index.json.xz", "index.json.xz.minisig"]
    assert visitor.said[0].startswith("0 files copied, 10 unchanged")

    publish_signed(web.folder, FILES | {MONTH: b"larger"}, key, created=CREATED + 3600)
    assert visitor.visit() == 0
    assert web.requests == ["index.json.xz", "index.json.xz.minisig", f"{MONTH}.minisig", MONTH]
    assert visitor.files()[MONTH] == b"larger"


def test_a_file_that_left_the_index_stays(visitor: Visitor, web: WebServer, key: SigningKey) -> None:
    """A mirror is not emptied by its source, signed or not."""
    publish_signed(web.folder, FILES, key)
    visitor.visit()
    publish_signed(web.folder, {"withdrawn": b""}, key, created=CREATED + 60)
    assert visitor.visit() == 0
    assert visitor.files()[MONTH] == FILES[MONTH]
    assert visitor.files()[f"{MONTH}.minisig"]


def test_a_file_that_was_damaged_on_the_mirror_is_fetched_again(visitor: Visitor, web: WebServer) -> None:
    """Other content, a missing file, and a mirror that forgot what it had: the digest decides."""
    files = {"a": b"first", "b": b"second", "c": b"third"}
    publish_plain(web.folder, files)
    visitor.visit()
    (visitor.folder / "a").write_bytes(b"wrong")
    (visitor.folder / "b").unlink()
    assert visitor.visit() == 0
    assert visitor.files() == files
    assert visitor.said[0].startswith("2 files copied, 1 unchanged")

    (visitor.folder / ".mirror" / "state.json").unlink()
    assert visitor.visit() == 0
    assert visitor.said[0].startswith("0 files copied, 3 unchanged")


def test_only_some_prefixes_are_copied(visitor: Visitor, web: WebServer, key: SigningKey) -> None:
    """The list of withdrawn documents always comes with them."""
    publish_signed(web.folder, FILES, key)
    assert visitor.visit("archive/", "minisign") == 0
    assert set(visitor.files()) == {
        name + suffix for name in (MONTH, "minisign.pub", "withdrawn") for suffix in ("", ".minisig")
    }


def test_files_get_the_time_of_the_index(visitor: Visitor, web: WebServer) -> None:
    """As metrics-lib's copies have it."""
    publish_plain(web.folder, {"a": b"content"})
    visitor.visit()
    assert (visitor.folder / "a").stat().st_mtime == CREATED


# Connections that end


def test_a_connection_that_ends_is_continued(visitor: Visitor, web: WebServer) -> None:
    """The rest is asked for, and the whole has the right digest."""
    publish_plain(web.folder, {"large": FILES[MONTH]})
    web.cut_after = [200_000, 20_000]
    assert visitor.visit() == 0
    assert visitor.files() == {"large": FILES[MONTH]}
    assert web.asked("large") == ["large", "large bytes=200000-", "large bytes=220000-"]


def test_a_server_without_ranges_sends_the_file_again(visitor: Visitor, web: WebServer) -> None:
    """The answer 200 to a Range request is the file from its beginning."""
    publish_plain(web.folder, {"large": FILES[MONTH]})
    web.cut_after = [200_000]
    web.has_ranges = False
    assert visitor.visit() == 0
    assert visitor.files() == {"large": FILES[MONTH]}
    assert web.asked("large") == ["large", "large bytes=200000-"]


def test_what_came_before_the_source_was_lost_is_used_later(visitor: Visitor, web: WebServer) -> None:
    """A visit that could not end leaves whole files and a hidden beginning; the next one asks for the rest."""
    publish_plain(web.folder, {"a": b"first", "large": FILES[MONTH]})
    web.cut_after = [100_000, 0, 0, 0]
    with pytest.raises(RequestError, match="failed: it was closed"):
        visitor.visit()
    assert visitor.files() == {"a": b"first"}
    assert visitor.waits == [0.0, 2.0, 8.0]
    assert visitor.visit() == 0
    assert web.requests[-1:] == ["large bytes=100000-"]
    assert visitor.files()["large"] == FILES[MONTH]
    assert list((visitor.folder / ".mirror" / "partial").iterdir()) == []


def test_a_beginning_of_another_file_is_fetched_again(visitor: Visitor, web: WebServer) -> None:
    """A damaged beginning costs one more request, not the file."""
    publish_plain(web.folder, {"large": FILES[MONTH]})
    partial = visitor.folder / ".mirror" / "partial" / hashlib.sha256(FILES[MONTH]).hexdigest()
    write(partial.parent, partial.name, b"something else")
    assert visitor.visit() == 0
    assert visitor.files() == {"large": FILES[MONTH]}
    assert web.asked("large") == ["large bytes=14-", "large"]


def test_a_source_that_is_busy_is_asked_again(visitor: Visitor, web: WebServer) -> None:
    """503 may pass; after four attempts the visit ends and says so."""
    publish_plain(web.folder, {"a": b"first"})
    web.replace["a"] = (503, b"")
    with pytest.raises(RequestError, match="answers 503"):
        visitor.visit()
    assert web.asked("a") == ["a"] * 4


def test_a_redirect_is_not_followed(visitor: Visitor, web: WebServer) -> None:
    """The source does not decide where the mirror connects to."""
    web.replace["index.json.xz"] = (301, b"")
    with pytest.raises(RefusedError, match="answers 301"):
        visitor.visit()


# What is refused


def test_a_tampered_file_behind_a_valid_index_is_refused(visitor: Visitor, web: WebServer, key: SigningKey) -> None:
    """It replaces nothing; the others are copied; the index that names it is not."""
    publish_signed(web.folder, FILES, key)
    visitor.visit()
    publish_signed(web.folder, FILES | {MONTH: b"new", RECENT: b"newer"}, key, created=CREATED + 60)
    (web.folder / MONTH).write_bytes(b"bad")
    assert visitor.visit() == 1
    assert visitor.said == [f"refused: {MONTH} does not have the digest that the index says"]
    assert visitor.files()[MONTH] == FILES[MONTH]
    assert visitor.files()[RECENT] == b"newer"
    assert parse_index(unpack_index((visitor.folder / "index.json.xz").read_bytes())).created == CREATED


def test_a_file_with_another_key_s_signature_is_refused(
    visitor: Visitor, web: WebServer, key: SigningKey, tmp_path: Path
) -> None:
    """Though the signed index has the digests of both."""
    other = SigningKey.create(tmp_path / "other.key")
    content = b"numbers"
    signature = other.sign(content, f"file:{MONTH}")
    write(web.folder, MONTH, content)
    write(web.folder, f"{MONTH}.minisig", signature)
    entries = [entry_of(MONTH, content), entry_of(f"{MONTH}.minisig", signature)]
    write_signed_index(web.folder, entries, key)
    assert visitor.visit(key=key.public) == 1
    assert visitor.said[-1] == f"refused: {MONTH} is not signed by {key.public}"
    assert visitor.files() == {}


def test_a_file_without_signature_is_refused_where_the_archive_is_signed(
    visitor: Visitor, web: WebServer, key: SigningKey
) -> None:
    """A signature that is missing is as bad as a wrong one."""
    write(web.folder, MONTH, b"numbers")
    write_signed_index(web.folder, [entry_of(MONTH, b"numbers")], key)
    assert visitor.visit(key=key.public) == 1
    assert visitor.said[-1] == f"refused: {MONTH} has no signature in the index"
    assert visitor.files() == {}


def test_a_tampered_index_is_refused(visitor: Visitor, web: WebServer, key: SigningKey) -> None:
    """No file is fetched."""
    publish_signed(web.folder, FILES, key)
    index = web.folder / "index.json.xz"
    index.write_bytes(index.read_bytes().replace(b"\x00", b"\x01", 1))
    with pytest.raises(RefusedError, match=re.escape(f"not signed by {key.public}; nothing was changed")):
        visitor.visit(key=key.public)
    assert visitor.files() == {}
    assert web.asked(MONTH) == []


def test_an_index_without_signature_is_refused_where_the_key_is_known(
    visitor: Visitor, web: WebServer, key: SigningKey
) -> None:
    """From --key, and from the first visit: otherwise everybody on the way could take the signatures away."""
    publish_plain(web.folder, FILES)
    with pytest.raises(RefusedError, match=re.escape(f"has no signature of {key.public}")):
        visitor.visit(key=key.public)
    publish_signed(web.folder, FILES, key)
    assert visitor.visit() == 0
    for signature in web.folder.glob("index.json*.minisig"):
        signature.unlink()
    with pytest.raises(RefusedError, match=re.escape(f"has no signature of {key.public}")):
        visitor.visit()


def test_a_change_of_the_key_is_refused_until_a_person_decides(
    visitor: Visitor, web: WebServer, key: SigningKey, tmp_path: Path
) -> None:
    """The first visit's key is remembered and shown; another one needs the file deleted."""
    publish_signed(web.folder, FILES, key)
    visitor.visit()
    assert visitor.said[0].startswith(f"{web.url} is signed by {key.public}, which is remembered from now on")
    other = SigningKey.create(tmp_path / "other.key")
    publish_signed(web.folder, FILES, other, created=CREATED + 60)
    with pytest.raises(RefusedError, match=rf"not signed by .*delete {visitor.folder}/\.mirror/key"):
        visitor.visit()
    with pytest.raises(UsageError, match=rf"delete {visitor.folder}/\.mirror/key first"):
        visitor.visit(key=other.public)
    (visitor.folder / ".mirror" / "key").unlink()
    assert visitor.visit(key=other.public) == 0
    assert len(visitor.said) == 1


def test_an_older_index_is_refused(visitor: Visitor, web: WebServer, key: SigningKey) -> None:
    """A replay of a signed index would bring withdrawn documents back."""
    publish_signed(web.folder, FILES, key, created=CREATED + 3600)
    visitor.visit()
    publish_signed(web.folder, FILES | {MONTH: b"old"}, key)
    with pytest.raises(RefusedError, match=r"of 2026-11-30 14:09 UTC, older than .* 2026-11-30 15:09 UTC"):
        visitor.visit()
    assert visitor.files()[MONTH] == FILES[MONTH]


def test_an_index_of_the_future_is_refused(visitor: Visitor, web: WebServer) -> None:
    """It would make every later index a replay."""
    publish_plain(web.folder, {}, created=CREATED + 86_460)
    with pytest.raises(RefusedError, match="in the future"):
        visitor.visit()
    publish_plain(web.folder, {})
    assert visitor.visit() == 0


def test_an_old_index_is_told(visitor: Visitor, web: WebServer, key: SigningKey) -> None:
    """A source that shows the same signed index for ever keeps new documents, and withdrawals, from a mirror."""
    publish_signed(web.folder, FILES, key)
    assert visitor.visit(now=CREATED + 2 * 86_400) == 0
    assert len(visitor.said) == 2
    assert visitor.visit(now=CREATED + 2 * 86_400 + 60) == 0
    assert visitor.said[-1].startswith("the index is older than two days")


def test_the_key_of_a_refused_index_is_not_remembered(visitor: Visitor, web: WebServer, key: SigningKey) -> None:
    """The first visit is the first one whose index was accepted."""
    publish_signed(web.folder, FILES, key, created=CREATED + 2 * 86_400)
    with pytest.raises(RefusedError, match="in the future"):
        visitor.visit()
    assert not (visitor.folder / ".mirror" / "key").exists()


def test_an_index_that_leads_out_of_the_folder_is_refused(visitor: Visitor, web: WebServer) -> None:
    """As is every index that its parser refuses (test_index.py): the visit changes nothing."""
    entry = {"path": "../outside", "size": 1, "last_modified": "2026-11-30 14:09", "sha256": "A" * 43 + "="}
    write(web.folder, "index.json", json.dumps({"index_created": "2026-11-30 14:09", "files": [entry]}).encode())
    with pytest.raises(RefusedError, match="a name in the archive that is not allowed; nothing was changed"):
        visitor.visit()


def test_a_size_that_the_disk_does_not_have_is_refused(visitor: Visitor, web: WebServer) -> None:
    """Before a byte is fetched."""
    write_plain_index(web.folder, [FileEntry(f"{number}", 1 << 40, CREATED, bytes(32)) for number in range(1000)])
    with pytest.raises(OSError, match=r"bytes are to be fetched, and [0-9,]+ are free"):
        visitor.visit()
    assert len(web.requests) == 4


@pytest.mark.parametrize(
    ("content", "problem"),
    [(b"much more", "has 9 bytes, but 4 in the index"), (b"few", "has 3 bytes, but 4 in the index")],
)
def test_a_file_of_another_size_is_refused(visitor: Visitor, web: WebServer, content: bytes, problem: str) -> None:
    """It is not read to its end."""
    publish_plain(web.folder, {"a": b"four"})
    write(web.folder, "a", content)
    assert visitor.visit() == 1
    assert visitor.said == [f"refused: a {problem}"]
    assert visitor.files() == {}


def test_a_file_that_is_not_there_is_told(visitor: Visitor, web: WebServer) -> None:
    """A file that left the archive between index and request is in no newer index; this one is."""
    publish_plain(web.folder, {"a": b"first", "b": b"second"})
    (web.folder / "a").unlink()
    assert visitor.visit() == 1
    assert visitor.said == ["refused: a is in the index, but not at the source"]
    assert visitor.files() == {"b": b"second"}


def test_an_index_that_got_old_during_the_visit_is_fetched_again(
    visitor: Visitor, web: WebServer, key: SigningKey
) -> None:
    """A collector that publishes while the mirror copies is no attack: the new index explains the new file."""
    publish_signed(web.folder, FILES, key)
    old = (web.folder / "index.json.xz").read_bytes(), (web.folder / "index.json.xz.minisig").read_bytes()
    publish_signed(web.folder, FILES | {MONTH: b"grown"}, key, created=CREATED + 60)

    class Late(dict[str, tuple[int, bytes]]):
        """Answers with the old index and its signature once each."""

        def get(self, path: str, default: object = None) -> object:  # type: ignore[override]
            return self.pop(path, default)

    web.replace = Late({"index.json.xz": (200, old[0]), "index.json.xz.minisig": (200, old[1])})
    assert visitor.visit() == 0
    assert visitor.files()[MONTH] == b"grown"
    assert visitor.said[-1].startswith("10 files copied, 0 unchanged")


# Withdrawals


def tombstone(path: str) -> bytes:
    """A line of the list of withdrawn documents."""
    return f"2026-11-30 15:09:00 {'0' * 64} {path}\n".encode()


def test_what_was_withdrawn_is_deleted_or_replaced(visitor: Visitor, web: WebServer, key: SigningKey) -> None:
    """A month gets its new version; a recent file that is no more in the index is deleted with its signatures."""
    publish_signed(web.folder, FILES, key)
    visitor.visit()
    without = {MONTH: b"without it", "withdrawn": tombstone(RECENT) + tombstone(MONTH)}
    publish_signed(web.folder, without, key, created=CREATED + 60)
    assert visitor.visit() == 0
    files = visitor.files()
    assert files[MONTH] == b"without it"
    assert [path for path in files if path.startswith("recent/")] == []
    assert visitor.said[0] == f"{RECENT} is deleted: it held a document that was withdrawn"
    assert visitor.visit() == 0
    assert len(visitor.said) == 1


def test_only_a_signed_archive_can_withdraw(visitor: Visitor, web: WebServer) -> None:
    """Otherwise a machine in the middle could empty the mirror."""
    publish_plain(web.folder, {"a": b"first"})
    visitor.visit()
    publish_plain(web.folder, {"withdrawn": tombstone("a")}, created=CREATED + 60)
    assert visitor.visit() == 0
    assert visitor.files()["a"] == b"first"


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", ".mirror/key", "a b"])
def test_a_withdrawal_of_what_is_no_file_of_the_archive_is_refused(
    visitor: Visitor, web: WebServer, key: SigningKey, path: str
) -> None:
    """Nothing outside of the archive is deleted."""
    outside = visitor.folder.parent / "outside"
    outside.write_text("mine")
    publish_signed(web.folder, {"withdrawn": tombstone(path)}, key)
    assert visitor.visit() == 1
    assert visitor.said[-1] == "refused: withdrawn has no withdrawal in line 1"
    assert outside.exists()
    assert (visitor.folder / ".mirror" / "key").exists()


def test_a_real_collector_s_withdrawal_reaches_its_mirrors(tmp_path: Path) -> None:
    """A document is in the mirror's recent file and month, and after its withdrawal nowhere; minisign agrees."""
    missing.need("minisign", "minisign")
    database = str(tmp_path / "ledger.sqlite")
    with open_collector(tmp_path / "collector", database) as collector, serve(collector.public) as web:
        visitor = Visitor(tmp_path / "mirrored", web)
        first, second = collector.accept(document(1, NOW - DAY), document(2, NOW - DAY))
        collector.publisher.publish(NOW)
        assert visitor.visit(key=collector.key.public, now=NOW) == 0
        assert first.text in visitor.files()[RECENT]
        assert first.text in read_month(visitor.folder)

        collector.ledger.withdraw(first.digest)
        collector.publisher.publish(NOW + 3600)
        assert visitor.visit(now=NOW + 3600) == 0
        assert visitor.files()[RECENT] == second.text
        assert read_month(visitor.folder) == [second.text]
        assert set(collector.files()) <= set(visitor.files())
    for path in [*collector.files(), "index.json.xz"]:
        command = ["minisign", "-Vqm", str(visitor.folder / path), "-P", collector.key.public]
        subprocess.run(command, check=True)


def read_month(folder: Path) -> list[bytes]:
    """The documents of the month, of which there is one."""
    [month] = (folder / "archive").glob("*.tar.xz")
    with tarfile.open(month) as tar:
        files = [tar.extractfile(member) for member in tar if not member.name.endswith(".minisig")]
        return [file.read() for file in files if file is not None]


# What is remembered


def test_two_mirrors_of_one_folder_are_refused(visitor: Visitor, web: WebServer) -> None:
    """The second one says what to do."""
    publish_plain(web.folder, {})
    with MirrorState(visitor.folder), pytest.raises(FileInUseError, match="wait until the other mirror has ended"):
        visitor.visit()


@pytest.mark.parametrize("text", ["{", "[]", '{"created": 1}', '{"created": 1, "files": {"a": [1]}}'])
def test_damaged_memory_is_told(visitor: Visitor, text: str) -> None:
    """It is not taken for an empty one: an older index would be accepted."""
    write(visitor.folder, ".mirror/state.json", text.encode())
    with pytest.raises(MirrorStateError, match="is damaged; delete it"):
        visitor.visit()
