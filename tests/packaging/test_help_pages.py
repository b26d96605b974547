"""The man pages have all that the argument parsers have, and are well-formed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from help_files.manpages import make_pages
from help_files.programs import Verb
from peers.missing import need
from tests.packaging.programs import FILES, PARSERS, ROOT, choices_of, following, options_of

PAGES = {Path(name).stem: text for name, text in FILES.items() if name.startswith("man/")}


def page_of(words: str) -> str:
    """The page of a command, with plain hyphens."""
    name = "obfsproxy" if words.startswith("obfsproxy") else words.replace(" ", "-")
    return PAGES[name].replace(r"\-", "-").replace(r"\%", "")


@pytest.mark.parametrize("words", PARSERS)
def test_a_page_has_every_option_command_and_choice(words: str) -> None:
    """Options and choices are entries of the list, not words of some text; commands are pages of their own."""
    entries = re.findall(r"^\.TP\n(.*)$", page_of(words), re.MULTILINE)
    bold = set(re.findall(r"\\fB(.*?)\\fR", "\n".join(entries)))
    assert options_of(words) - bold == set()
    for option, choices in choices_of(words).items():
        [entry] = [entry for entry in entries if rf"\fB{option}\fR" in entry]
        assert set(entry.split(r"\fB")[-1].removesuffix(r"\fR").split("|")) == choices
    for word in following(words):
        if words.startswith("obfsproxy"):
            assert re.search(rf"[B|]{word}[|\\]", page_of(words))
        else:
            assert f".BR {words.replace(' ', '-')}-{word} (1)" in entries


def test_every_command_has_a_page_and_no_other() -> None:
    """As `man obfstats-collect-serve` finds it."""
    assert set(PAGES) == {words.replace(" ", "-") for words in PARSERS if not words.startswith("obfsproxy ")}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_the_sections_that_readers_expect(name: str) -> None:
    """In the order of man-pages(7), each once and none empty."""
    headings = re.findall(r"^\.SH (.*)\n[^.\n]|^\.SH (.*)\n\.(?!SH)", PAGES[name], re.MULTILINE)
    titles = [first or second for first, second in headings]
    expected = ["NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"]
    assert [title for title in expected if title in titles] == titles
    assert set(expected) - set(titles) <= {"COMMANDS"}


def test_pages_are_well_formed(tmp_path: Path) -> None:
    """The linter `mandoc` warns of nothing but the date, which a version has only when it is released."""
    need("mandoc", "mandoc")
    for name, text in PAGES.items():
        (tmp_path / f"{name}.1").write_text(text)
    pages = sorted(tmp_path.iterdir())
    result = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", *pages], capture_output=True, text=True, check=False
    )
    assert [line for line in result.stdout.splitlines() if "missing date" not in line] == []


def test_text_cannot_become_a_request() -> None:
    """A line that begins with a dot, quotes and characters beyond ASCII are shown as they are."""
    verb = Verb(("obfstats",), "", ".so /etc/passwd 'x' \\n café.", "examples:\n  .odd -x\n", ())
    page = make_pages([verb], version="1", date="2026-12-05")["obfstats"]
    assert page.startswith('.TH OBFSTATS 1 "2026\\-12\\-05" "obfstats 1" "obfstats"\n')
    assert "\n\\&.so \\%/etc/passwd \\(aqx\\(aq \\en caf\\[u00E9].\n" in page
    assert "\n\\fB.odd \\-x\\fR\n" in page


def test_what_is_made_depends_on_the_source_alone(tmp_path: Path) -> None:
    """Not on the terminal, the locale, the time zone, the home directory; and it needs no library."""
    code = "import sys; sys.path[:0] = sys.argv[1:3]; from help_files import make_files; print(make_files(''))"
    outputs = set()
    for number, (columns, locale, zone) in enumerate([("40", "C", "UTC"), ("200", "de_DE.UTF-8", "Asia/Tehran")]):
        folder = tmp_path / str(number)
        folder.mkdir()
        environment = {
            "COLUMNS": columns,
            "LC_ALL": locale,
            "TZ": zone,
            "HOME": str(folder),
        }
        command = [sys.executable, "-S", "-B", "-c", code, str(ROOT / "packaging"), str(ROOT / "src")]
        outputs.add(subprocess.run(command, env=environment, cwd=folder, capture_output=True, check=True).stdout)
    [output] = outputs
    assert b"obfstats-convert" in output
