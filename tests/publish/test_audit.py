"""Auditing any file: recognising it, reading it, and printing what was found."""

from __future__ import annotations

import gzip
import lzma
import os
import subprocess
import sys
import tracemalloc
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from obfstats.publish.audit import UnknownFileError, audit
from obfstats.publish.audit.findings import Audit, Code, FileType, describe, finding
from obfstats.publish.logfiles import LogFileError, find
from tests.formats.documents import EXTENDED, TICKETS, hit_documents
from tests.formats.lines import EXAMPLE, hit_lines
from tests.publish.auditing import NOW, audited, audited_bytes, printed
from tests.publish.logs import compress_zstd, logs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TABLES = b"""\
Daily rounded total requests by country
2012-02-07 14:01:04 de 16
Daily rounded unique IPs by country
2012-02-07 14:01:04 de 8
"""
TOR = b"""\
bridge-stats-end 2012-02-10 09:22:04 (86400 s)
bridge-ips de=16,us=8
bridge-ip-versions v4=16,v6=8
bridge-ip-transports <OR>=8,obfs3=16
"""
FILES = {FileType.LOG: EXAMPLE, FileType.DOCUMENTS: TICKETS, FileType.TABLES: TABLES, FileType.TOR: TOR}
COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "as it is": bytes, "gzip": partial(gzip.compress, mtime=0), "xz": lzma.compress, "Zstandard": compress_zstd,
}  # fmt: skip


@pytest.mark.parametrize("file_type", FILES)
def test_a_file_says_itself_what_it_is(file_type: FileType) -> None:
    """A log, documents, tables and tor's lines need no option."""
    assert audited_bytes(FILES[file_type]).file_type is file_type


@pytest.mark.parametrize("file_type", [FileType.DOCUMENTS, FileType.TABLES, FileType.TOR])
def test_what_may_be_published_has_no_alarm(file_type: FileType) -> None:
    """The samples are good."""
    assert not audited_bytes(FILES[file_type]).has_alarm


@pytest.mark.parametrize("file_type", FILES)
def test_a_damaged_first_line_does_not_hide_what_a_file_is(file_type: FileType) -> None:
    """A torn line before a good one."""
    assert audited_bytes(EXAMPLE[5:20] + b"\n" + FILES[file_type] * 2).file_type is file_type


def test_in_doubt_it_is_a_log() -> None:
    """With as many lines of a log as of something else, it is treated as the one that must not leave."""
    assert audited_bytes(TICKETS + EXAMPLE * 4).file_type is FileType.LOG


@pytest.mark.parametrize(
    "content",
    [
        b"\n",
        b"\0" * 100_000,
        b"hello\n",
        EXAMPLE[:40],
        b"[\n  {}\n]\n",
        b"@type bridge-extra-info 1.3\n",
        b"x" * 3_000_000,
    ],
    ids=["empty line", "NULs", "prose", "torn log", "JSON", "another type", "no line's end"],
)
def test_something_else_is_refused_in_one_sentence(content: bytes) -> None:
    """A file that is not understood is never called harmless."""
    with pytest.raises(UnknownFileError, match=r"is neither a statistics log nor .*; is it the right file\?$"):
        audited_bytes(content)


def test_an_empty_file_gives_nothing_away() -> None:
    """A bridge without a client has an empty log; it is not called a wrong file."""
    with pytest.raises(UnknownFileError, match="is empty"):
        audited_bytes(b"")


@pytest.mark.parametrize("file_type", FILES)
@pytest.mark.parametrize("way", COMPRESSED)
def test_compressed_files_are_read(file_type: FileType, way: str, tmp_path: Path) -> None:
    """A rotated, compressed file gives the same findings as before."""
    plain, compressed = tmp_path / "plain", tmp_path / "compressed"
    plain.write_bytes(FILES[file_type])
    compressed.write_bytes(COMPRESSED[way](FILES[file_type]))
    assert audited(compressed) == audited(plain)


@pytest.mark.parametrize("way", ["gzip", "xz", "Zstandard"])
def test_a_compressed_file_that_was_cut_off_is_an_error(way: str, tmp_path: Path) -> None:
    """Half a file is not called harmless."""
    path = tmp_path / "clients.log"
    path.write_bytes(COMPRESSED[way](os.urandom(1000).hex().encode())[:-10])
    with pytest.raises(LogFileError, match="is corrupt or truncated"):
        audited(path)


