"""A release of the files as they are now, made once for all tests of this folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from obfstats import __version__
from peers.missing import need, need_module
from tests.packaging.programs import ROOT


class Checkout:
    """A repository of its own, with one commit that is ready to be released."""

    def __init__(self, folder: Path) -> None:
        """Copy what git knows of this tree, date both changelogs, and commit."""
        self.folder = folder
        self._environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "A",
            "GIT_AUTHOR_EMAIL": "a@example.org",
            "GIT_COMMITTER_NAME": "A",
            "GIT_COMMITTER_EMAIL": "a@example.org",
        }
        listed = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True).stdout.rstrip(b"\0").split(b"\0")
        self.files = sorted(name.decode() for name in names if (ROOT / name.decode()).exists())
        archive = subprocess.run(["tar", "-c", "-C", ROOT, *self.files], capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", folder], input=archive, check=True)
        self.git("init", "--quiet")
        changelog = folder / "CHANGELOG.md"
        dated = re.sub("^## .*$", f"## {__version__}, 2026-12-05", changelog.read_text(), count=1, flags=re.MULTILINE)
        changelog.write_text(dated)
        debian = folder / "packaging" / "debian" / "changelog"
        debian.write_text(debian.read_text().replace("UNRELEASED;", "unstable;", 1))
        self.commit()

    def git(self, *arguments: str) -> str:
        """Run git here, without the settings of this machine."""
        command = ["git", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=self._environment, capture_output=True, text=True, check=True
        ).stdout

    def commit(self) -> None:
        """Commit everything."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "all")

    def release(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run script/release, with this interpreter's libraries."""
        command = [str(self.folder / "script" / "release"), *arguments]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout that is ready to be released."""
    need("git", "git")
    need_module("hatchling")
    need_module("twine")
    if not (ROOT / ".git").exists():
        pytest.skip("this is not a checkout: git does not know which files belong to it")
    return Checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="session")
def released(checkout: Checkout) -> Path:
    """The folder that script/release has filled."""
    result = checkout.release(__version__, "--dry-run", "--no-deb")
    assert result.returncode == 0, result.stderr
    return checkout.folder / "dist"
