"""Man pages and shell completion of `obfsproxy` and `obfstats`, made from their argument parsers.

argparse-manpage reflows the examples and makes no page for each command; shtab 1.5 (Debian 12) knows no fish. The
Debian package is built with Debian 12's tools alone, so both are written here.

The build of a wheel runs this (build_hook.py), in an environment that has Python's standard library and the build tools
alone. What it writes depends on the source code only: not on the terminal, the locale, the time, the home directory or
the version of Python.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from help_files import bash, fish, zsh
from help_files.manpages import make_pages
from help_files.programs import read_obfsproxy, read_obfstats
from obfstats import __version__

if TYPE_CHECKING:
    from pathlib import Path


def make_files(changelog: str) -> dict[str, str]:
    """Make all pages and completions.

    Args:
        changelog: the text of CHANGELOG.md; the pages' date is that of this version's heading.

    Returns:
        Text by path, relative to a folder such as /usr/share.
    """
    release = re.search(rf"^## {re.escape(__version__)}, (\d{{4}}-\d\d-\d\d)$", changelog, re.MULTILINE)
    programs = (read_obfsproxy(), read_obfstats())
    pages = make_pages(programs, version=__version__, date=release[1] if release else "")
    files = {f"man/man1/{name}.1": page for name, page in pages.items()}
    for program in programs:
        files[f"bash-completion/completions/{program.name}"] = bash.make_completion(program)
        files[f"zsh/site-functions/_{program.name}"] = zsh.make_completion(program)
        files[f"fish/vendor_completions.d/{program.name}.fish"] = fish.make_completion(program)
    return files


def write_files(folder: Path, changelog: str) -> None:
    """Write all pages and completions.

    Args:
        folder: the folder whose place is /usr/share.
        changelog: the text of CHANGELOG.md.
    """
    for name, text in make_files(changelog).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
