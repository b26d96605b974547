"""The command line of `obfstats`: its help, its version, what it does not load, and how it refuses."""

from __future__ import annotations

import argparse
import re
import shlex
import sys

import pytest

import obfstats
from obfstats import cli
from obfstats.bridge.commands import make_obfsproxy_parser
from obfstats.commandline import Command, load
from obfstats.proxy.limits import MAX_CONNECTIONS, MAX_HANDSHAKES, NETWORK_DIVISOR
from obfstats.record.batches import DEFAULT_BUFFER
from peers.program import OBFSTATS
from tests.publish.programs import run

commands = pytest.mark.parametrize("command", cli.COMMANDS, ids=lambda command: command.name)


def options_of(command: Command) -> list[argparse.Action]:
    """Give what a command takes on its command line."""
    parser = argparse.ArgumentParser(add_help=False)
    command.add_options(parser)
    return parser._actions


@commands
def test_help_shows_every_command_with_an_example(command: Command) -> None:
    """`obfstats --help` is the list of what it can do."""
    result = run([OBFSTATS, "--help"])
    assert (result.returncode, result.stderr) == (0, b"")
    text = result.stdout.decode()
    assert re.search(rf"^    {command.name}\s+\w", text, re.MULTILINE)
    assert f"\n  {command.example}\n" in text


@pytest.mark.parametrize("group", cli.GROUPS)
def test_a_group_of_commands_has_a_help_of_its_own(group: str) -> None:
    """`obfstats key --help` lists `new` and `show`, with examples, and no command of another group."""
    text = run([OBFSTATS, group, "--help"]).stdout.decode()
    listed = re.findall(r"^    ([a-z]+)\s+\w", text, re.MULTILINE)
    named = [command for command in cli.COMMANDS if command.name.split()[0] == group]
    assert [f"{group} {word}" for word in listed] == [command.name for command in named]
    assert all(f"\n  {command.example}\n" in text for command in named)


@commands
def test_a_commands_help_explains_every_option(command: Command) -> None:
    """Each option has a text, and the example is repeated."""
    text = run([OBFSTATS, *command.name.split(), "--help"]).stdout.decode()
    for option in options_of(command):
        name = re.escape(option.option_strings[-1] if option.option_strings else str(option.metavar))
        assert re.search(rf"^  (-\w, )?{name}\b.*\s+\w", text, re.MULTILINE)
        assert option.help
    assert f"\n  {command.example}\n" in text


@commands
def test_examples_can_be_typed(command: Command) -> None:
    """The parser takes the example as it is, up to what is the shell's, and what the command runs exists."""
    words = shlex.split(command.example.partition(" >")[0].partition(" |")[0])
    assert words[0] == "obfstats"
    assert cli.parse(words[1:]).command is command
    assert callable(load(command.run))


def test_help_names_the_defaults_that_hold() -> None:
    """The numbers in the help are those of the modules that the help does not load."""
    parser = make_obfsproxy_parser()
    words = re.sub(r"\s+", " ", parser.format_help())
    assert f"connections at once; further ones wait (default: {MAX_CONNECTIONS}," in words
    assert f"one is closed for each new one (default: {MAX_HANDSHAKES})" in words
    assert f"(default: one in {NETWORK_DIVISOR} of --max-connections)" in words
    assert parser.parse_args([]).stats_buffer == DEFAULT_BUFFER


def test_version() -> None:
    """One line with the package's version."""
    result = run([OBFSTATS, "--version"])
    assert (result.returncode, result.stdout.decode()) == (0, f"obfstats {obfstats.__version__}\n")


def test_help_loads_no_station() -> None:
    """`obfstats --help` is instant: lists of commands and small modules are loaded, no library, no event loop."""
    result = run([sys.executable, "-X", "importtime", OBFSTATS, "--help"])
    assert result.returncode == 0
    loaded = {row.rpartition("|")[2].strip() for row in result.stderr.decode().splitlines()}
    names = {name for name in loaded if name.startswith("obfstats.")}
    assert {f"obfstats.{name}.commands" for name in ("analyse", "bridge", "collect", "publish", "show")} <= names
    cheap = re.compile(
        r"obfstats\.((analyse|bridge|collect|publish|show|proxy|wire|formats)(\.commands)?|cli|commandline"
        r"|bridge\.options|wire\.endpoint|wire\.transport_names|formats\.interval|proxy\.limits)"
    )
    assert [name for name in names if not cheap.fullmatch(name)] == []
    heavy = {"asyncio", "cryptography", "fractions", "gmpy2", "iptocc", "logging", "numpy", "socket", "uvloop"}
    assert not {name.partition(".")[0] for name in loaded} & heavy


@pytest.mark.parametrize("arguments", [[], ["konvert"], ["--convert"], ["convert"], ["key"], ["key", "knew"]])
def test_bad_use_is_one_line_that_says_where_help_is(arguments: list[str]) -> None:
    """What was wrong, and what to do."""
    result = run([OBFSTATS, *arguments])
    assert (result.returncode, result.stdout) == (2, b"")
    assert re.fullmatch(r"obfstats( convert| key)?: .*; see obfstats( convert| key)? --help\n", result.stderr.decode())


def test_help_into_a_full_disk_is_no_traceback() -> None:
    """Even help may fail to be written."""
    result = run(["bash", "-c", f"{OBFSTATS} --help >/dev/full"])
    assert result.returncode == 2
    assert re.fullmatch(r"obfstats: cannot write to standard output: No space left [^\n]*\n", result.stderr.decode())


@pytest.mark.parametrize(
    "command", [command for command in cli.COMMANDS if command.extra], ids=lambda command: command.name
)
def test_a_missing_extra_is_named(command: Command) -> None:
    """One line says what to install: the extra, or Debian's package where Debian has all of the extra's libraries."""
    words = shlex.split(command.example)[1:]
    libraries = ("duckdb", "jinja2", "numpy", "pyarrow", "uvicorn")
    missing = "".join(f"sys.modules['{name}'] = None; " for name in libraries)
    program = f"import sys; {missing}from obfstats.cli import main; sys.exit(main({words!r}))"
    debian = r", or Debian's python3-\1" if command.extra == "show" else ""
    result = run([sys.executable, "-c", program])
    assert (result.returncode, result.stdout) == (2, b"")
    assert re.fullmatch(
        rf"obfstats {command.name}: the library (\w+) is not installed; install obfstats\[{command.extra}\]{debian}\n",
        result.stderr.decode(),
    )
