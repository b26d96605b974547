"""Archives give what Python's own tarfile gives, in bounded memory, and say where they are damaged."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import tarfile
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.analyse.archives import ArchiveError, InputError, find_files, read_pieces
from tests.analyse.texts import EXTRA_INFO, STATUS, members_of, tar_of

if TYPE_CHECKING:
    from pathlib import Path

FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
NAMES = st.text("abcdé/ .", min_size=1, max_size=300).filter(lambda name: name.strip("/. ") == name)
MEMBERS = st.lists(
    st.tuples(NAMES, st.binary(max_size=2000), st.sampled_from((tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE))),
    max_size=6,
)


@given(MEMBERS, st.sampled_from(FORMATS[1:]))
def test_members_are_those_of_tarfile(members: list[tuple[str, bytes, bytes]], format_: int) -> None:
    """GNU and pax archives with long names, links and folders give the regular files, as tarfile reads them."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format_, encoding="utf-8") as archive:
        for name, content, kind in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "target" if kind == tarfile.SYMTYPE else ""
            member.size = len(content) if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(content))
    with tarfile.open(fileobj=io.BytesIO(file.getvalue())) as archive:
        expected = [
            (member.name, archive.extractfile(member).read())  # type: ignore[union-attr]
            for member in archive
            if member.isfile()
        ]
    assert members_of(file.getvalue()) == expected


def test_ustar_names_have_a_prefix() -> None:
    """A path of more than 100 bytes is in two fields of the header."""
    name = "bridge-extra-infos-2019-03/" + "a" * 90 + "/b"
    assert members_of(tar_of({name: b"x\n"}, tarfile.USTAR_FORMAT)) == [(name, b"x\n")]


def test_sizes_in_binary() -> None:
    """GNU tar writes sizes of 8 GiB and more in base 256; any size may be written so."""
    data = bytearray(tar_of({"a": b"@type x\n", "b": b"y\n"}))
    data[124:136] = b"\x80" + (8).to_bytes(11, "big")
    assert members_of(bytes(data)) == [("a", b"@type x\n"), ("b", b"y\n")]


