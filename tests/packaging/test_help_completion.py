"""bash, zsh and fish complete both programs: each test asks the real shell."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from peers.missing import need
from tests.packaging.programs import FILES, PARSERS, choices_of, following, options_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Complete: TypeAlias = Callable[[Sequence[str]], list[set[str]]]

_END = "@END@"


def _run(command: list[str], cwd: Path) -> list[set[str]]:
    """Run a shell that prints words and an END for each line that it completes."""
    output = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True, timeout=60).stdout
    return [set(filter(None, part.split("\n"))) for part in output.split(f"{_END}\n")[:-1]]


def _complete_bash(folder: Path, lines: Sequence[str]) -> list[set[str]]:
    script = [f"source {folder}/bash-completion/completions/{name}" for name in ("obfsproxy", "obfstats")]
    for line in lines:
        words = re.findall(r"=|[^\s=]+", line) + ([""] if line[-1] == " " else [])
        script.append(f"COMP_WORDS=({shlex.join(words)}) COMP_CWORD={len(words) - 1}; _{words[0]}")
        script.append(f"printf '%s\\n' \"${{COMPREPLY[@]}}\" {_END}")
    return _run(["bash", "--norc", "-c", "\n".join(script)], folder)


def _complete_zsh(folder: Path, lines: Sequence[str]) -> list[set[str]]:
    script = Path(__file__).with_name("complete.zsh")
    return _run(["zsh", "-f", str(script), str(folder / "zsh" / "site-functions"), *lines], folder)


def _complete_fish(folder: Path, lines: Sequence[str]) -> list[set[str]]:
    script = [f"source fish/vendor_completions.d/{name}.fish" for name in ("obfsproxy", "obfstats")]
    script += [f"complete -C {shlex.quote(line)} | string replace -r '\\t.*' ''; echo {_END}" for line in lines]
    return _run(["fish", "--no-config", "-c", "\n".join(script)], folder)


SHELLS = {"bash": _complete_bash, "zsh": _complete_zsh, "fish": _complete_fish}


@pytest.fixture(scope="module", params=SHELLS)
def complete(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Complete:
    """Completes command lines in a shell, in a folder with the files that a package installs."""
    need(request.param, request.param)
    folder = tmp_path_factory.mktemp("share")
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "clients.log").touch()
    (folder / "collector").mkdir()
    return lambda lines: SHELLS[request.param](folder, lines)


def test_every_option_is_offered(complete: Complete) -> None:
    """Of each command its own, and no other."""
    lines = [f"{words} -" for words in PARSERS] + [f"{words} --" for words in PARSERS]
    offered = complete(lines)
    both = [short | long for short, long in zip(offered[: len(PARSERS)], offered[len(PARSERS) :], strict=True)]
    assert dict(zip(PARSERS, both, strict=True)) == {words: options_of(words) for words in PARSERS}


def test_every_command_and_choice_is_offered(complete: Complete) -> None:
    """The words that may follow, and the values of options, with a blank and with an equals sign."""
    expected = {f"{words} ": following(words) for words in PARSERS if following(words)}
    for words in PARSERS:
        for option, choices in choices_of(words).items():
            expected[f"{words} {option} "] = choices
            expected[f"{words} {option}="] = choices
    assert len(expected) >= 10
    offered = [{word.rpartition("=")[2] for word in words} for words in complete(list(expected))]
    assert dict(zip(expected, offered, strict=True)) == expected


def test_files_and_folders_are_offered_where_they_belong(complete: Complete) -> None:
    """A log is a file, a collector's folder a folder, a number neither."""
    lines = ["obfstats convert c", "obfsproxy --log-file c", "obfstats convert --ledger=c"]
    assert [{word.rpartition("=")[2].rstrip("/") for word in words} for words in complete(lines)] == [
        {"clients.log", "collector"}
    ] * len(lines)
    lines = ["obfstats collect serve --dir c", "obfsproxy --no-stats --data-dir c"]
    assert [{word.rstrip("/") for word in words} for words in complete(lines)] == [{"collector"}] * len(lines)
    assert complete(["obfstats convert --days c", "obfsproxy obfs3 --dest c"]) == [set(), set()]


def test_values_do_not_change_the_command(complete: Complete) -> None:
    """A file with the name of a command is a file."""
    [audited, served] = complete(["obfstats audit convert --f", "obfsproxy --log-file F obfs3 --dest 192.0.2.1:1 cl"])
    assert "--format" not in audited
    assert "client" in served


def test_the_program_after_wrap_is_completed(complete: Complete) -> None:
    """Its name among the commands of the machine; then its own arguments."""
    [program, argument] = complete(["obfstats wrap --no-log -- mkfif", "obfstats wrap -- cat clients.l"])
    assert program == {"mkfifo"}
    assert argument == {"clients.log"}
