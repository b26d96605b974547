"""docs/embedding.md: its example runs as it is written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from obfstats.formats.logline import parse_line
from obfstats.record import Recorder

if TYPE_CHECKING:
    import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "embedding.md").read_text()


def test_the_example_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The calls for a program that runs for months go before the end, and everything that the page names exists."""
    monkeypatch.chdir(tmp_path)
    first, further = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    begin, call, end = first.partition("recorder.close()")
    names: dict[str, object] = {}
    exec(begin + further + call + end, names)
    recorder = names["recorder"]
    assert isinstance(recorder, Recorder)
    assert (names["connections"], names["addresses"]) == (1, 1)
    assert recorder.countries.geoip_sources
    assert recorder.unreadable == 0
    assert Path("clients.log").read_bytes() == b""


def test_the_options_of_the_page_work(tmp_path: Path) -> None:
    """A full buffer is written with the columns that the page names, to a folder that is created."""
    log = tmp_path / "new" / "clients.log"
    recorder = Recorder.open(log, buffer=1, columns=("transport", "family"), make_folder=True)
    for _ in range(2):
        recorder.record_packed(bytes((192, 0, 2, 7)), "obfs3")
    recorder.close()
    line = parse_line(log.read_bytes())
    assert (line.transport, line.family) == ("obfs3", "v4")
