"""The services of the receiving half: systemd accepts them, their sandbox is tight, docs/running.md describes them."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

from obfstats.cli import parse
from peers import missing
from peers.program import OBFSTATS

PACKAGING = Path(__file__).parents[2] / "packaging"
UNITS = PACKAGING / "systemd"
PAGE = (PACKAGING.parent / "docs" / "running.md").read_text()
PROGRAM = "/opt/obfstats/bin/obfstats"
SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
TIMERS = sorted(path.name for path in UNITS.glob("*.timer"))
SANDBOX = UNITS / "obfstats-.service.d" / "sandbox.conf"
MAX_EXPOSURE = 2.0


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze."""
    missing.need("systemd", "systemd-analyze")
    return subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, check=False)


def exposure(unit: Path) -> float:
    """How exposed systemd finds a service: 0 (best) to 10."""
    printed = analyze("security", "--offline=yes", "--no-pager", unit).stdout
    [level] = re.findall(r"Overall exposure level for \S+: ([\d.]+)", printed)
    return float(level)


def setting(unit: str, name: str) -> str:
    """A setting of a unit."""
    [value] = re.findall(rf"^{name}=(.*)$", (UNITS / unit).read_text(), re.MULTILINE)
    return str(value)


def defaults() -> dict[str, str]:
    """The examples of /etc/default/obfstats."""
    return dict(re.findall(r"^#(\w+)=(.*)$", (PACKAGING / "default" / "obfstats").read_text(), re.MULTILINE))


def command_line(unit: str, options: dict[str, str]) -> list[str]:
    """The words that a service starts its program with. systemd splits the values of unquoted variables at blanks."""
    own = dict(re.findall(r"^Environment=(\w+)=(.*)$", (UNITS / unit).read_text(), re.MULTILINE))
    words: list[str] = []
    for word in setting(unit, "ExecStart").split():
        words += (own | options).get(word[1:], "").split() if word.startswith("$") else [word]
    return words


def page_commands() -> list[str]:
    """The command lines of docs/running.md: indented, or in a block of the shell."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    return [line.strip() for block in blocks for line in block.splitlines()] + re.findall(r"(?m)^    (\S.*)", PAGE)


def test_systemd_accepts_every_unit_without_a_word(tmp_path: Path) -> None:
    """`systemd-analyze verify`, with the installed program where the units expect it."""
    shutil.copytree(UNITS, tmp_path / "units")
    for path in (tmp_path / "units").glob("*.service"):
        path.write_text(path.read_text().replace(PROGRAM, OBFSTATS))
    units = [path for path in (tmp_path / "units").iterdir() if path.is_file()]
    assert {path.name for path in units} == {*SERVICES, *TIMERS}
    result = analyze("verify", "--man=no", *units)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("unit", SERVICES)
def test_each_service_is_in_a_tight_sandbox(unit: str) -> None:
    """`systemd-analyze security` rates it below 2."""
    assert exposure(UNITS / unit) < MAX_EXPOSURE


def test_it_is_the_common_sandbox_that_makes_them_tight(tmp_path: Path) -> None:
    """So systemd reads it for each of them: without it, a service is exposed."""
    shutil.copy(UNITS / "obfstats-collect.service", tmp_path)
    assert exposure(tmp_path / "obfstats-collect.service") > MAX_EXPOSURE


def test_drop_ins_of_the_page_keep_the_sandbox_tight(tmp_path: Path) -> None:
    """Another machine's collector, and a cluster: systemd knows the settings, and the rating stays below 2."""
    [any_address, cluster] = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)
    shutil.copytree(UNITS, tmp_path / "units")
    for unit, text in (("obfstats-mirror.service", any_address), ("obfstats-analyse.service", cluster)):
        path = tmp_path / "units" / unit
        path.write_text(path.read_text().replace(PROGRAM, OBFSTATS))
        folder = tmp_path / "units" / f"{unit}.d"
        folder.mkdir()
        (folder / "override.conf").write_text(text)
        assert analyze("verify", "--man=no", path).stderr == ""
        assert exposure(UNITS / unit) < exposure(path) < MAX_EXPOSURE


@pytest.mark.parametrize("options", [{}, defaults()], ids=["none", "examples"])
@pytest.mark.parametrize("unit", SERVICES)
def test_the_program_understands_each_service_s_command_line(unit: str, options: dict[str, str]) -> None:
    """As it is, and with the examples of /etc/default/obfstats."""
    program, *words = command_line(unit, options)
    assert program == PROGRAM
    assert parse(words).command.name == {"obfstats-collect.service": "collect serve"}.get(unit, words[0])


def test_each_variable_of_the_defaults_is_read_by_a_service() -> None:
    """/etc/default/obfstats offers what there is, all of it; the page sets nothing else."""
    read = {name for unit in SERVICES for name in re.findall(r"\$(\w+)", setting(unit, "ExecStart"))}
    assert set(defaults()) == read
    assert set(re.findall(r"(?m)^    ([A-Z_]+)=", PAGE)) <= read


