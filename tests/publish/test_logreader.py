"""Logs are read in blocks of whole lines and line by line, with bounded memory."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import tempfile
import threading
import tracemalloc
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.publish.logfiles import LogFile, LogFileError, find
from obfstats.publish.logreader import read_blocks, read_lines


def found(path: Path) -> LogFile:
    """Find one log."""
    (log,) = find([str(path)])
    return log


def cut(content: bytes, longest: int) -> list[bytes]:
    """Split a log into lines, and cut those that are too long."""
    return [line if len(line) <= longest else line[:longest] for line in io.BytesIO(content)]


lines = st.lists(
    st.sampled_from((b"", b"a", b"\r", b"bc" * 4, b"d" * 9, b"e" * 10, b"f" * 40, b"g" * 100)), max_size=20
)


@given(lines, st.booleans(), st.integers(10, 60), st.sampled_from((bytes, gzip.compress, lzma.compress)))
def test_blocks_have_all_lines(written: list[bytes], ends: bool, size: int, compress: type[bytes]) -> None:  # noqa: FBT001 - drawn
    """Blocks and lines have all of a log but the rest of lines that are too long."""
    content = b"\n".join(written) + b"\n" * ends
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        path.write_bytes(content and compress(content))
        blocks = [bytes(block) for block in read_blocks(found(path), size)]
        assert max(map(len, blocks), default=0) <= size
        assert [line for block in blocks for line in io.BytesIO(block)] == cut(content, size)
        assert list(read_lines(found(path), size)) == cut(content, size)


@pytest.mark.parametrize("compress", [bytes, gzip.compress, lzma.compress], ids=["plain", "gzip", "xz"])
def test_the_progress_adds_up(compress: type[bytes], tmp_path: Path) -> None:
    """The bytes that `advance` takes add up to the file's size, compressed or not."""
    path = tmp_path / "log"
    # Without the first byte of loopback addresses: one that canary.py looks for could be among random bytes.
    path.write_bytes(compress(os.urandom(300_000).replace(b"\x7f", b"")))
    read = list[int]()
    for _ in read_lines(found(path), 100, read.append):
        pass
    assert sum(read) == path.stat().st_size
    assert len(read) > 3
    assert min(read) >= 0


def test_a_giant_line_is_not_held(tmp_path: Path) -> None:
    """Gigabytes without a newline, which a disk fault can leave, take no more memory than a block."""
    path = tmp_path / "log"
    with path.open("wb") as file:
        file.write(b"first\n")
        file.truncate(1 << 28)
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast\n")
    tracemalloc.start()
    try:
        assert list(read_lines(found(path), 100)) == [b"first\n", bytes(100), b"last\n"]
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_lines_that_are_appended_are_not_read(tmp_path: Path) -> None:
    """A log that grows has the same lines when it is read again."""
    path = tmp_path / "log"
    path.write_bytes(b"one\n")
    log = found(path)
    path.write_bytes(b"one\ntwo\n")
    assert list(read_lines(log, 100)) == [b"one\n"]


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    """A pipe has no size; `advance` takes the bytes that were read from it."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(b"one\ntwo",))
    writer.start()
    read = list[int]()
    assert list(read_lines(found(path), 100, read.append)) == [b"one\n", b"two"]
    assert sum(read) == 7
    writer.join()


def test_an_iterator_that_is_closed_closes_the_file(tmp_path: Path) -> None:
    """A reader may stop after any line."""
    path = tmp_path / "log"
    path.write_bytes(b"one\ntwo\n")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with closing(read_lines(found(path), 100)) as reading:
        assert next(reading) == b"one\n"
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_damaged_archive_is_an_error(tmp_path: Path) -> None:
    """A part of a compressed log is not taken for the whole log."""
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(os.urandom(1000))[:-20])
    with pytest.raises(LogFileError, match="corrupt or truncated"):
        list(read_lines(found(path), 100))


@pytest.mark.parametrize("missing", [8, 20_000], ids=["checksum", "lines"])
def test_the_lines_before_damage_are_given(missing: int, tmp_path: Path) -> None:
    """Every whole line of a truncated file that can be decompressed is given, then the error is raised."""
    content = b"".join(b"%063d\n" % number for number in range(20_000))
    (tmp_path / "log").write_bytes(gzip.compress(content)[:-missing])
    blocks = list[bytes]()
    with pytest.raises(LogFileError):
        blocks.extend(map(bytes, read_blocks(found(tmp_path / "log"), 1 << 20)))
    read = b"".join(blocks)
    assert content.startswith(read)
    assert read.endswith(b"\n")
    assert (len(read) == len(content)) == (missing == 8)