def test_a_compressed_file_that_is_damaged_is_an_error(tmp_path: Path) -> None:
    """Zstandard has errors of its own."""
    path = tmp_path / "clients.log"
    good = bytearray(compress_zstd(os.urandom(1000).hex().encode()))
    good[15:25] = bytes(10)
    path.write_bytes(good)
    with pytest.raises(LogFileError, match="is corrupt or truncated"):
        audited(path)


@pytest.mark.parametrize("way", COMPRESSED)
def test_the_progress_adds_up_to_the_file(way: str, tmp_path: Path) -> None:
    """Counted in bytes of the file on disk, in several steps."""
    path = tmp_path / "clients.log"
    path.write_bytes(COMPRESSED[way](EXAMPLE * 50_000))
    steps: list[int] = []
    (file,) = find([str(path)])
    audit(file, now=NOW, advance=steps.append)
    assert sum(steps) == path.stat().st_size
    assert len(steps) > 1


def test_a_pipe_can_be_audited() -> None:
    """Standard input has no permissions and no size."""
    program = """
from datetime import UTC, datetime
from obfstats.publish.audit import audit
from obfstats.publish.logfiles import find
steps = []
result = audit(find(["-"])[0], now=datetime(2027, 1, 1, tzinfo=UTC), advance=steps.append)
print(result.file_type, sum(steps))
"""
    result = subprocess.run([sys.executable, "-c", program], input=TICKETS, capture_output=True, check=True, timeout=60)
    assert result.stdout.decode() == f"published documents {len(TICKETS)}\n"


@pytest.mark.parametrize("file_type", FILES)
def test_giant_lines_are_never_in_memory(file_type: FileType, tmp_path: Path) -> None:
    """A line of thirty megabytes among good ones is one damaged line."""
    path = tmp_path / "file"
    path.write_bytes(FILES[file_type] + b"192.0.2.77" * 3_000_000 + b"\n" + b"x" * 30_000_000)
    tracemalloc.start()
    result = audited(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    path.unlink()
    assert peak < 5_000_000
    assert result.has_alarm


@given(hit_documents() | st.lists(hit_lines()).map(b"".join) | st.binary(max_size=200))
@example(b"\x1f\x8b")
def test_anything_is_audited_or_refused(content: bytes) -> None:
    """Any content gives findings or a named error, and all of the output is printable."""
    try:
        words = list(describe(audited_bytes(content)))
    # What begins like something compressed is read as that.
    except (UnknownFileError, LogFileError) as error:
        words = [str(error)]
    for line in words:
        assert line.isprintable()


@given(logs())
def test_a_log_is_always_an_alarm(log: bytes) -> None:
    """A good log still contains hashes."""
    if log:
        assert audited_bytes(log).has_alarm


def test_alarms_come_first_and_are_marked() -> None:
    """What the file is, the alarms, the rest, and what to do."""
    findings = [
        finding(Code.COUNTRIES, countries=1),
        finding(Code.NOT_ROUNDED, numbers=1),
        finding(Code.ODD_LENGTH, intervals=2_000),
        finding(Code.REUSED_HASHES, hashes=2),
    ]
    assert list(describe(Audit(FileType.TABLES, findings))) == [
        "These are the two tables to be published.",
        "! 1 number is not rounded up to a multiple of 8: one client more or less is visible.",
        (
            "! 2 hashes are in more than one interval: the secret was not changed, and these clients can be followed "
            "from day to day. Delete the log as soon as it is converted."
        ),
        "  There are numbers of 1 country.",
        "  2,000 intervals are not 24 hours long, but at least 23.",
        "Do not publish it: make it again with `obfstats convert`, of intervals that are over, each once.",
    ]


def test_a_file_without_an_alarm_may_be_published() -> None:
    """The last line for a document without an alarm."""
    assert printed(EXTENDED).endswith("\nNothing in it has to stay on this machine. Publish each interval once.")


def test_a_log_is_not_called_harmless() -> None:
    """The last line for a log names what to run instead."""
    assert "run `obfstats convert` on it" in printed(EXAMPLE).splitlines()[-1]
