"""The verbs of `obfstats`, thin. What a verb needs is imported inside it, so that `obfstats --help` is instant."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from obfstats.printable import one_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from obfstats.publish.output import Output
    from obfstats.record import Countries


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


def say(who: str, sentence: str) -> None:
    """Write a line to standard error; where that is closed, nowhere: never to standard output."""
    if sys.stderr is not None:
        print(f"{who}: {one_line(sentence)}", file=sys.stderr)


def _standard_output() -> BinaryIO:
    """Open standard output for bytes: under PYTHONUNBUFFERED `sys.stdout.buffer` is unbuffered and may write a part."""
    return open(sys.stdout.fileno(), "wb", closefd=False)


def _describe_convert(parser: argparse.ArgumentParser) -> None:
    from obfstats.publish import options  # noqa: PLC0415

    options.add_convert(parser)


def _convert(given: argparse.Namespace) -> int:
    from obfstats.publish import options  # noqa: PLC0415
    from obfstats.publish.convert import Conversion, convert  # noqa: PLC0415
    from obfstats.publish.progress import Progress  # noqa: PLC0415

    options.check_convert(given)
    output = None if given.format == options.TABLES else _output(given)
    conversion = Conversion(options.read_rule(given), output, force=given.force)
    with _standard_output() as out:
        return convert(given.logs, conversion, out=out, say=partial(say, "obfstats convert"), progress=Progress())


def _output(given: argparse.Namespace) -> Output:
    """Take what documents are to be like; the countries that there are come from the bridge's GeoIP files."""
    from obfstats.publish import options  # noqa: PLC0415
    from obfstats.publish.output import Noise, Output  # noqa: PLC0415
    from obfstats.publish.rounding import Heading  # noqa: PLC0415

    heading = Heading(given.fingerprint, given.extended)
    if not (given.geoip or given.geoip6 or given.epsilon):
        return Output(given.format, heading)
    countries = _countries(given)
    geoip, geoip6 = countries.origins
    # What nobody named is this machine's, which need not be the bridge's.
    heading = Heading(
        given.fingerprint, given.extended, geoip if given.geoip else None, geoip6 if given.geoip6 else None
    )
    if not given.epsilon:
        return Output(given.format, heading)
    codes = countries.codes
    if codes is None:
        sentence = "--epsilon needs GeoIP files, for the list of countries: install tor-geoipdb, or give --geoip FILE"
        options.refuse(given, sentence)
    return Output(given.format, heading, Noise(given.epsilon, codes, options.read_ledger(given)))


def _countries(given: argparse.Namespace) -> Countries:
    """Open the GeoIP files that are named, or the default ones."""
    from obfstats.publish import options  # noqa: PLC0415
    from obfstats.record import Countries, RecordError  # noqa: PLC0415

    try:
        return Countries.open(given.geoip, given.geoip6)
    except RecordError as error:
        options.refuse(given, str(error))


def _describe_log2stats(parser: argparse.ArgumentParser) -> None:
    from obfstats.publish import options  # noqa: PLC0415

    options.add_log2stats(parser)


def _log2stats(given: argparse.Namespace) -> int:
    from hashlib import blake2b  # noqa: PLC0415

    from obfstats.publish import options  # noqa: PLC0415
    from obfstats.publish.log2stats import Surroundings  # noqa: PLC0415
    from obfstats.publish.old_documents import OldLogs, convert_old  # noqa: PLC0415
    from obfstats.publish.output import Output  # noqa: PLC0415
    from obfstats.publish.progress import Progress  # noqa: PLC0415
    from obfstats.publish.rounding import Heading  # noqa: PLC0415
    from obfstats.record.secret import Secret  # noqa: PLC0415

    options.check_log2stats(given)
    countries, secret = _countries(given), Secret()

    def digest(packed: bytes) -> bytes:
        return blake2b(packed, digest_size=20, key=secret.key).digest()

    old = OldLogs(Surroundings(countries.v4, countries.v6, secret.renew, digest), given.utc_offset, given.empty)
    output = Output(given.format, Heading(given.fingerprint, given.extended, *countries.origins))
    try:
        with _standard_output() as out:
            tell = partial(say, "obfstats log2stats")
            return convert_old(given.logs, old, output, out=out, say=tell, progress=Progress())
    finally:
        secret.forget()


def _describe_audit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a statistics log, documents, tables or tor's lines made of one")


def _audit(given: argparse.Namespace) -> int:
    from obfstats.publish.audit.printing import print_audit  # noqa: PLC0415
    from obfstats.publish.progress import Progress  # noqa: PLC0415

    with _standard_output() as out:
        return print_audit(given.file, out=out, say=partial(say, "obfstats audit"), progress=Progress())


def _describe_wrap(parser: argparse.ArgumentParser) -> None:
    from obfstats.bridge import settings  # noqa: PLC0415

    parser.usage = "%(prog)s [options] -- PROGRAM [ARGUMENT ...]"
    settings.add_log(parser)
    settings.add_statistics(parser)
    settings.add_most_connections(parser.add_argument_group("limits"))


def _wrap(given: argparse.Namespace) -> int:
    from obfstats.bridge import settings  # noqa: PLC0415
    from obfstats.bridge.wrap.main import Options, run_wrap  # noqa: PLC0415
    from obfstats.publish.options import refuse  # noqa: PLC0415

    log = settings.read_log(given)
    try:
        statistics = settings.read_statistics(given)
    except ValueError as error:
        refuse(given, str(error))
    return run_wrap(Options(given.command, log, statistics, given.max_connections))


VERBS = (
    Verb(
        name="convert",
        purpose="turn a bridge's statistics log into tables or documents that may be published (ticket 5047)",
        example="obfstats convert clients.log > tables.txt",
        describe=_describe_convert,
        run=_convert,
        notes="  obfstats convert --format ticket --extended 'clients.log*' > documents.txt\n",
    ),
    Verb(
        name="log2stats",
        purpose="turn the log of an old obfsproxy, of obfs4proxy or of lyrebird into documents (ticket 5047)",
        example="obfstats log2stats --utc-offset +01:00 obfsproxy.log > documents.txt",
        describe=_describe_log2stats,
        run=_log2stats,
    ),
    Verb(
        name="audit",
        purpose="say in plain words what a log or a document gives away",
        example="obfstats audit clients.log",
        describe=_describe_audit,
        run=_audit,
        notes="""
exit status: 0 where nothing speaks against publishing the file, 1 where it should not leave the machine,
2 where it cannot be read or is none of these
""",
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
