"""Documents name the bridge, by tor's file or by --fingerprint, and one of its several instances."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from obfstats.bridge.identity import FingerprintError, find_hashed_fingerprint, read_hashed_fingerprint
from tests.bridge.published import SECOND, Bridge

if TYPE_CHECKING:
    from pathlib import Path

HASHED = "8990EEDA329B57FBD72EF8F74A50C1929B9B9A31"
TORS = f"Unnamed {HASHED}\n"


def test_the_file_is_beside_tors_folder_for_transports(tmp_path: Path) -> None:
    """Both are in the data directory; documents have the hash in lower case."""
    path = find_hashed_fingerprint(tmp_path / "pt_state")
    path.write_text(TORS)
    assert path == tmp_path / "hashed-fingerprint"
    assert read_hashed_fingerprint(path) == HASHED.lower()


@pytest.mark.parametrize(
    "content",
    [
        "",
        HASHED,
        f"{HASHED}\n",
        TORS.strip(),
        TORS * 2,
        TORS.lower(),
        TORS.replace("Unnamed", "a" * 20),
        TORS.replace("\n", "\r\n"),
        TORS.replace(" ", "  "),
        TORS.replace("31\n", "3\n"),
        TORS.replace("31\n", "311\n"),
        TORS + " " * 100_000,
    ],
)
def test_anything_else_than_tors_line_is_refused(content: str, tmp_path: Path) -> None:
    """Whatever is in it, it is not published and not quoted."""
    path = tmp_path / "hashed-fingerprint"
    path.write_text(content, newline="")
    with pytest.raises(FingerprintError) as raised:
        read_hashed_fingerprint(path)
    assert str(raised.value) == f"{path} is not a nickname and a hashed fingerprint, as tor writes it"


def test_a_pipe_or_a_folder_with_that_name_stops_nothing(tmp_path: Path) -> None:
    """Nothing waits for a writer."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FingerprintError):
        read_hashed_fingerprint(tmp_path / "pipe")
    with pytest.raises(FingerprintError, match=re.escape(f"cannot read {tmp_path}: Is a directory")):
        read_hashed_fingerprint(tmp_path)


def test_tors_file_is_read_when_a_document_is_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Tor may write it after our start. Until then documents do not name the bridge, and one warning says so."""
    bridge = Bridge(tmp_path, managed=True)
    bridge.visit(10)
    bridge.end_day()
    bridge.tick(600)
    assert bridge.document().fingerprint is None
    bridge.hashed_fingerprint.write_text(TORS)
    bridge.visit(10)
    bridge.end_day()
    assert bridge.document(SECOND).fingerprint == HASHED.lower()
    reason = f"cannot read {bridge.hashed_fingerprint}: No such file or directory"
    warnings = [record.message for record in caplog.records if "name" in record.message]
    assert warnings == [f"documents do not name the bridge: {reason}; give --fingerprint HEX"]


def test_the_given_fingerprint_wins(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Tor's file is not even looked at; and the instance has its name."""
    bridge = Bridge(tmp_path, managed=True, fingerprint="aa" * 20, instance="Guard-1")
    bridge.hashed_fingerprint.write_text("no such line")
    bridge.visit(10)
    bridge.end_day()
    document = bridge.document()
    assert (document.fingerprint, document.instance, document.minor) == ("aa" * 20, "Guard-1", 2)
    assert "name the bridge" not in caplog.text
