r"""Turn a bridge's statistics log into two tables that may be published (ticket 5047).

    python3 simple.py clients.log > tables.txt
    python3 simple.py clients.log clients.log.1 > tables.txt

It needs Python 3.11 or later and nothing else: copy this file anywhere, read it, run it. It only reads the logs.

Input: the statistics log, which has one line for every counted connection:

    2012-02-07 14:01:04 de 1234567890123456789012345678901234567890
    |                   |  |
    |                   |  a hash of the client's address with a secret that is deleted after 24 hours; until then the
    |                   |  same client has the same hash, afterwards another one
    |                   the country of that address, ?? if it is unknown
    the start of the 24-hour interval in which the client connected (UTC); the exact time is not recorded

  The name of the transport (obfs3) and the address family (v4 or v6) may follow.

Output: for every interval and country, the number of connections, then the number of different clients.

What is removed: the hashes, the transports, and the exact numbers. Each number is rounded up to a multiple of 8: one
  to eight clients give 8, so that most of the time one client more or less does not show. What rounding does not hide:
  that there was at least one client. And an attacker who connects to your bridge with clients of his own can find out
  how many of them it takes to reach the next multiple, and so the exact number.

What is left out: intervals that are not over yet. The difference between a table of half a day and one of the whole
  day would show who connected when. So publish an interval once, when it is over.
  Damaged lines are left out as well: they may contain anything, and what is not understood must not be published.
"""

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO

# A bridge writes the last lines of an interval up to ten minutes late, at a random moment, so that the file's time
# shows nothing about a client, and its clock may be corrected by up to ten minutes in the meantime. Tables of an
# earlier time would miss lines, and a second run would show which clients those belong to.
COMPLETE_AFTER = timedelta(hours=24, minutes=30)

# The parts of a line. Nothing else is accepted, not even a capital letter or a second blank.
TIME_AND_COUNTRY = re.compile(
    rb"[0-9]{4}-[0-9]{2}-[0-9]{2} (?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9] (?:[a-z][a-z0-9]|\?\?) "
)
HEX_DIGITS = b"0123456789abcdef"
TRANSPORT_AND_FAMILY = re.compile(rb"((?: (?!v[46]\b)(?:[A-Za-z_][A-Za-z0-9_]{0,31}|<OR>|<\?\?>))?(?: v4| v6)?)\n?")

# No line of the log is longer than this many bytes. Of a longer one (after a disk fault a log may have gigabytes
# without a newline) never more than this is in memory.
MAX_LINE_LENGTH = 100

# For each interval and country (the first 23 bytes of a line): the rest of every line, with its newline.
Table = dict[bytes, list[bytes]]


def convert(paths: Sequence[str], *, take_all: bool, now: datetime, out: BinaryIO, warn: Callable[[str], None]) -> int:
    """Read the logs, as if they were one, and write the tables.

    Args:
        paths: the logs' names.
        take_all: whether intervals that are not over yet are included.
        now: the time, UTC.
        out: the tables are written here, as bytes.
        warn: gets sentences for the operator. They never contain a byte of a log, except an interval's start.

    Returns:
        The exit status: 0; 1 if more than 1 % of a log is damaged (the tables are written anyway); 2 if a log cannot
        be read or is not a statistics log (nothing is written).
    """
    table: Table = {}
    status = 0
    already_read = set()
    for path in paths:
        name = path if path.isprintable() else ascii(path)
        try:
            with Path(path).open("rb") as log:
                file = os.fstat(log.fileno())
                lines, damaged, first = read_log(log, table)
        except OSError as error:
            warn(
                f"cannot read {name}: {error.strerror}; name the statistics log, and run this as a user who may read it"
            )
            return 2
        if lines and lines == damaged:
            warn(f"{name} is not a statistics log: every line is damaged ({first}); is it the right file?")
            return 2
        if damaged:
            warn(f"{name}: {damaged} of {lines} lines are damaged and left out, the first is {first}")
        if damaged * 100 > lines:
            warn(f"{name}: more than 1 % is damaged; find out why before you publish the tables")
            status = 1
        # Naming a file twice is allowed, but probably a mistake.
        if (file.st_dev, file.st_ino) in already_read:
            warn(f"{name} is the same file as one before it: each of its connections is counted again")
        already_read.add((file.st_dev, file.st_ino))
    if not take_all:
        remove_unfinished(table, now, warn)
    write_tables(table, out)
    return status


