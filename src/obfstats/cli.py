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
        takes_command: whether another program's command line stands behind `--`.
        notes: what else there is to say about it, for its help.
    """

    name: str
    purpose: str
    example: str
    describe: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    takes_command: bool = False
    notes: str = ""


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
        _say("obfstats", f"cannot write to standard output: {error.strerror}; what came out is not whole")
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
    options, unknown = make_parser(words).parse_known_args(words[:end])
    if unknown:
        # Options without their values: one may be a secret in the wrong place.
        named = [word.partition("=")[0] for word in unknown if word.startswith("-")] or unknown
        options.refuse(f"unrecognized arguments: {' '.join(named)}{'; PROGRAM stands behind --' if taking else ''}")
    if taking:
        options.command = words[end + 1 :]
        if not options.command:
            options.refuse("name a transport's PROGRAM behind --")
    return options


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


def _describe_wrap(parser: argparse.ArgumentParser) -> None:
    from obfstats.proxy import settings  # noqa: PLC0415

    parser.usage = "%(prog)s [options] -- PROGRAM [ARGUMENT ...]"
    settings.add_log(parser)
    settings.add_statistics(parser)
    settings.add_most_connections(parser.add_argument_group("limits"))


def _wrap(options: argparse.Namespace) -> int:
    from obfstats.proxy import settings  # noqa: PLC0415
    from obfstats.proxy.wrap.main import Options, run_wrap  # noqa: PLC0415

    log, statistics = settings.read_log(options), settings.read_statistics(options)
    return run_wrap(Options(options.command, log, statistics, options.max_connections))


VERBS = (
    Verb(
        name="convert",
        purpose="turn a bridge's statistics log into tables that may be published (ticket 5047)",
        example="obfstats convert clients.log > tables.txt",
        describe=_describe_convert,
        run=_convert,
    ),
    Verb(
        name="wrap",
        purpose="run another transport's program as tor would, and count its clients",
        example="obfstats wrap -- /usr/bin/obfs4proxy",
        describe=_describe_wrap,
        run=_wrap,
        takes_command=True,
        notes="""
In a bridge's torrc:
  ServerTransportPlugin obfs4 exec /usr/bin/obfstats wrap -- /usr/bin/obfs4proxy
where tor asks for a client's transport, or nobody asks, PROGRAM runs as if it had been started itself.
""",
    ),
)
