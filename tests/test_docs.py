"""The documentation is complete and its links work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from obfstats.cli import COMMANDS, GROUPS

ROOT = Path(__file__).parents[1]
COMMANDS_PAGE = (ROOT / "docs" / "commands.md").read_text()


def help_of(program: str, *arguments: str) -> str:
    """An installed program's help."""
    command = [str(Path(sys.executable).with_name(program)), *arguments, "--help"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    "program",
    [
        ["obfsproxy"],
        ["obfsproxy", "obfs2"],
        ["obfstats"],
        *(["obfstats", group] for group in GROUPS),
        *(["obfstats", *command.name.split()] for command in COMMANDS),
    ],
    ids=" ".join,
)
def test_every_option_is_documented(program: list[str]) -> None:
    """Every option that `--help` shows is in docs/commands.md."""
    options = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", help_of(*program)))
    assert "--help" in options
    assert {option for option in options if f"`{option}" not in COMMANDS_PAGE} == set()


def test_every_script_is_documented_and_can_be_run() -> None:
    """script/ holds what the documentation names, and nothing else."""
    scripts = {path.name for path in (ROOT / "script").iterdir()}
    assert set(re.findall(r"`script/([a-z-]+)", COMMANDS_PAGE)) == scripts
    assert all(os.access(ROOT / "script" / name, os.X_OK) for name in scripts)


def test_the_architecture_names_every_folder() -> None:
    """docs/architecture.md stays true when a station is added."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    folders = [path.name for path in (ROOT / "src" / "obfstats").iterdir() if path.is_dir() and path.name[0] != "_"]
    assert len(folders) >= 5
    assert [name for name in folders if f"`{name}/`" not in text] == []


@pytest.mark.parametrize(("name", "extras"), [("bridge", []), ("receiving", ["collect", "analyse", "show"])])
def test_what_is_installed_is_what_is_tested(name: str, extras: list[str]) -> None:
    """Its lock file is a part of requirements.lock, and what pyproject.toml demands is in it."""
    pinned = re.compile(r"^[a-z0-9-]+==[0-9.]+", re.MULTILINE)
    tested, installed = (
        set(pinned.findall((ROOT / file).read_text())) for file in ("requirements.lock", f"requirements-{name}.lock")
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    assert installed < tested
    assert {re.split("[>=;]", line)[0] for line in wanted} <= {line.partition("==")[0] for line in installed}


def test_tables_are_whole() -> None:
    """A blank line within a table ends it: what follows would be shown as text."""
    broken = re.compile(r"^\|.*\n\n\|.*\n(?!\|-)", re.MULTILINE)
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    assert [page.name for page in pages if broken.search(page.read_text())] == []


def test_links_lead_somewhere() -> None:
    """Every relative link in the documentation is a file."""
    links = [
        (page, target)
        for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    ]
    assert len(links) >= 3
    assert [target for page, target in links if not (page.parent / target).exists()] == []
