"""Months' archives and recent files as bytes: what Debian's tar reads, and what is left of a damaged file."""

from __future__ import annotations

import io
import lzma
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obfstats.collect.archive.monthly import (
    Member,
    MonthError,
    merge_members,
    name_member,
    name_month,
    read_month,
    write_month,
)
from obfstats.collect.archive.recent import name_recent, split_recent, split_signatures, time_of_recent
from obfstats.formats.document import LINES
from tests.collect.collectors import DAY, NOW, bridge, document

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "obfsproxy-stats-imported-2026-11"
LONGEST_INSTANCE = "i" * 32

numbers = st.lists(st.integers(0, 50), max_size=30)


def member(number: int, *, instance: str = "") -> Member:
    """Make a member."""
    end = NOW - number * 7200
    text = document(number, end)
    return Member(name_member(bridge(number), instance, end), end, text, b"untrusted comment: %d\na\nb\nc\n" % number)


def pack(members: list[Member]) -> bytes:
    """Write an archive."""
    file = io.BytesIO()
    write_month(FOLDER, members, file)
    return file.getvalue()


def test_tar_unpacks_a_month_with_the_longest_names(tmp_path: Path) -> None:
    """Debian's tar and xz read it, without a word; the names are those of the documentation."""
    packed = member(1, instance=LONGEST_INSTANCE)
    assert LINES["instance"].read(LONGEST_INSTANCE) == LONGEST_INSTANCE
    path = tmp_path / "month.tar.xz"
    path.write_bytes(pack([packed]))
    said = subprocess.run(["tar", "-xJf", path, "-C", tmp_path], check=True, capture_output=True)
    assert said.stderr == b""
    name = f"{FOLDER}/30/20261130-120900-{bridge(1)}-{LONGEST_INSTANCE}"
    assert (tmp_path / name).read_bytes() == packed.text
    assert (tmp_path / f"{name}.minisig").read_bytes() == packed.signature
    assert (tmp_path / name).stat().st_mtime == packed.end


@settings(max_examples=20)
@given(old=numbers, new=numbers)
def test_a_merged_month_has_each_document_once_in_one_order(old: list[int], new: list[int]) -> None:
    """The bytes depend on the set of documents alone."""
    first, second = (sorted({member(number) for number in part}) for part in (old, new))
    merged = pack(list(merge_members(read_month(FOLDER, io.BytesIO(pack(first))), second)))
    assert merged == pack(sorted({*first, *second}))


def test_of_two_documents_with_one_name_the_archive_keeps_its_own() -> None:
    """A replaced document is withdrawn first; until then the new one waits."""
    old = member(1)
    new = old._replace(text=b"other")
    assert list(merge_members([old], [new])) == [old]


MEMBERS = sorted(member(number) for number in range(5))
WHOLE = pack(MEMBERS)


@given(data=st.data())
def test_a_damaged_month_is_never_read_as_a_whole_one(data: st.DataObject) -> None:
    """A changed byte, or a missing end: an error, after nothing but documents that were there."""
    packed = bytearray(WHOLE)
    if data.draw(st.booleans()):
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    else:
        del packed[data.draw(st.integers(0, len(packed) - 1)) :]
    read: list[Member] = []
    with pytest.raises(MonthError, match="is damaged"):
        read.extend(read_month(FOLDER, io.BytesIO(packed)))
    assert all(each in MEMBERS for each in read)


@pytest.mark.parametrize(
    "content",
    [b"", b"\1" * 1024, tarfile.TarInfo(f"{FOLDER}/30/a").tobuf() + bytes(1024), b"x" * 100],
    ids=["empty", "no header", "a document without its signature", "short"],
)
def test_another_archive_is_not_taken_for_ours(content: bytes) -> None:
    """What this program has not written is not copied into what it signs."""
    with pytest.raises(MonthError, match="is damaged"):
        list(read_month(FOLDER, io.BytesIO(lzma.compress(content))))


@given(texts=st.lists(st.integers(0, 100), max_size=20))
def test_a_recent_file_is_split_into_what_was_put_into_it(texts: list[int]) -> None:
    """Documents and signatures byte for byte."""
    documents = [document(number, NOW - DAY) for number in texts]
    signatures = [member(number).signature for number in texts]
    assert list(split_recent(io.BytesIO(b"".join(documents)))) == documents
    assert list(split_signatures(io.BytesIO(b"".join(signatures)))) == signatures


def test_the_name_of_a_recent_file_is_the_publications_time() -> None:
    """CollecTor's form; other names are none of ours."""
    assert name_recent(NOW) == "2026-11-30-14-09-00-obfsproxy-stats"
    assert time_of_recent(name_recent(NOW)) == NOW
    for name in ("2026-11-30-14-09-00-obfsproxy-stats.signatures", "2026-13-30-14-09-00-obfsproxy-stats", ""):
        assert time_of_recent(name) is None


def test_imported_documents_have_archives_of_their_own() -> None:
    """One name is never both."""
    assert name_month("2026-11", imported=False) == "obfsproxy-stats-2026-11"
    assert name_month("2026-11", imported=True) == FOLDER
