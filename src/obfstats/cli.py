"""The program `obfstats`: finds a station's command, runs it, and ends as the command says.

Rules:

- What a command makes goes to standard output as bytes; what it tells the operator goes to standard error, one line
  each: what happened and what to do.
- Exit status: 0; 1 for bad data; 2 for bad use and for what cannot be read or written; 130 after an interrupt; 141 when
  the reader of standard output went away.
- There is never a traceback.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from obfstats import __version__
from obfstats.analyse import commands as analyse
from obfstats.bridge import commands as bridge
from obfstats.collect import commands as collect
from obfstats.commandline import (
    Parser,
    UsageError,
    describe_missing_library,
    fail,
    join_negative_values,
    load,
    print_error,
)
from obfstats.publish import commands as publish
from obfstats.show import commands as show

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from obfstats.commandline import Command

COMMANDS = (*publish.COMMANDS, *bridge.COMMANDS, *collect.COMMANDS, *analyse.COMMANDS, *show.COMMANDS)
GROUPS = collect.GROUPS
DESCRIPTION = "Usage statistics of obfuscated Tor bridges: how many are helped and from where, never who."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `obfstats`.

    Args:
        arguments: the command line after the program's name; by default this process's.

    Returns:
        The exit status.
    """
    if sys.stdout is None:
        print_error("obfstats", "standard output is closed; send it to a file, or to /dev/null")
        return 2
    try:
        try:
            return _run(sys.argv[1:] if arguments is None else arguments)
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        # Closed here, or Python tries to write the rest once more as it ends.
        with suppress(OSError):
            sys.stdout.close()
        if isinstance(error, BrokenPipeError):
            return 141
        print_error("obfstats", f"cannot write to standard output: {error.strerror}; what came out is not whole")
        return 2


def _run(words: Sequence[str]) -> int:
    """Run the command that the words name; return its exit status."""
    options = parse(words)
    command: Command = options.command
    try:
        run = load(command.run)
    except ModuleNotFoundError as error:
        return fail(options.parser.prog, describe_missing_library(error, command.extra))
    try:
        status: int = run(options)
    except UsageError as error:
        options.parser.error(str(error))
    return status


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line. The command line of another program, after `--`, is not looked at.

    Args:
        words: the command line after the program's name.

    Returns:
        The command's options, with the `command` itself and its `parser`.
    """
    takes_program = any(command.takes_program and command.name in words[:1] for command in COMMANDS)
    end = words.index("--") if takes_program and "--" in words else len(words)
    first = 1 if words and words[0] in GROUPS else 0
    options, unknown = make_parser(words).parse_known_args(join_negative_values(words[first:end]))
    parser: Parser = options.parser
    parser.refuse_unknown(unknown, advice="; PROGRAM follows after --" if takes_program else "")
    if takes_program:
        options.program = words[end + 1 :]
        if not options.program:
            parser.error("give a transport's PROGRAM after --")
    return options


def make_parser(words: Sequence[str]) -> Parser:
    """Make the parser of the command line; where its first word is a group of commands, of the words after it.

    Args:
        words: the command line; only the commands that it names get their options, to save time.
    """
    group = words[0] if words and words[0] in GROUPS else ""
    prefix = f"{group} " if group else ""
    commands = [command for command in COMMANDS if command.name.startswith(prefix)]
    parser = Parser(
        prog=f"obfstats {prefix}".rstrip(),
        description=GROUPS.get(group, DESCRIPTION),
        epilog="examples:\n" + "".join(f"  {command.example}\n" for command in commands),
    )
    if not group:
        parser.add_argument("--version", action="version", version=f"obfstats {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in commands:
        name = command.name.removeprefix(prefix)
        subparser = subparsers.add_parser(
            name,
            help=command.purpose,
            description=f"{command.purpose[0].upper()}{command.purpose[1:]}.",
            epilog=f"example:\n  {command.example}\n{command.notes}",
        )
        if name in words:
            command.add_options(subparser)
        subparser.set_defaults(command=command, parser=subparser)
    return parser
