"""script/release builds only what is committed, dated and new, and says what to upload."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from obfstats import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from tests.packaging.conftest import Checkout


def refused(checkout: Checkout, version: str = __version__) -> str:
    """The one line with which script/release refuses."""
    result = checkout.release(version, "--dry-run", "--no-deb")
    assert (result.returncode, result.stdout) == (2, "")
    [line] = result.stderr.splitlines()
    return line


def test_a_tree_with_changes_is_refused(checkout: Checkout) -> None:
    """A new file would be missing from what is built."""
    new = checkout.folder / "src" / "obfstats" / "new.py"
    new.touch()
    assert refused(checkout) == "release: the tree has changes: commit them, or remove the files (git status)"
    new.unlink()


def test_another_version_is_refused(checkout: Checkout) -> None:
    """The package says which one it is."""
    assert refused(checkout, "9.9") == f"release: src/obfstats/__init__.py has version {__version__}"


def test_a_version_without_a_date_is_refused(checkout: Checkout) -> None:
    """As long as the changelog calls it unreleased."""
    changelog = checkout.folder / "CHANGELOG.md"
    dated = changelog.read_text()
    changelog.write_text(dated.replace(", 2026-12-05", ", not released yet", 1))
    checkout.commit()
    assert refused(checkout) == f"release: CHANGELOG.md does not begin with '## {__version__}, YYYY-MM-DD'"
    changelog.write_text(dated)
    checkout.commit()


def test_a_debian_package_that_is_not_released_is_refused(checkout: Checkout) -> None:
    """Its changelog names no distribution."""
    changelog = checkout.folder / "packaging" / "debian" / "changelog"
    released = changelog.read_text()
    changelog.write_text(released.replace("unstable;", "UNRELEASED;", 1))
    checkout.commit()
    assert "says UNRELEASED" in refused(checkout)
    changelog.write_text(released)
    checkout.commit()


def test_a_version_that_has_a_tag_is_refused(checkout: Checkout) -> None:
    """What was released once stays as it was."""
    checkout.git("tag", f"v{__version__}")
    assert refused(checkout) == f"release: the tag v{__version__} exists: raise the version"
    checkout.git("tag", "--delete", f"v{__version__}")


def test_a_dry_run_lists_what_would_be_uploaded(checkout: Checkout, released: Path) -> None:
    """Each file with its size and digest, the commands, and no tag."""
    text = (released / "UPLOAD.txt").read_text()
    names = [f"obfstats-{__version__}-py3-none-any.whl", f"obfstats-{__version__}.tar.gz"]
    for name in names:
        data = (released / name).read_bytes()
        assert f"{len(data)} bytes  {hashlib.sha256(data).hexdigest()}  {name}\n" in text
    assert f"    twine upload dist/{names[0]} dist/{names[1]}\n" in text
    assert "Dry run: the tag" in text
    assert checkout.git("tag") == ""


def test_a_release_makes_an_annotated_tag(checkout: Checkout, released: Path) -> None:
    """And says that git has no key to sign it with."""
    before = {path.name: path.read_bytes() for path in released.iterdir() if path.suffix != ".txt"}
    result = checkout.release(__version__, "--no-deb")
    assert result.returncode == 0, result.stderr
    assert f"Tag v{__version__}, annotated, unsigned: git has no user.signingKey.\n" in result.stdout
    assert checkout.git("cat-file", "-t", f"v{__version__}") == "tag\n"
    assert checkout.git("rev-parse", f"v{__version__}^{{}}") == checkout.git("rev-parse", "HEAD")
    checkout.git("tag", "--delete", f"v{__version__}")
    assert before == {path.name: path.read_bytes() for path in released.iterdir() if path.suffix != ".txt"}


@pytest.mark.parametrize("arguments", [(), ("--upload", "1")], ids=str)
def test_wrong_usage_is_one_line(checkout: Checkout, arguments: tuple[str, ...]) -> None:
    """With status 2."""
    result = checkout.release(*arguments)
    assert (result.returncode, result.stderr.count("\n"), result.stderr[:9]) == (2, 1, "release: ")