def read_log(log: BinaryIO, table: Table) -> tuple[int, int, str]:
    """Add every line of a log to the table.

    Returns:
        The number of lines, how many of them are damaged, and where and why the first is damaged.
    """
    lines = damaged = 0
    first = ""
    for line in iter(partial(log.readline, MAX_LINE_LENGTH), b""):
        lines += 1
        # The columns have fixed widths: "2012-02-07 14:01:04 de " is 23 bytes, the hash is 40.
        begin, rest = line[:23], line[23:]
        rests = table.get(begin)
        reason = ""
        if rests is None and not is_time_and_country(begin):
            reason = "it does not begin with a date, a time and a country"
        elif len(rest) == 41 and rest.translate(None, HEX_DIGITS) == b"\n":
            pass  # 40 digits and the newline: nearly every line
        elif len(rest) < 40 or rest[:40].translate(None, HEX_DIGITS):
            reason = "it has no hash of 40 hexadecimal digits"
        elif further_columns(rest[40:]) is None:
            reason = "what follows the hash is neither a transport nor v4 or v6"
        else:
            rest = rest.removesuffix(b"\n") + b"\n"  # the last line's newline may be missing
        if reason:
            damaged += 1
            first = first or f"line {lines}: {reason}"
            skip_rest(log, line)
            continue
        if rests is None:
            rests = table[begin] = []
        rests.append(rest)
    return lines, damaged, first


def is_time_and_country(begin: bytes) -> bool:
    """Tell whether these are a date that exists, a time and a country, each with a blank after it."""
    if TIME_AND_COUNTRY.fullmatch(begin) is None:
        return False
    try:
        date.fromisoformat(begin[:10].decode())
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1000)
def further_columns(suffix: bytes) -> bytes | None:
    """Give the columns after the hash, without the newline; None if they are not a transport and an address family."""
    columns = TRANSPORT_AND_FAMILY.fullmatch(suffix)
    return columns and columns[1]


def skip_rest(log: BinaryIO, line: bytes) -> None:
    """Skip the rest of a line of which only the first bytes were read."""
    while len(line) >= MAX_LINE_LENGTH and not line.endswith(b"\n"):
        line = log.readline(1 << 16)


def remove_unfinished(table: Table, now: datetime, warn: Callable[[str], None]) -> None:
    """Remove the intervals that are not over yet, including those that begin in the future."""
    newest = f"{now - COMPLETE_AFTER:%Y-%m-%d %H:%M:%S}".encode()
    unfinished = [begin for begin in table if begin[:19] > newest]
    for begin in unfinished:
        del table[begin]
    starts = sorted({begin[:19].decode() for begin in unfinished})
    if len(starts) == 1:
        warn(f"the interval from {starts[0]} is not over yet and left out; --all includes it")
    elif starts:
        several = f"{len(starts)} intervals, from {starts[0]} to {starts[-1]},"
        warn(f"{several} are not over yet and left out; --all includes them")


def write_tables(table: Table, out: BinaryIO) -> None:
    """Write both tables, sorted by date, time and country."""
    rows = sorted(table.items())
    out.write(b"Daily rounded total requests by country\n")
    out.writelines(b"%s%d\n" % (begin, round_up(len(rests))) for begin, rests in rows)
    out.write(b"Daily rounded unique IPs by country\n")
    out.writelines(b"%s%d\n" % (begin, round_up(len(set(rests)))) for begin, rests in rows)
    out.flush()


def round_up(number: int) -> int:
    """Round up to the next multiple of 8."""
    return (number + 7) // 8 * 8


def warn(sentence: str) -> None:
    """Write a line to standard error; if that is closed, write nothing, so that it never gets into the tables."""
    if sys.stderr is not None:
        print("simple.py:", sentence, file=sys.stderr)


def main(arguments: Sequence[str]) -> int:
    """Run as a program; give the exit status."""
    parser = argparse.ArgumentParser(
        description="Turn a bridge's statistics log into two tables that may be published.",
        epilog="Example: python3 simple.py clients.log > tables.txt",
    )
    parser.add_argument("logs", metavar="LOG", nargs="+", help="a statistics log; several are read as if they were one")
    parser.add_argument(
        "--all", action="store_true", help="include intervals that are not over yet: to look at, not to publish"
    )
    options = parser.parse_args(arguments)
    try:
        # 1 is standard output. It is opened here so that opening it cannot fail with a traceback.
        with open(1, "wb", closefd=False) as out:
            return convert(options.logs, take_all=options.all, now=datetime.now(UTC), out=out, warn=warn)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of the tables has ended, as in `| head`
        return 141
    except OSError as error:
        warn(f"cannot write the tables: {error.strerror}")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