def test_size_in_a_pax_header() -> None:
    """A pax header's size replaces the one in the header that follows."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("a")
        member.size, member.pax_headers = 2, {"size": "2", "comment": "=\n"}
        archive.addfile(member, io.BytesIO(b"x\n"))
    data = bytearray(file.getvalue())
    header = data.rindex(b"ustar") - 257
    data[header + 124 : header + 136] = b"00000000000\0"
    assert members_of(bytes(data)) == [("a", b"x\n")]


@pytest.mark.parametrize("record", [f"9{'9' * 5000} size=8\n", f"5010 size={'9' * 5000}\n"])
def test_numbers_of_any_length_in_a_pax_header(record: str) -> None:
    """A size or a length of thousands of digits is none."""
    data = tar_of({"a": record.encode(), "b": b"x\n"}, tarfile.USTAR_FORMAT)
    assert members_of(data[:156] + b"x" + data[157:]) == [("b", b"x\n")]


@pytest.mark.parametrize("compress", [bytes, lzma.compress, gzip.compress], ids=["plain", "xz", "gzip"])
def test_content_tells_what_a_file_is(compress: type[bytes]) -> None:
    """Archives and plain files are read, compressed or not, whatever they are called."""
    assert members_of(compress(tar_of({"a": b"x\n"}))) == [("a", b"x\n")]
    assert members_of(compress(b"@type x 1.0\n")) == [("", b"@type x 1.0\n")]


def test_concatenated_files() -> None:
    """Several xz streams with padding are one file, and several archives one after the other are one archive."""
    archives = [tar_of({name: name.encode()}) for name in "ab"]
    streams = lzma.compress(archives[0]) + bytes(8) + lzma.compress(archives[1]) + bytes(4)
    assert members_of(streams) == members_of(b"".join(archives)) == [("a", b"a"), ("b", b"b")]


def read_until_damage(data: bytes) -> tuple[list[tuple[str, bytes]], str]:
    """What is given before the damage, and what is said about it."""
    pieces: list[tuple[str, bytes]] = []
    try:
        for piece in read_pieces(io.BytesIO(data), lambda _: None):
            pieces.append((piece.member, piece.text))  # noqa: PERF401 - it ends with an error
    except ArchiveError as error:
        return pieces, error.locate("file") + ": " + error.reason
    return pieces, ""


ARCHIVE = tar_of({"a" * 120: EXTRA_INFO.encode(), "b": b"", "c": STATUS.encode()})


@given(st.integers(512, len(ARCHIVE) - 1))
def test_a_truncated_archive(length: int) -> None:
    """What was whole before the cut is given; the damage is said unless only zeros after the first end block lack."""
    pieces, damage = read_until_damage(ARCHIVE[:length])
    assert pieces == members_of(ARCHIVE)[: len(pieces)]
    end = ARCHIVE.rindex(STATUS[-20:].encode()) + 20
    end += -end % 512
    assert damage.endswith(": tar archive is truncated") if length < end + 512 else damage == ""
    assert len(pieces) == 3 if length >= end else len(pieces) < 3


@given(st.data(), st.sampled_from((lzma.compress, gzip.compress)))
def test_a_truncated_compressed_archive(data: st.DataObject, compress: type[bytes]) -> None:
    """The same inside xz and gzip, at any byte after the magic."""
    compressed = compress(ARCHIVE)
    length = data.draw(st.integers(6, len(compressed) - 1))
    pieces, damage = read_until_damage(compressed[:length])
    assert pieces == members_of(ARCHIVE)[: len(pieces)] or len(pieces) == 1
    assert damage


def test_xz_data_of_a_whole_block_is_used() -> None:
    """Of an xz file that lacks its end, everything before is given."""
    pieces, damage = read_until_damage(lzma.compress(ARCHIVE)[:-4])
    assert pieces == members_of(ARCHIVE)
    assert damage == "file: xz data is truncated"


def test_corrupt_data() -> None:
    """A byte changed in compressed data or in a header's magic ends the file, and says so."""
    compressed = bytearray(lzma.compress(ARCHIVE))
    compressed[len(compressed) // 2] ^= 1
    assert read_until_damage(bytes(compressed))[1] == "file: xz data is corrupt"
    second = bytearray(tar_of({"a": b"x", "b": b"y"}))
    second[1024 + 257] ^= 1
    assert read_until_damage(bytes(second)) == ([("a", b"x")], "file, byte 1,024: tar archive is corrupt")


@given(st.binary(max_size=3000))
def test_junk(data: bytes) -> None:
    """Any bytes are a file of something, or damaged at a place that is named."""
    for start in (b"", b"\xfd7zXZ\0", b"\x1f\x8b\x08", ARCHIVE[:512]):
        problem = read_until_damage(start + data)[1]
        assert problem == "" or problem.startswith("file")


def test_large_files_come_in_pieces_of_whole_descriptors() -> None:
    """A file of many descriptors is split before type annotations, and line numbers go on."""
    descriptor = EXTRA_INFO.encode()
    content = descriptor * (20_000_000 // len(descriptor))
    for data in (content, tar_of({"a": content})):
        pieces = list(read_pieces(io.BytesIO(data), lambda _: None))
        assert len(pieces) >= 2
        assert b"".join(piece.text for piece in pieces) == content
        line = 1
        for piece in pieces:
            assert piece.text.startswith(b"@type ")
            assert piece.first_line == line
            line += piece.text.count(b"\n")


def test_a_member_of_a_gigabyte(tmp_path: Path) -> None:
    """A descriptor of a gigabyte is skipped in bounded memory and said; those after it are read."""
    path = tmp_path / "large.tar"
    with path.open("wb") as file:
        member = tarfile.TarInfo("large")
        member.size = (1 << 30) + len(EXTRA_INFO) + 1
        file.write(member.tobuf())
        file.seek(1 << 30, os.SEEK_CUR)
        file.write(b"\n" + EXTRA_INFO.encode())
        file.seek(-file.tell() % 512, os.SEEK_CUR)
        file.write(tar_of({"next": STATUS.encode()}))
    tracemalloc.start()
    with path.open("rb") as file:
        pieces = [(piece.member, piece.first_line, piece.problem) for piece in read_pieces(file, lambda _: None)]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The search for clients' addresses at the end of a run would read it.
    path.unlink()
    assert pieces == [("large", 1, "descriptor exceeds 32 MiB"), ("large", 2, ""), ("next", 1, "")]
    assert peak < 100 << 20


def test_progress_adds_up_to_the_file() -> None:
    """The bytes that are told are those of the compressed file."""
    told: list[int] = []
    data = lzma.compress(ARCHIVE)
    list(read_pieces(io.BytesIO(data), told.append))
    assert sum(told) == len(data)


def test_folders_are_searched_in_order(tmp_path: Path) -> None:
    """Files of a folder come sorted by path; hidden ones, links to folders and pipes are left out."""
    for name in ("b/2", "b/1", "a", ".hidden/x", "c/.part"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    assert find_files([tmp_path / "b" / "2", tmp_path]) == [
        tmp_path / name for name in ("b/2", "a", "b/1", "b/2")
    ]  # fmt: skip


def test_inputs_that_are_not_there(tmp_path: Path) -> None:
    """A wrong name is one sentence for the user."""
    with pytest.raises(InputError, match="no-such: No such file or directory; name CollecTor's files"):
        find_files([tmp_path / "no-such"])
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe is neither a file nor a folder"):
        find_files([tmp_path / "pipe"])
