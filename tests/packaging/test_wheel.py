"""What is uploaded to PyPI: complete, nothing besides, and the same bytes on every machine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from typing import TYPE_CHECKING

from obfstats import __version__
from tests.packaging.programs import FILES, ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.packaging.conftest import Checkout

NAME = f"obfstats-{__version__}"
WHEEL = f"{NAME}-py3-none-any.whl"
SOURCE = f"{NAME}.tar.gz"


def test_the_wheel_has_the_package_and_its_help(checkout: Checkout, released: Path) -> None:
    """Every file of the package, man pages and completion below share/, the licence; nothing else."""
    with zipfile.ZipFile(released / WHEEL) as wheel:
        names = {info.filename for info in wheel.infolist()}
        page = wheel.read(f"{NAME}.data/data/share/man/man1/obfstats.1").decode()
    package = {name.removeprefix("src/") for name in checkout.files if name.startswith("src/obfstats/")}
    help_files = {f"{NAME}.data/data/share/{name}" for name in FILES}
    about = {
        f"{NAME}.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE")
    }
    assert names == package | help_files | about
    assert page.startswith('.TH OBFSTATS 1 "2026\\-12\\-05" ')


def test_the_source_archive_has_what_git_has(checkout: Checkout, released: Path) -> None:
    """All files but those that run CI, so that it can be built and tested."""
    with tarfile.open(released / SOURCE) as archive:
        names = {member.name.removeprefix(f"{NAME}/") for member in archive.getmembers()}
    assert names == {name for name in checkout.files if not name.startswith(".ci/")} | {"PKG-INFO"}


def test_the_metadata_are_what_pypi_shows(released: Path) -> None:
    """A licence expression, a classifier for each version of Python, and no link that leads nowhere there."""
    with zipfile.ZipFile(released / WHEEL) as wheel:
        metadata = message_from_bytes(wheel.read(f"{NAME}.dist-info/METADATA"))
    classifiers = metadata.get_all("Classifier", [])
    assert metadata["License-Expression"] == "BSD-3-Clause"
    assert not [classifier for classifier in classifiers if classifier.startswith("License ::")]
    versions = [classifier.rpartition(" :: ")[2] for classifier in classifiers if re.search(r":: 3\.\d+$", classifier)]
    assert versions == [f"3.{minor}" for minor in range(11, 16)]
    description = str(metadata.get_payload())
    assert "script/obfstats" not in description
    links = re.findall(r"\]\((.*?)\)", description)
    assert links
    assert [link for link in links if not link.startswith("https://")] == []


def test_the_source_archive_builds_the_same_wheel(released: Path, tmp_path: Path) -> None:
    """In another folder, with other permissions, and another terminal, locale, time zone and home directory."""
    subprocess.run(["tar", "-x", "-C", tmp_path, "-f", released / SOURCE], check=True)
    for path in tmp_path.rglob("*"):
        path.chmod(path.stat().st_mode & 0o700)
        os.utime(path, (1e9, 1e9))
    environment = {"COLUMNS": "40", "LC_ALL": "de_DE.UTF-8", "TZ": "Asia/Tehran", "HOME": str(tmp_path)}
    command = [sys.executable, "-B", "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=tmp_path / NAME, env=environment, capture_output=True, check=True)
    assert (tmp_path / WHEEL).read_bytes() == (released / WHEEL).read_bytes()


def test_an_editable_install_has_no_help_files(tmp_path: Path) -> None:
    """They would be wrong after the next change of an option."""
    command = [sys.executable, "-B", "-m", "hatchling", "build", "-t", "wheel:editable", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    with zipfile.ZipFile(tmp_path / WHEEL) as wheel:
        assert [name for name in wheel.namelist() if "/share/" in name] == []
