"""What a program's argument parsers offer, as values: the man pages and the completions are made of these.

argparse has no public way to ask a parser for its options. `_actions`, `_action_groups` and `_SubParsersAction` are the
same from Python 3.11 to 3.15, and argparse-manpage and shtab read them, too.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from obfstats.bridge.commands import make_obfsproxy_parser
from obfstats.cli import COMMANDS, GROUPS, make_parser

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from obfstats.commandline import Command

Completion: TypeAlias = Literal["flag", "words", "files", "folders", "text"]
"""What completes a value: there is none, one of the choices, files, folders, nothing."""

_FILES = {"DOCUMENT", "FILE", "INPUT", "LOG"}
_FOLDERS = {"DIR", "OUT"}


@dataclass(frozen=True)
class Argument:
    """An option, or a positional argument.

    Attributes:
        names: of the option, such as -h and --help; empty for a positional argument.
        value: the word that stands for its value, such as FILE; empty for a flag and where there are choices.
        choices: the values that it may have, if they are known.
        kind: what completes its value.
        many: whether several values may follow.
        repeatable: whether the option may be given again.
        required: whether it has to be given.
        purpose: its help.
        group: the heading that it is under in the help; empty for the first.
    """

    names: tuple[str, ...]
    value: str
    choices: tuple[str, ...]
    kind: Completion
    many: bool
    repeatable: bool
    required: bool
    purpose: str
    group: str

    @property
    def summary(self) -> str:
        """The first part of its help, for lists."""
        return re.split(r"; | \(default", self.purpose, maxsplit=1)[0]


@dataclass(frozen=True)
class Verb:
    """A program, a group of commands, a command, or a transport of obfsproxy.

    Attributes:
        words: the beginning of its command line, such as obfstats, collect, serve.
        purpose: its line in the list of commands.
        description: the text of its help before the options.
        epilog: the text of its help after the options.
        arguments: options and positional arguments.
        verbs: what may follow.
        takes_program: whether the command line of another program follows after `--`.
        extra: the extra of the package that it needs, if any.
    """

    words: tuple[str, ...]
    purpose: str
    description: str
    epilog: str
    arguments: tuple[Argument, ...]
    verbs: tuple[Verb, ...] = ()
    takes_program: bool = False
    extra: str = ""

    @property
    def name(self) -> str:
        """Its last word: what a person types next."""
        return self.words[-1]

    @property
    def path(self) -> str:
        """The words after the program's name."""
        return " ".join(self.words[1:])

    @property
    def options(self) -> tuple[Argument, ...]:
        """The arguments that begin with a hyphen."""
        return tuple(argument for argument in self.arguments if argument.names)

    @property
    def positionals(self) -> tuple[Argument, ...]:
        """The other arguments."""
        return tuple(argument for argument in self.arguments if not argument.names)

    def walk(self) -> Iterator[Verb]:
        """Give this, and everything that may follow it."""
        yield self
        for verb in self.verbs:
            yield from verb.walk()


def read_obfsproxy() -> Verb:
    """Read the parser of obfsproxy."""
    parser = make_obfsproxy_parser()
    parsers, purposes = _read_subparsers(parser)
    transports = tuple(
        _read_verb(parsers[name], ("obfsproxy", name), purpose=purpose) for name, purpose in purposes.items()
    )
    return _read_verb(parser, ("obfsproxy",), verbs=transports)


def read_obfstats() -> Verb:
    """Read the parsers of obfstats."""
    verbs: list[Verb] = []
    for name in dict.fromkeys(command.name.split()[0] for command in COMMANDS):
        commands = tuple(_read_command(command) for command in COMMANDS if command.name.split()[0] == name)
        if name in GROUPS:
            purpose = GROUPS[name][0].lower() + GROUPS[name][1:].rstrip(".")
            verbs.append(_read_verb(make_parser([name]), ("obfstats", name), purpose=purpose, verbs=commands))
        else:
            verbs.extend(commands)
    return _read_verb(make_parser([]), ("obfstats",), verbs=tuple(verbs))


def _read_command(command: Command) -> Verb:
    words = command.name.split()
    parsers, purposes = _read_subparsers(make_parser(words))
    return _read_verb(
        parsers[words[-1]],
        ("obfstats", *words),
        purpose=purposes[words[-1]],
        takes_program=command.takes_program,
        extra=command.extra,
    )


def _read_subparsers(
    parser: argparse.ArgumentParser,
) -> tuple[Mapping[str, argparse.ArgumentParser], dict[str, str]]:
    """Give the parsers that may follow, and the purposes of those that the help lists."""
    [action] = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return action.choices, {listed.dest: listed.help or "" for listed in action._choices_actions}


def _read_verb(
    parser: argparse.ArgumentParser,
    words: tuple[str, ...],
    *,
    purpose: str = "",
    verbs: tuple[Verb, ...] = (),
    takes_program: bool = False,
    extra: str = "",
) -> Verb:
    arguments = tuple(
        _read_argument(action, "" if group in {parser._optionals, parser._positionals} else group.title or "")
        for group in parser._action_groups
        for action in group._group_actions
        if not isinstance(action, argparse._SubParsersAction)
    )
    description = parser.description or ""
    return Verb(words, purpose, description, parser.epilog or "", arguments, verbs, takes_program, extra)


def _read_argument(action: argparse.Action, group: str) -> Argument:
    choices = tuple(action.choices or ())
    value = "" if choices or action.nargs == 0 else str(action.metavar or action.dest.upper())
    kind: Completion
    if action.nargs == 0:
        kind = "flag"
    elif choices:
        kind = "words"
    elif value in _FOLDERS:
        kind = "folders"
    elif value in _FILES or action.type is Path:
        kind = "files"
    else:
        kind = "text"
    return Argument(
        names=tuple(action.option_strings),
        value=value,
        choices=choices,
        kind=kind,
        many=action.nargs in {"+", "*"},
        repeatable=isinstance(action, argparse._AppendAction),
        required=action.required and action.nargs not in {"?", "*"},
        purpose=(action.help or "") % vars(action),
        group=group,
    )
