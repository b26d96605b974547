"""The archive's index: CollecTor's format in both directions, and what is refused."""

from __future__ import annotations

import base64
import json
import lzma
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz import fuzz_index
from obfstats.collect.index import (
    MAX_FILE_SIZE,
    MAX_INDEX_LENGTH,
    ArchiveIndexError,
    FileEntry,
    Index,
    parse_index,
    unpack_index,
    write_index,
)

REAL_INDEX = (Path(__file__).parent / "samples" / "collector-index-2019-11-cropped.json").read_bytes()
"""A part of the index of collector.torproject.org, of 30 November 2019."""

DIGEST = base64.b64encode(bytes(32)).decode()

MINUTES = st.integers(0, 4_000_000_000).map(lambda seconds: seconds // 60 * 60)
NAMES = st.from_regex(r"[a-c_][a-c.-]{0,3}", fullmatch=True)
ENTRIES = st.builds(
    FileEntry,
    path=st.lists(NAMES, min_size=1, max_size=3).map("/".join),
    size=st.integers(0, MAX_FILE_SIZE),
    last_modified=MINUTES,
    sha256=st.binary(min_size=32, max_size=32),
    types=st.lists(st.sampled_from(["obfsproxy-stats 1.0", "bridge-extra-info 1.3"]), unique=True).map(tuple),
    first_published=st.none() | MINUTES,
    last_published=st.none() | MINUTES,
    imported=st.booleans(),
)


def file_of(**changes: Any) -> dict[str, Any]:
    """A file as an index has it, with changes."""
    return {"path": "a", "size": 1, "last_modified": "2026-11-30 14:09", "sha256": DIGEST} | changes


def index_of(*files: object, **changes: Any) -> bytes:
    """An index with these files in its root, as bytes."""
    return json.dumps({"index_created": "2026-11-30 14:09", "files": files} | changes).encode()


def with_sorted_lists(node: Any) -> Any:
    """JSON with its lists sorted; fields stay in their order."""
    if isinstance(node, dict):
        return [[key, with_sorted_lists(value)] for key, value in node.items()]
    if isinstance(node, list):
        return sorted(map(with_sorted_lists, node), key=json.dumps)
    return node


def test_a_real_index_is_read() -> None:
    """CollecTor's own index: every file, with its path from the root."""
    index = parse_index(REAL_INDEX)
    assert index.url == "https://collector.torproject.org"
    assert index.revision == "199d1bed"
    assert len(index.files) == REAL_INDEX.count(b'"sha256"') == 96
    [entry] = [entry for entry in index.files if entry.path.endswith("bridge-extra-infos-2008-05.tar.xz")]
    assert entry == FileEntry(
        path="archive/bridge-descriptors/extra-infos/bridge-extra-infos-2008-05.tar.xz",
        size=377_644,
        last_modified=1_472_980_860,
        sha256=base64.b64decode("aDD2q7uNGOM+WuH67+nTd7rvFN4P580xPAmXYtqxr2I="),
        types=("bridge-extra-info 1.3",),
        first_published=1_210_692_060,
        last_published=1_212_275_340,
    )


def test_a_real_index_is_written_as_it_was() -> None:
    """No field of CollecTor's is lost or added, and none is in another order."""
    written = write_index(parse_index(REAL_INDEX))
    assert with_sorted_lists(json.loads(written)) == with_sorted_lists(json.loads(REAL_INDEX))
    assert len(written) == len(REAL_INDEX)


@given(st.lists(ENTRIES, max_size=6), MINUTES)
def test_what_is_written_reads_the_same(files: list[FileEntry], created: int) -> None:
    """Any index that can be written is read as it was, sorted; only colliding paths cannot be written."""
    index = Index(created, "https://collector.example", "obfstats 1", tuple(files))
    paths = [entry.path for entry in files]
    folders = {"/".join(path.split("/")[:count]) for path in paths for count in range(1, len(path.split("/")))}
    if len(set(paths)) < len(paths) or folders & set(paths):
        with pytest.raises(ArchiveIndexError, match=r"twice|as a file and as a folder"):
            write_index(index)
        return
    written = write_index(index)
    assert parse_index(written) == Index(created, index.url, index.revision, tuple(sorted(files, key=lambda f: f.path)))
    assert write_index(parse_index(written)) == written


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../a",
        "a/b",
        "/a",
        ".hidden",
        "a\\b",
        "a\0",
        "a\n",
        "-rf",
        "ä",
        "a" * 201,
        "C:\\a",
        7,
        None,
        ["a"],
    ],
)
def test_a_name_that_could_do_harm_is_refused(name: object) -> None:
    """No name leads out of the mirror's folder, is hidden, or is an option; neither a file's nor a folder's."""
    for text in (index_of(file_of(path=name)), index_of(directories=[{"path": name, "files": [file_of()]}])):
        with pytest.raises(ArchiveIndexError, match=r"^the index has a name in the archive that is not allowed$"):
            parse_index(text)