@pytest.mark.parametrize("unit", SERVICES)
def test_a_service_writes_to_the_folder_that_systemd_makes_for_it(unit: str) -> None:
    """Its last path is its StateDirectory, and the other folders it names are those of other services."""
    folders = {name: f"/var/lib/{setting(name, 'StateDirectory')}" for name in SERVICES}
    paths = [word for word in command_line(unit, {}) if word.startswith("/var/lib/")]
    assert folders[unit] in paths
    assert all(any(folder.startswith(path) for folder in folders.values()) for path in paths)


def test_each_timer_has_a_service() -> None:
    """A timer starts the service of its name."""
    assert {timer.replace(".timer", ".service") for timer in TIMERS} <= set(SERVICES)


def test_the_analysis_starts_the_site() -> None:
    """So it needs no timer, and never runs before the tables are written."""
    assert setting("obfstats-analyse.service", "OnSuccess") == "obfstats-site.service"


def test_the_users_are_made(tmp_path: Path) -> None:
    """systemd-sysusers reads our file, in a root folder of its own."""
    missing.need("systemd", "systemd-sysusers")
    (tmp_path / "etc").mkdir()
    command = ["systemd-sysusers", f"--root={tmp_path}", "--dry-run", str(PACKAGING / "sysusers.d" / "obfstats.conf")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert set(re.findall("Creating user '([^']+)'", result.stderr)) == {setting(unit, "User") for unit in SERVICES}


def test_what_a_mirror_has_got_today_is_not_deleted(tmp_path: Path) -> None:
    """systemd-tmpfiles reads our file without a word; the index has files of the last three days."""
    missing.need("systemd", "systemd-tmpfiles")
    document = tmp_path / "var" / "lib" / "obfstats" / "mirrored" / "documents" / "recent" / "obfsproxy-stats" / "today"
    document.parent.mkdir(parents=True)
    document.touch()
    command = ["systemd-tmpfiles", f"--root={tmp_path}", "--clean", str(PACKAGING / "tmpfiles.d" / "obfstats.conf")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("", "")
    assert document.exists()
    rule = re.search(
        r"(?m)^e /var/lib/obfstats/mirrored/\*/recent - - - (\d+)d$",
        (PACKAGING / "tmpfiles.d" / "obfstats.conf").read_text(),
    )
    assert rule
    assert int(rule[1]) > 3


def test_the_page_s_table_is_that_of_the_units() -> None:
    """Each service with its user, its folder and its network."""
    rows = re.findall(r"(?m)^\| `(obfstats-[a-z-]+)` \| `([a-z-]+)` \| `([^`]+)` \| (\w+) \|", PAGE)
    networks = {"IPAddressAllow=localhost": "loopback", "IPAddressAllow=any": "all", "PrivateNetwork=yes": "none"}

    def describe(unit: str) -> tuple[str, ...]:
        [network] = [word for line, word in networks.items() if f"\n{line}\n" in (UNITS / unit).read_text()]
        folder = f"/var/lib/{setting(unit, 'StateDirectory')}"
        return unit.removesuffix(".service"), setting(unit, "User"), folder, network

    assert sorted(rows) == sorted(map(describe, SERVICES))


def test_the_page_s_commands_exist() -> None:
    """The program's own parser reads its command lines; files of the repository, units and users are there."""
    key = "RWSQonsexnGaiMYpANC2fvl2RljkxmQYYSk52you4FLQBIeV96cJVouC"
    lines = page_commands()
    own = [shlex.split(line)[1:] for line in lines if line.startswith(f"{PROGRAM} ")]
    assert len(own) == 2
    for words in own:
        parse([{"KEY": key, "HASHED-FINGERPRINT": "0" * 40}.get(word, word) for word in words])
    files = [word for line in lines for word in shlex.split(line) if re.match(r"packaging/|.*\.lock$", word)]
    assert len(files) >= 7
    assert [name for name in files if not (PACKAGING.parent / name).exists()] == []
    systemctl = [shlex.split(line) for line in lines if line.startswith("systemctl ")]
    units = {word for words in systemctl for word in words if re.fullmatch(r"obfstats-[a-z.-]+", word)}
    assert len(units) >= 6
    assert [unit for unit in units if not any((UNITS / name).exists() for name in (unit, f"{unit}.service"))] == []


def test_no_unit_repeats_a_setting_of_the_sandbox() -> None:
    """What a unit repeats of the common sandbox would be forgotten in the other place; lists of rules may add up."""
    common = {line.partition("=")[0] for line in SANDBOX.read_text().splitlines() if "=" in line and line[0] != "#"}
    assert len(common) > 20
    for unit in SERVICES:
        parser = ConfigParser(interpolation=None, strict=False)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read(UNITS / unit)
        assert common & set(parser["Service"]) == set()
