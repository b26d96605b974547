"""Where logs are read from: files, patterns, compressed files, pipes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import tracemalloc
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.publish import convert
from obfstats.publish.logfiles import LogFileError, XzReader, find
from peers.program import OBFSTATS
from tests.publish.converting import made
from tests.publish.logs import compress_zstd, line
from tests.publish.programs import ENVIRONMENT, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOG = b"".join(line(client=client) for client in range(20))
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "xz": lzma.compress,
    "zst": compress_zstd,
}

ANOTHER = bz2.compress(LOG[640:])

compressed = pytest.mark.parametrize("kind", COMPRESSORS)


@pytest.fixture
def tables(tmp_path: Path) -> str:
    """The tables of the uncompressed log."""
    log = tmp_path / "plain"
    log.write_bytes(LOG)
    return made(log).text


@compressed
@pytest.mark.parametrize("named", [True, False])
def test_a_compressed_log_is_read_as_what_it_holds(kind: str, named: bool, tables: str, tmp_path: Path) -> None:  # noqa: FBT001
    """Recognised by its first bytes, whatever its name."""
    log = tmp_path / (f"clients.log.1.{kind}" if named else "clients.log")
    log.write_bytes(COMPRESSORS[kind](LOG))
    result = made(log)
    assert (result.text, result.warnings) == (tables, [])


@compressed
def test_several_streams_in_one_file_are_one_log(kind: str, tmp_path: Path) -> None:
    """As `cat a.gz b.gz` gives them."""
    log = tmp_path / "log"
    log.write_bytes(COMPRESSORS[kind](LOG[:640]) + COMPRESSORS[kind](LOG[640:]))
    assert made(log).lines[1] == "2012-02-07 14:01:04 de 24"


@compressed
def test_a_truncated_stream_is_reported(kind: str, tmp_path: Path) -> None:
    """Half a log would be published as if it were whole."""
    log = tmp_path / "log"
    log.write_bytes(COMPRESSORS[kind](os.urandom(5000).hex().encode())[:-300])
    result = made(log)
    assert (result.status, result.text) == (2, "")
    assert result.warnings == [
        f"cannot read {log}: compressed data is corrupt or truncated; recover it with zcat, xzcat or zstdcat"
    ]


@compressed
@pytest.mark.parametrize("behind", [b"X" + b"0" * 99, ANOTHER])
def test_damage_after_a_first_stream_is_reported(kind: str, behind: bytes, tmp_path: Path) -> None:
    """It is not ignored as if the log ended there, nor is data in another compression."""
    log = tmp_path / "log"
    log.write_bytes(COMPRESSORS[kind](LOG[:640]) + behind)
    result = made(log)
    assert (result.status, result.text) == (2, "")
    assert "corrupt or truncated" in result.warnings[0]


@given(st.lists(st.tuples(st.binary(max_size=300), st.integers(0, 3)), min_size=1, max_size=5), st.integers(1, 200))
def test_an_xz_file_may_have_padding_between_its_streams(streams: list[tuple[bytes, int]], size: int) -> None:
    """In multiples of four bytes; read in pieces of any size."""
    packed = b"".join(lzma.compress(content) + bytes(4 * padding) for content, padding in streams)
    with XzReader(io.BytesIO(packed)) as file:
        assert b"".join(iter(lambda: file.read(size), b"")) == b"".join(content for content, _ in streams)


@given(st.integers(1, 100).filter(lambda padding: padding % 4))
def test_other_padding_is_damage(padding: int) -> None:
    """As for the xz program."""
    with (
        XzReader(io.BytesIO(lzma.compress(LOG) + bytes(padding) + lzma.compress(LOG))) as file,
        pytest.raises(lzma.LZMAError),
    ):
        file.read()


def test_a_little_xz_of_much_is_never_much_in_memory() -> None:
    """A hundred megabytes of zeros are fifteen kilobytes of xz; the dictionary is eight megabytes."""
    packed = lzma.compress(bytes(100_000_000))
    tracemalloc.start()
    with XzReader(io.BytesIO(packed)) as file:
        size = sum(map(len, iter(lambda: file.read(1 << 16), b"")))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size == 100_000_000
    assert peak < 12_000_000


def _xz_with_dictionary(size: int) -> bytes:
    return lzma.compress(LOG, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": size}])


@pytest.mark.parametrize("streams", [0, 1])
def test_an_xz_file_that_demands_much_memory_is_refused(streams: int, tmp_path: Path) -> None:
    """A small file can demand four gigabytes, also in a later stream. What xz -9 makes, 64 MiB, is read."""
    log = tmp_path / "clients.log.1.xz"
    log.write_bytes(_xz_with_dictionary(1 << 16) * streams + _xz_with_dictionary(1 << 30))
    result = made(log)
    assert (result.status, result.text) == (2, "")
    (warning,) = result.warnings
    assert warning.startswith(f"cannot read {log}: decompression takes more than 128 MiB of memory; if you trust")
    log.write_bytes(_xz_with_dictionary(64 << 20))
    assert made(log).status == 0


def test_what_is_compressed_in_another_way_is_no_log(tmp_path: Path) -> None:
    """bzip2 is refused like any other binary file."""
    log = tmp_path / "log"
    log.write_bytes(bz2.compress(LOG))
    result = made(log)
    assert (result.status, result.text) == (2, "")
    assert "is not a statistics log" in result.warnings[0]


def test_a_pattern_that_the_shell_left_alone_is_followed(tables: str, tmp_path: Path) -> None:
    """Quoted, or from a program without a shell; sorted by name."""
    (tmp_path / "a.log").write_bytes(LOG[:640])
    (tmp_path / "b.log").write_bytes(LOG[640:])
    assert made(tmp_path / "*.log").text == tables


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(tables: str, tmp_path: Path) -> None:
    """An existing file is never a pattern."""
    log = tmp_path / "log[1]"
    log.write_bytes(LOG)
    assert made(log).text == tables


def test_a_pattern_that_matches_nothing_is_reported(tmp_path: Path) -> None:
    """Like a file that does not exist."""
    result = made(tmp_path / "*.log")
    assert (result.status, result.warnings) == (
        2,
        [f"no file matches {tmp_path}/*.log; name the statistics log"],
    )


@pytest.mark.parametrize("compress", [bytes, gzip.compress, compress_zstd])
def test_standard_input_is_a_log(compress: Callable[[bytes], bytes], tables: str) -> None:
    """`-` among the names, compressed or not."""
    result = subprocess.run(
        [OBFSTATS, "convert", "-"], input=compress(LOG), capture_output=True, check=False, env=ENVIRONMENT, timeout=60
    )
    assert (result.returncode, result.stdout.decode()) == (0, tables)
    assert result.stderr.decode() == (
        "obfstats convert: standard input has no folder, so what is printed is not recorded: publish it once and in"
        " one form, or give --ledger FILE\n"
    )


def test_closed_standard_input_is_reported() -> None:
    """One line, and status 2."""
    result = run(["bash", "-c", f"exec {OBFSTATS} convert - <&-"])
    assert (result.returncode, result.stdout) == (2, b"")
    assert result.stderr.count(b"\n") == 1
    assert b"standard input is closed" in result.stderr


@pytest.mark.parametrize("limit", [0, 1 << 40])
def test_both_engines_print_the_same(limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain Python for short logs and numpy for long ones give the same output."""
    log = tmp_path / "log"
    log.write_bytes(LOG + b"torn\n" + line(end=" obfs3 v4") * 3)
    expected = made(log)
    monkeypatch.setattr(convert, "_MAX_PLAIN_SIZE", limit)
    assert made(log) == expected


def test_without_numpy_plain_python_counts_long_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numpy is an extra; a machine without it gives the same output."""
    log = tmp_path / "log"
    log.write_bytes(LOG)
    expected = made(log)
    monkeypatch.setattr(convert, "_MAX_PLAIN_SIZE", 0)
    monkeypatch.setitem(sys.modules, "numpy", None)
    assert made(log) == expected


def test_a_log_knows_what_it_is(tmp_path: Path) -> None:
    """A file can be read twice and at any offset, a compressed one twice, a pipe once."""
    plain, packed, pipe = tmp_path / "plain", tmp_path / "packed", tmp_path / "pipe"
    plain.write_bytes(LOG)
    packed.write_bytes(gzip.compress(LOG))
    os.mkfifo(pipe)
    found = find([str(plain), str(packed), str(pipe), "-"])
    assert [log.is_plain for log in found] == [True, False, False, False]
    assert [log.is_read_once for log in found] == [False, False, True, True]
    assert found[0].size == len(LOG)


def test_a_directory_is_no_log(tmp_path: Path) -> None:
    """Reported with its name."""
    with pytest.raises(LogFileError, match=r"cannot read .*: Is a directory"):
        find([str(tmp_path)])
