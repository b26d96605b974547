"""What waits to be sent is kept whole, bounded, and one program at a time sends it."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from obfstats.collect.client.spool import Spool, SpoolInUseError
from peers import disk

if TYPE_CHECKING:
    from pathlib import Path

END = "2026-11-{day:02} 09:22:04"


def text_of(day: int, size: int = 100) -> bytes:
    """Make up a document of a day."""
    return f"document of day {day}\n".encode().ljust(size, b"x")


def fill(spool: Spool, *days: int) -> list[str]:
    """Put a document of each day into a spool; give the names of all that were dropped."""
    return [name for day in days for name in spool.add(text_of(day), END.format(day=day))]


def days_in(spool: Spool) -> list[int]:
    """List the days of the documents that wait."""
    return [int(name[8:10]) for name in spool.names()]


def test_documents_wait_in_the_order_of_their_intervals(tmp_path: Path) -> None:
    """The oldest is sent first, whenever it was added; its name has its interval's end and its digest."""
    spool = Spool(tmp_path / "spool")
    assert list(spool.documents()) == []
    fill(spool, 3, 1, 2)
    names, texts = zip(*spool.documents(), strict=True)
    assert texts == (text_of(1), text_of(2), text_of(3))
    assert names[0] == f"2026-11-01-09-22-04-{sha256(text_of(1)).hexdigest()[:16]}"


def test_only_its_owner_reads_a_spool(tmp_path: Path) -> None:
    """Documents are to be published, but by the collector, and not before."""
    spool = Spool(tmp_path / "state" / "spool")
    fill(spool, 1)
    modes = [path.stat().st_mode & 0o777 for path in (spool.folder.parent, spool.folder, *spool.folder.iterdir())]
    assert modes == [0o700, 0o700, 0o600]


def test_a_document_waits_once(tmp_path: Path) -> None:
    """However often it is added; another one of the same interval is another document."""
    spool = Spool(tmp_path)
    fill(spool, 1, 1)
    assert len(spool.names()) == 1
    spool.add(b"other\n", END.format(day=1))
    assert len(spool.names()) == 2


def test_the_oldest_are_dropped_where_there_are_too_many(tmp_path: Path) -> None:
    """And `add` says which, even if it is the new one."""
    spool = Spool(tmp_path, max_files=3)
    assert fill(spool, 2, 3, 4) == []
    assert [name[:10] for name in fill(spool, 5)] == ["2026-11-02"]
    assert [name[:10] for name in fill(spool, 1)] == ["2026-11-01"]
    assert days_in(spool) == [3, 4, 5]


def test_the_oldest_are_dropped_where_they_are_too_long(tmp_path: Path) -> None:
    """A long document takes the place of two short ones."""
    spool = Spool(tmp_path, max_bytes=350)
    fill(spool, 1, 2, 3)
    assert [name[:10] for name in spool.add(text_of(4, 200), END.format(day=4))] == ["2026-11-01", "2026-11-02"]
    assert days_in(spool) == [3, 4]


def test_what_was_refused_is_set_aside_with_the_reason(tmp_path: Path) -> None:
    """It does not wait any longer; the newest are kept."""
    spool = Spool(tmp_path, max_refused=2)
    fill(spool, 1, 2, 3)
    for name in spool.names():
        spool.refuse(name, f"409 {name[:10]} differs")
    assert spool.names() == []
    reasons = sorted(path.read_text() for path in spool.refused.glob("*.reason"))
    assert reasons == ["409 2026-11-02 differs\n", "409 2026-11-03 differs\n"]
    assert sorted(path.read_bytes() for path in spool.refused.glob("*[0-9a-f]")) == [text_of(2), text_of(3)]


def test_one_program_sends_at_a_time(tmp_path: Path) -> None:
    """Two would send the same documents; others may still add some."""
    spool, other = Spool(tmp_path), Spool(tmp_path)
    with spool.sending():
        with pytest.raises(SpoolInUseError, match="another program is sending"), other.sending():
            pass
        fill(other, 1)
        spool.remove(spool.names()[0])
    with other.sending():
        assert spool.names() == []


def test_what_a_killed_program_began_to_write_is_no_document(tmp_path: Path) -> None:
    """It is removed when the next document is added."""
    spool = Spool(tmp_path)
    fill(spool, 1)
    torn = tmp_path / f".{spool.names()[0].replace('-01-', '-02-', 1)}.new"
    torn.write_bytes(b"docum")
    assert days_in(spool) == [1]
    fill(spool, 3)
    assert days_in(spool) == [1, 3]
    assert not torn.exists()


def test_a_full_disk_takes_no_document_and_loses_none(tmp_path: Path) -> None:
    """What could not be kept whole is not kept at all, what waited still waits, and later there is room again."""
    with disk.mount(tmp_path / "disk", 128 << 10) as small:
        spool = Spool(small.folder / "spool")
        fill(spool, 1)
        small.fill()
        with pytest.raises(OSError, match="No space left on device"):
            spool.add(text_of(2, 20_000), END.format(day=2))
        assert [path.name for path in spool.folder.iterdir()] == spool.names()
        assert list(spool.documents()) == [(spool.names()[0], text_of(1))]
        small.clear()
        fill(spool, 2)
        assert days_in(spool) == [1, 2]
