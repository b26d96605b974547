"""The program `obfstats`: its command line, and how it ends. What it can do stands in verbs.py.

Rules:

- What a verb makes goes to standard output as bytes, what it has to say goes to standard error: one line each, what
  happened and what to do.
- Exit status: 0; 1 for bad data; 2 for bad use and for what cannot be read or written; 130 after an interrupt; 141 when
  the reader of standard output went away.
- Nobody ever sees a traceback.
"""

from __future__ import annotations

import argparse
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from obfstats import __version__
from obfstats.printable import one_line
from obfstats.verbs import VERBS, say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Parser(argparse.ArgumentParser):
    """Says what is wrong with a command line in one line."""

    def error(self, message: str) -> NoReturn:
        """End the program with status 2."""
        self.exit(2, f"{self.prog}: {one_line(message)}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `obfstats`; give the exit status.

    Args:
        arguments: the command line behind the program's name; by default this process's.
    """
    if sys.stdout is None:
        say("obfstats", "standard output is closed; send it to a file, or to /dev/null")
        return 2
    try:
        try:
            options = parse(sys.argv[1:] if arguments is None else list(arguments))
            status: int = options.run(options)
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
        say("obfstats", f"cannot write to standard output: {error.strerror}; what came out is not whole")
        return 2
    return status


def parse(words: list[str]) -> argparse.Namespace:
    """Read the command line. Another program's, behind `--`, is not looked at.

    Args:
        words: the command line behind the program's name.

    Returns:
        the verb's options; its `run` does what they say.
    """
    taking = any(verb.takes_command and verb.name in words[:1] for verb in VERBS)
    end = words.index("--") if taking and "--" in words else len(words)
    options, unknown = make_parser(words).parse_known_args(list(_glued(words[:end])))
    if unknown:
        # Options without their values: one may be a secret in the wrong place.
        named = [word.partition("=")[0] for word in unknown if word.startswith("-")] or unknown
        options.refuse(f"unrecognized arguments: {' '.join(named)}{'; PROGRAM stands behind --' if taking else ''}")
    if taking:
        options.command = words[end + 1 :]
        if not options.command:
            options.refuse("name a transport's PROGRAM behind --")
    return options


def _glued(words: Sequence[str]) -> Iterator[str]:
    """Glue a value such as -05:30 to the option before it: by itself argparse would take it for an option."""
    option = ""
    for word in words:
        if option and re.match("-[0-9]", word):
            yield f"{option}={word}"
            option = ""
            continue
        if option:
            yield option
        option = word if word.startswith("--") and "=" not in word else ""
        if not option:
            yield word
    if option:
        yield option


def make_parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Make the parser of the command line.

    Args:
        words: the command line; only verbs that it names have options, for what these need has to be imported.
    """
    parser = Parser(
        prog="obfstats",
        description="Usage statistics of obfuscated Tor bridges: how many are helped and from where, never who.",
        epilog="examples:\n" + "".join(f"  {verb.example}\n" for verb in VERBS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"obfstats {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb in VERBS:
        verb_parser = verbs.add_parser(
            verb.name,
            help=verb.purpose,
            description=f"{verb.purpose[0].upper()}{verb.purpose[1:]}.",
            epilog=f"example:\n  {verb.example}\n{verb.notes}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        if verb.name in words:
            verb.describe(verb_parser)
        verb_parser.set_defaults(run=verb.run, refuse=verb_parser.error)
    return parser