@pytest.mark.parametrize(
    "change",
    [
        {"size": -1},
        {"size": MAX_FILE_SIZE + 1},
        {"size": True},
        {"size": 1.0},
        {"size": "1"},
        {"size": None},
        {"sha256": None},
        {"sha256": "AAAA"},
        {"sha256": DIGEST[:-1]},
        {"sha256": 7},
        {"last_modified": "2026-13-30 14:09"},
        {"last_modified": "2026-11-30 14:09:00"},
        {"last_modified": "0001-01-01 00:00"},
        {"last_modified": None},
        {"first_published": "yesterday"},
        {"types": "obfsproxy-stats 1.0"},
        {"types": ["a\x1b[2J"]},
        {"types": ["a"] * 101},
        {"types": [["a"]]},
    ],
    ids=str,
)
def test_an_impossible_field_is_refused_with_its_file(change: dict[str, object]) -> None:
    """The error names the file; it does not quote what is wrong."""
    with pytest.raises(ArchiveIndexError, match=r"^the index has .* of a( before 1970)?$"):
        parse_index(index_of(file_of(**change)))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"", "is not JSON"),
        (b"\xff", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b'{"index_created": NaN}', "is not JSON"),
        (b'{"size": ' + b"9" * 10_000 + b"}", "is not JSON"),
        (b"[]", "is not an object"),
        (b"{}", "no valid index_created of the archive"),
        (index_of(7), "no list of files for the archive"),
        (index_of(files={}), "no list of files for the archive"),
        (index_of(directories=["a"]), "no list of directories for the archive"),
        (index_of(file_of(), file_of(size=2)), "has a twice"),
        (index_of(directories=[{"path": "d", "files": [file_of()]}] * 2), "has d/a twice"),
        (index_of(file_of(path="d"), directories=[{"path": "d", "files": [file_of()]}]), "d as a file and as a folder"),
        (b" " * (MAX_INDEX_LENGTH + 1), f"exceeds {MAX_INDEX_LENGTH} bytes"),
    ],
    ids=lambda value: value[:20] if isinstance(value, bytes) else "",
)
def test_what_is_no_index_is_refused(text: bytes, error: str) -> None:
    """Each is one sentence that says what is wrong."""
    with pytest.raises(ArchiveIndexError, match=error):
        parse_index(text)


def test_folders_in_each_other_have_a_limit() -> None:
    """Sixteen are read, seventeen are not: no index makes the reader run out of stack."""
    node: dict[str, Any] = {"path": "f", "files": [file_of()]}
    for _ in range(15):
        node = {"path": "f", "directories": [node]}
    assert len(parse_index(index_of(directories=[node])).files) == 1
    with pytest.raises(ArchiveIndexError, match="more than 16 folders"):
        parse_index(index_of(directories=[{"path": "f", "directories": [node]}]))


def test_unknown_fields_are_ignored() -> None:
    """CollecTor may add fields, as it did with types and sha256."""
    index = parse_index(index_of(file_of(sha3="x"), generator=[1]))
    assert index.files == (FileEntry("a", 1, 1_796_047_740, bytes(32)),)


def test_a_compressed_index_is_unpacked() -> None:
    """index.json.xz holds the same bytes."""
    assert unpack_index(lzma.compress(REAL_INDEX)) == REAL_INDEX


@pytest.mark.parametrize(
    ("compressed", "error"),
    [
        (b"", "not whole"),
        (b"no xz at all", "not in xz's format"),
        (lzma.compress(REAL_INDEX)[:-1], "not whole"),
        (lzma.compress(REAL_INDEX) + b"more", "not whole"),
        (lzma.compress(REAL_INDEX)[:1000] + b"damage" + lzma.compress(REAL_INDEX)[1006:], "damaged"),
        (lzma.compress(bytes(MAX_INDEX_LENGTH + 1), preset=0), "exceeds"),
    ],
    ids=["empty", "no xz", "cut", "longer", "damaged", "bomb"],
)
def test_what_does_not_unpack_to_an_index_is_refused(compressed: bytes, error: str) -> None:
    """Damage is told, and a bomb is not unpacked further than an index may be long."""
    with pytest.raises(ArchiveIndexError, match=error):
        unpack_index(compressed)


@given(st.binary(max_size=60))
def test_the_fuzz_target_holds(data: bytes) -> None:
    """The fuzz target's invariant, for a few inputs at every run."""
    fuzz_index.check(data)


@given(st.integers(0, len(fuzz_index.GOOD_INDEX)), st.integers(0, 255), st.sampled_from([b"", b"}", b"..", b"/", b"9"]))
def test_the_fuzz_target_holds_on_damage(offset: int, removed: int, put: bytes) -> None:
    """The fuzz target's invariant, for damage anywhere in a good index."""
    fuzz_index.check(offset.to_bytes(2, "big") + bytes([removed]) + put)


def test_the_fuzz_targets_good_index_is_good() -> None:
    """The fuzz target damages an index that has every field."""
    files = parse_index(fuzz_index.GOOD_INDEX).files
    assert [entry.imported for entry in files] == [True, False, False]
    assert files[0].types
    assert files[0].first_published
