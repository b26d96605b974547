"""The Debian package: what is in it, what it needs, and what AppArmor lets tor do with it.

script/test-package installs it in fresh releases, and makes a bridge of it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from obfstats import __version__
from peers.missing import need
from tests.packaging.programs import ROOT

if TYPE_CHECKING:
    from pathlib import Path

DEBIAN = ROOT / "packaging" / "debian"
APPARMOR = ROOT / "packaging" / "apparmor" / "abstractions" / "obfstats"


@dataclass(frozen=True)
class Package:
    """The package that script/package has built.

    Attributes:
        path: the .deb.
        status: the exit status of script/package.
        report: what it has printed: what lintian says.
        files: the path of each of its files, with the file that a link leads to.
    """

    path: Path
    status: int
    report: str
    files: dict[str, str]

    def field(self, name: str) -> list[str]:
        """Give the packages that a field names, without versions."""
        text = subprocess.run(
            ["dpkg-deb", "--field", self.path, name], capture_output=True, text=True, check=True
        ).stdout
        return [re.split(r"[ :]", item.strip())[0] for item in text.split(",")]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Package:
    """The package of the files as they are now."""
    for name, provides in {
        "debhelper": "dh",
        "dh-python": "dh_python3",
        "dpkg-dev": "dpkg-buildpackage",
        "lintian": "lintian",
        "pybuild-plugin-pyproject": "/usr/share/doc/pybuild-plugin-pyproject",
        "python3-hatchling": "/usr/lib/python3/dist-packages/hatchling",
    }.items():
        need(name, provides)
    folder = tmp_path_factory.mktemp("package")
    built = subprocess.run([ROOT / "script" / "package", "--to", folder], capture_output=True, text=True, check=False)
    assert built.returncode < 2, built.stdout + built.stderr
    path = folder / f"obfstats_{__version__}_all.deb"
    listed = subprocess.run(["dpkg-deb", "--contents", path], capture_output=True, text=True, check=True).stdout
    names = [line.split(maxsplit=5) for line in listed.splitlines()]
    assert {words[1] for words in names} == {"root/root"}
    pairs = [words[5].removeprefix(".").partition(" -> ") for words in names]
    return Package(
        path, built.returncode, built.stdout, {name: link for name, _, link in pairs if not name.endswith("/")}
    )


def test_the_package_has_the_version_of_the_programs() -> None:
    """debian/changelog begins with the version that the programs print."""
    assert re.match(r"obfstats \((\S+)\)", (DEBIAN / "changelog").read_text()).group(1) == __version__  # type: ignore[union-attr]


def test_lintian_has_no_errors_and_no_warnings(package: Package) -> None:
    """The package is built with Debian's tools, of which later releases remark more than Debian 12's."""
    assert package.status == 0, package.report


def test_the_package_depends_on_what_a_bridge_needs(package: Package) -> None:
    """dh_python3 translates the dependencies of pyproject.toml, but for uvloop, which is named by hand."""
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    libraries = {f"python3-{re.split('[>=;]', line)[0]}" for line in needed}
    assert set(package.field("Depends")) == {"python3", *libraries}


def test_the_package_replaces_the_old_obfsproxy(package: Package) -> None:
    """Debian's package of 2012 to 2017 has the same /usr/bin/obfsproxy."""
    for field in ("Provides", "Conflicts", "Replaces"):
        assert package.field(field) == ["obfsproxy"]


def test_the_package_has_what_an_operator_expects(package: Package) -> None:
    """Both programs, their pages and completion, and the kernel's setting; nothing that starts by itself."""
    assert package.files["/usr/bin/obfsproxy"] == "../libexec/obfstats/obfsproxy"
    pages = {f"/usr/share/man/man1/{name}.1.gz" for name in ("obfsproxy", "obfstats", "obfstats-wrap")}
    completion = {
        f"/usr/share/{folder}"
        for name in ("obfsproxy", "obfstats")
        for folder in (
            f"bash-completion/completions/{name}",
            f"fish/vendor_completions.d/{name}.fish",
            f"zsh/vendor-completions/_{name}",
        )
    }
    others = {"/usr/bin/obfstats", "/usr/lib/sysctl.d/60-obfstats.conf", "/usr/share/doc/obfstats/README.Debian"}
    assert pages | completion | others <= package.files.keys()
    kinds = {re.sub(r"^((?:/usr)?/[^/]+/[^/]+).*", r"\1", name) for name in package.files}
    assert kinds == {
        "/etc/apparmor.d",
        "/usr/bin/obfsproxy",
        "/usr/bin/obfstats",
        "/usr/lib/python3",
        "/usr/lib/sysctl.d",
        "/usr/libexec/obfstats",
        *(f"/usr/share/{name}" for name in ("bash-completion", "doc", "fish", "man", "zsh")),
    }


def test_apparmor_names_the_programs_of_the_package(package: Package) -> None:
    """A rule that lets tor start a program names the file that the package installs, not a link to it."""
    rules = re.findall(r"^  (/usr/(?:bin|libexec)/\S*obfs\w+) rix,", APPARMOR.read_text(), re.MULTILINE)
    assert sorted(rules) == ["/usr/bin/obfstats", "/usr/libexec/obfstats/obfsproxy"]
    assert [package.files[rule] for rule in rules] == ["", ""]


def test_tors_profile_parses_with_our_rules(tmp_path: Path) -> None:
    """The line of README.Debian, in the local part of the profile that is installed with tor."""
    line = re.search(r"echo '(include .*)' >>", (DEBIAN / "README.Debian").read_text())
    assert line
    assert parse_profile(tmp_path, line[1]) == ""


def test_a_second_rule_for_tors_name_of_obfsproxy_does_not_parse(tmp_path: Path) -> None:
    """Why /usr/bin/obfsproxy is a link: once this fails, because Debian's rule is gone, it need not be one."""
    assert "conflicting x modifiers" in parse_profile(tmp_path, "/usr/bin/obfsproxy ix,")


def parse_profile(folder: Path, line: str) -> str:
    """Parse tor's installed profile with our abstraction and a line in its local part; give what the parser says."""
    need("apparmor", "apparmor_parser")
    need("tor", "/etc/apparmor.d/system_tor")
    copy = folder / "apparmor.d"
    shutil.copytree("/etc/apparmor.d", copy, symlinks=True)
    shutil.copy(APPARMOR, copy / "abstractions")
    (copy / "local" / "system_tor").write_text(f"{line}\n")
    command = ["apparmor_parser", "--skip-kernel-load", "--skip-cache", "--base", str(copy), str(copy / "system_tor")]
    parsed = subprocess.run(command, capture_output=True, text=True, check=False)
    kernel = re.compile(r"^(Cache read/write disabled|Warning from stdin).*\n", re.MULTILINE)
    said = kernel.sub("", parsed.stdout + parsed.stderr)
    assert (parsed.returncode == 0) == (not said), said
    return said
