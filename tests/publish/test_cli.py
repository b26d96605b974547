"""The program `obfstats` itself: its help, its version, and what it does not load."""

from __future__ import annotations

import argparse
import re
import shlex
import sys

import pytest

import obfstats
from obfstats import cli
from obfstats import verbs as known
from peers.program import OBFSTATS
from tests.publish.programs import run

verbs = pytest.mark.parametrize("verb", known.VERBS, ids=lambda verb: verb.name)


def options_of(verb: known.Verb) -> list[argparse.Action]:
    """Give what a verb takes on its command line."""
    parser = argparse.ArgumentParser(add_help=False)
    verb.describe(parser)
    return parser._actions


@verbs
def test_help_shows_every_verb_with_an_example(verb: known.Verb) -> None:
    """`obfstats --help` is the list of what it can do."""
    result = run([OBFSTATS, "--help"])
    assert (result.returncode, result.stderr) == (0, b"")
    text = result.stdout.decode()
    assert re.search(rf"^    {verb.name}\s+\w", text, re.MULTILINE)
    assert f"\n  {verb.example}\n" in text


@verbs
def test_a_verbs_help_explains_every_option(verb: known.Verb) -> None:
    """Each option stands there with words behind it, and the example again."""
    text = run([OBFSTATS, verb.name, "--help"]).stdout.decode()
    for option in options_of(verb):
        name = re.escape(option.option_strings[-1] if option.option_strings else str(option.metavar))
        assert re.search(rf"^  (-\w, )?{name}\b.*\s+\w", text, re.MULTILINE)
        assert option.help
    assert f"\n  {verb.example}\n" in text


@verbs
def test_examples_can_be_typed(verb: known.Verb) -> None:
    """The parser takes the example as it stands, up to what is the shell's."""
    words = shlex.split(verb.example.partition(" >")[0].partition(" |")[0])
    assert words[0] == "obfstats"
    assert cli.parse(words[1:]).run is verb.run


def test_version() -> None:
    """One line with the package's version."""
    result = run([OBFSTATS, "--version"])
    assert (result.returncode, result.stdout.decode()) == (0, f"obfstats {obfstats.__version__}\n")


def test_help_loads_nothing_of_any_verb() -> None:
    """`obfstats --help` is instant: no station is loaded, no library, no event loop."""
    result = run([sys.executable, "-X", "importtime", OBFSTATS, "--help"])
    assert result.returncode == 0
    loaded = {row.rpartition("|")[2].strip() for row in result.stderr.decode().splitlines()}
    assert "obfstats.cli" in loaded
    own = {"obfstats", "obfstats.cli", "obfstats.verbs", "obfstats.printable"}
    assert {name for name in loaded if name.startswith("obfstats")} == own
    assert not {name.partition(".")[0] for name in loaded} & {"asyncio", "cryptography", "gmpy2", "iptocc", "uvloop"}


@pytest.mark.parametrize("arguments", [[], ["konvert"], ["--convert"], ["convert"]])
def test_bad_use_is_one_line_that_says_where_help_is(arguments: list[str]) -> None:
    """What was wrong, and what to do."""
    result = run([OBFSTATS, *arguments])
    assert (result.returncode, result.stdout) == (2, b"")
    assert re.fullmatch(r"obfstats( convert)?: .*; see obfstats( convert)? --help\n", result.stderr.decode())


def test_help_into_a_full_disk_is_no_traceback() -> None:
    """Even help may fail to be written."""
    result = run(["bash", "-c", f"{OBFSTATS} --help >/dev/full"])
    assert result.returncode == 2
    assert re.fullmatch(r"obfstats: cannot write to standard output: No space left [^\n]*\n", result.stderr.decode())
