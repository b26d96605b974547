"""A file that one program appends to and only its owner can read."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from obfstats.lockedfile import FileInUseError, LockedFile, LockedFileError, PartlyWrittenError, make_folder
from tests.lockedfiles import REFUSED, append_only, file_size_limit, write_private

if TYPE_CHECKING:
    from collections.abc import Callable

CONTENT = b"first\n"


def open_file(path: Path) -> LockedFile:
    """Open a file as its users do."""
    return LockedFile.open(path, "notebook", "name another with --notebook")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_a_new_file_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """0600, neither looser nor tighter."""
    path = tmp_path / "file"
    before = os.umask(umask)
    try:
        file = open_file(path)
    finally:
        os.umask(before)
    assert file.is_new
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_new_folders_have_their_mode_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """Those above as well; folders that exist stay as they are."""
    tmp_path.chmod(0o755)
    before = os.umask(umask)
    try:
        make_folder(tmp_path / "a" / "b" / "c", 0o700)
        make_folder(tmp_path / "a", 0o755)
    finally:
        os.umask(before)
    folders = [tmp_path, tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "c"]
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o755, 0o700, 0o700, 0o700]


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_a_folder_that_is_a_file_is_an_error(tmp_path: Path, name: str) -> None:
    """It itself, or one above it."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        make_folder(tmp_path / name, 0o700)


def test_no_folder_can_be_made_in_one_that_is_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path from a working folder that is no longer there ends in an error, not in a recursion."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(FileNotFoundError):
        make_folder(Path("a/b"), 0o700)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o604, 0o777])
def test_access_is_taken_from_others(tmp_path: Path, mode: int) -> None:
    """The sentence has the old mode, and what to correct where logrotate has made the file."""
    path = write_private(tmp_path / "file", CONTENT)
    path.chmod(mode)
    file = open_file(path)
    assert file.make_private() == (
        f"{path} was open to others ({mode:04o}) and is 0600 now; if logrotate created it, correct the line in its"
        " configuration to: create 0600"
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert file.make_private() == ""


def test_opening_alone_changes_no_mode(tmp_path: Path) -> None:
    """It may be the wrong file."""
    path = write_private(tmp_path / "file", CONTENT)
    path.chmod(0o644)
    open_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_mode_that_cannot_be_changed_is_refused(tmp_path: Path) -> None:
    """An append-only file: the sentence says what the operator has to do."""
    path = write_private(tmp_path / "file", CONTENT)
    path.chmod(0o640)
    with append_only(path):
        file = open_file(path)
        with pytest.raises(LockedFileError, match=r"is open to others \(0640\); run: chmod 600 /"):
            file.make_private()


@pytest.mark.parametrize(("make", "sentence"), REFUSED)
def test_a_file_that_others_have_access_to_is_refused(
    tmp_path: Path, make: Callable[[Path, bytes], object], sentence: str
) -> None:
    """One sentence that names the file; no descriptor is left open."""
    path = tmp_path / "file"
    make(path, CONTENT)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(LockedFileError, match=sentence) as error:
        open_file(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_an_error_says_what_to_do(tmp_path: Path) -> None:
    """With the kind and the advice that the caller gave."""
    with pytest.raises(LockedFileError) as error:
        open_file(tmp_path / "none" / "file")
    expected = f"cannot open the notebook {tmp_path}/none/file: No such file or directory; name another with --notebook"
    assert str(error.value) == expected


def test_one_program_at_a_time_has_it(tmp_path: Path) -> None:
    """The second may when the first has closed it; it may be closed twice."""
    path = tmp_path / "file"
    first = open_file(path)
    with pytest.raises(FileInUseError, match="in use by another program"):
        open_file(path)
    first.close()
    first.close()
    assert not open_file(path).is_new


@pytest.mark.parametrize("free", [0, 1, 6])
def test_a_full_disk_leaves_no_part_of_what_is_appended(tmp_path: Path, free: int) -> None:
    """What it accepted is cut off again; once there is space the same data is appended."""
    path = write_private(tmp_path / "file", CONTENT)
    file = open_file(path)
    with file_size_limit(len(CONTENT) + free), pytest.raises(OSError):
        file.append(b"second\n")
    assert path.read_bytes() == CONTENT
    file.append(b"second\n")
    assert path.read_bytes() == CONTENT + b"second\n"


@pytest.mark.parametrize("free", [1, 6])
def test_the_error_tells_what_cannot_be_cut_off(tmp_path: Path, free: int) -> None:
    """An append-only file on a full disk keeps the part that the disk accepted."""
    path = write_private(tmp_path / "file", CONTENT)
    file = open_file(path)
    with append_only(path), file_size_limit(len(CONTENT) + free), pytest.raises(PartlyWrittenError) as error:
        file.append(b"second\n")
    assert (error.value.errno, error.value.written) == (errno.ENOSPC, free)
    assert path.read_bytes() == CONTENT + b"second\n"[:free]


def test_what_could_not_be_synced_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that accepts data and then fails has not accepted it."""
    path = write_private(tmp_path / "file", CONTENT)
    file = open_file(path)

    def fail(_descriptor: int) -> None:
        raise OSError

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError):
        file.append(b"second\n", sync=True)
    assert path.read_bytes() == CONTENT


def test_a_cut_after_a_rotation_by_truncating_leaves_no_hole(tmp_path: Path) -> None:
    """Another program emptied the file: the end of the write, not the old size, is where it is cut."""
    path = write_private(tmp_path / "file", CONTENT * 10)
    file = open_file(path)
    os.truncate(path, 0)
    with file_size_limit(3), pytest.raises(OSError):
        file.append(CONTENT)
    assert path.read_bytes() == b""


def test_it_notices_when_its_name_leads_to_another_file(tmp_path: Path) -> None:
    """Moved away, replaced by another file, replaced by a link to itself."""
    path = write_private(tmp_path / "file", CONTENT)
    file = open_file(path)
    assert file.is_in_place()
    path.rename(tmp_path / "moved")
    assert not file.is_in_place()
    write_private(path, CONTENT)
    assert not file.is_in_place()
    path.unlink()
    path.symlink_to("moved")
    assert not file.is_in_place()
