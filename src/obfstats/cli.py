"""The program `obfstats`: its verbs, thin. What a verb needs is imported inside it, so that `--help` is instant.

Rules:

- What a verb makes goes to standard output as bytes, what it has to say goes to standard error: one line each, what
  happened and what to do.
- Exit status: 0; 1 for bad data; 2 for bad use and for what cannot be read or written; 130 after an interrupt; 141 when
  the reader of standard output went away.
- Nobody ever sees a traceback.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from obfstats import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Parser(argparse.ArgumentParser):
    """Says what is wrong with a command line in one line."""

    def error(self, message: str) -> NoReturn:
        """End the program with status 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


@dataclass(frozen=True, slots=True)
class Verb:
    """One thing that `obfstats` can do.

    Attributes:
        name: how it is called.
        purpose: what it does, for the list of verbs.
        example: a command line that can be run as it stands.
        describe: adds its options to a parser.
        run: does it and gives the exit status.
    """

    name: str
    purpose: str
    example: str
    describe: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `obfstats`; give the exit status.

    Args:
        arguments: the command line behind the program's name; by default this process's.
    """
    if sys.stdout is None:
        _say("obfstats", "standard output is closed; send it to a file, or to /dev/null")
        return 2
    try:
        try:
            options = make_parser().parse_args(arguments)
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
        _say("obfstats", f"cannot write to standard output: {error.strerror}; what came out is not whole")
        return 2
    return status


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the whole command line. `run` of what it gives is the verb's."""
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
            epilog=f"example:\n  {verb.example}\n",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        verb.describe(verb_parser)
        verb_parser.set_defaults(run=verb.run)
    return parser


def _say(who: str, sentence: str) -> None:
    """Write a line to standard error; where that is closed, nowhere: never to standard output."""
    if sys.stderr is not None:
        print(f"{who}: {sentence}", file=sys.stderr)


def _standard_output() -> BinaryIO:
    """Open standard output for bytes: under PYTHONUNBUFFERED `sys.stdout.buffer` is unbuffered and may write a part."""
    return open(sys.stdout.fileno(), "wb", closefd=False)


def _describe_convert(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("logs", metavar="LOG", nargs="+", help="a statistics log; several are read as if they were one")
    parser.add_argument(
        "--all", action="store_true", help="take in intervals that are not over yet: to look at, not to publish"
    )
    parser.add_argument(
        "--format",
        choices=("tables", "tor"),
        default="tables",
        help="what to print: the ticket's two tables (the default), or the lines that tor writes of its own clients",
    )


def _convert(options: argparse.Namespace) -> int:
    from datetime import UTC, datetime  # noqa: PLC0415 - `obfstats --help` must be instant

    from obfstats.publish import simple, tor  # noqa: PLC0415

    writers = {"tables": simple.write_tables, "tor": tor.write_statistics}
    with _standard_output() as out:
        return simple.convert(
            options.logs,
            take_all=options.all,
            now=datetime.now(UTC),
            out=out,
            say=lambda sentence: _say("obfstats convert", sentence),
            write=writers[options.format],
        )


VERBS = (
    Verb(
        name="convert",
        purpose="turn a bridge's statistics log into tables that may be published (ticket 5047)",
        example="obfstats convert clients.log > tables.txt",
        describe=_describe_convert,
        run=_convert,
    ),
)
