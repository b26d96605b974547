"""The page "What leaves your bridge" shows what the program prints for its example log."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from peers.program import OBFSTATS
from tests.publish.programs import ENVIRONMENT

PAGE = (Path(__file__).parents[2] / "docs" / "what-leaves-your-bridge.md").read_text()
BLOCKS = [re.sub("^    ", "", block, flags=re.MULTILINE) for block in re.findall(r"(?:^    .*\n)+", PAGE, re.MULTILINE)]
COMMANDS = re.findall(r"`obfstats (convert [^`]*clients\.log)`", PAGE)


def test_the_page_shows_a_log_and_four_forms_of_it() -> None:
    """Each form's command precedes its block; the noisy one differs each time and has no block."""
    assert len(BLOCKS) == 5
    assert len(COMMANDS) == 5
    assert "--epsilon" in COMMANDS[4]


@pytest.mark.parametrize("number", range(4))
def test_a_form_is_what_the_program_prints(number: int, tmp_path: Path) -> None:
    """The page's command, in a folder with that log."""
    (tmp_path / "clients.log").write_text(BLOCKS[0])
    (tmp_path / ".clients.log.whole").write_text("2026-11-21 07:47:51 whole 16\n")
    command = [OBFSTATS, *COMMANDS[number].split(), "--as-of", "2026-11-23 00:00:00"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert (result.stdout, result.stderr) == (BLOCKS[number + 1], "")
