"""The argument parsers of both programs, read without the generator that the tests check."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from help_files import make_files
from obfstats.bridge.commands import make_obfsproxy_parser
from obfstats.cli import COMMANDS, GROUPS, make_parser
from obfstats.wire.transport_names import RETIRED, TRANSPORT_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
FILES = make_files((ROOT / "CHANGELOG.md").read_text())


def _choices(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    [action] = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    choices: Mapping[str, argparse.ArgumentParser] = action.choices
    return choices


OBFSPROXY = make_obfsproxy_parser()
PARSERS: dict[str, argparse.ArgumentParser] = {
    "obfsproxy": OBFSPROXY,
    **{f"obfsproxy {name}": _choices(OBFSPROXY)[name] for name in ("managed", *TRANSPORT_NAMES)},
    "obfstats": make_parser([]),
    **{f"obfstats {group}": make_parser([group]) for group in GROUPS},
    **{
        f"obfstats {command.name}": _choices(make_parser(command.name.split()))[command.name.split()[-1]]
        for command in COMMANDS
    },
}
"""By the words that a command line begins with."""


def options_of(words: str) -> set[str]:
    """All names of the options of a command."""
    return set(PARSERS[words]._option_string_actions)


def choices_of(words: str) -> dict[str, set[str]]:
    """The choices of those options of a command that have any."""
    return {
        action.option_strings[-1]: set(action.choices)
        for action in PARSERS[words]._actions
        if action.choices is not None and action.option_strings
    }


def following(words: str) -> set[str]:
    """The words that may follow a command's: names of commands, or the choices of its first argument."""
    for action in PARSERS[words]._actions:
        if action.choices is not None and not action.option_strings:
            return {choice.split()[0] for choice in action.choices} - set(RETIRED)
    return set()
