r"""Turn a bridge's statistics log into two tables that may be published (ticket 5047).

    python3 simple.py clients.log > tables.txt
    python3 simple.py clients.log clients.log.1 > tables.txt

It needs Python 3.11 and nothing else: copy this file anywhere, read it, run it. It only reads the logs.

What is read: the statistics log, which has one line for every connection that was counted:

    2012-02-07 14:01:04 de 1234567890123456789012345678901234567890
    |                   |  |
    |                   |  the client's address, scrambled with a secret that is thrown away after 24 hours;
    |                   |  the same client has the same scrambled address until then, and another one afterwards
    |                   the country of that address, ?? if it is not known
    when the 24 hours began in which the client came (UTC); nobody wrote down when exactly

  The name of the transport (obfs3) and the kind of the address (v4 or v6) may follow.

What is printed: for every 24 hours and country the number of connections, then the number of different clients.

What is thrown away: the scrambled addresses, the transports, and the exact numbers. Each number is rounded up to a
  multiple of 8: one client or eight give 8, so that one more or one less does not show, most of the time. What
  rounding does not hide: that there was somebody at all. And who can send clients of his own to your bridge can find
  out after how many of them the number steps, and so what it was.

What stays out: 24 hours that are not over yet. Whoever had a table of the first half of a day and one of the whole
  day could take one from the other and would know who came when. So publish a day once, when it is over.
  Damaged lines stay out as well: they may hold anything, and what is not understood must not be published.
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

# A bridge writes the last lines of its 24 hours up to ten minutes late, at a random moment, so that the file's time
# tells of no client; and its clock may have been put right by up to ten minutes meanwhile. Before that a day is not
# over: who read it then would publish too little, and, reading it again later, what came last.
OVER_AFTER = timedelta(hours=24, minutes=30)

# The parts of a line. Nothing else is let through, not a capital letter and not a second blank.
DATE_TIME_COUNTRY = re.compile(
    rb"[0-9]{4}-[0-9]{2}-[0-9]{2} (?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9] (?:[a-z][a-z0-9]|\?\?) "
)
HEX_DIGITS = b"0123456789abcdef"
TRANSPORT_AND_KIND = re.compile(rb"((?: (?!v[46]\b)(?:[A-Za-z_][A-Za-z0-9_]{0,31}|<OR>|<\?\?>))?(?: v4| v6)?)\n?")

# No line of the log is longer than this many bytes. Of a longer one (a disk fault can leave gigabytes without a line's
# end) no more is ever held in memory.
LONGEST_LINE = 100

# For each interval of 24 hours and country, which is how a line begins: who came, as often as he came. That is what the
# lines say behind the country, with the line's end.
Table = dict[bytes, list[bytes]]


def convert(paths: Sequence[str], *, take_all: bool, now: datetime, out: BinaryIO, say: Callable[[str], None]) -> int:
    """Read the logs, as if they were one, and write the tables.

    Args:
        paths: the logs' names.
        take_all: whether intervals that are not over yet are taken in as well.
        now: the time, UTC.
        out: takes the tables, as bytes.
        say: takes sentences for the operator. No byte of a log but an interval's start is ever in one.

    Returns:
        The exit status: 0; 1 if more than 1 % of a log is damaged (the tables are written all the same); 2 if one
        cannot be read or is no statistics log (nothing is written).
    """
    table: Table = {}
    status = 0
    read_before = set()
    for path in paths:
        name = path if path.isprintable() else ascii(path)
        try:
            with Path(path).open("rb") as log:
                file = os.fstat(log.fileno())
                lines, damaged, first = read_log(log, table)
        except OSError as error:
            say(
                f"cannot read {name}: {error.strerror}; name the statistics log, and run this as a user who may read it"
            )
            return 2
        if lines and lines == damaged:
            say(f"{name} is not a statistics log, not one line is as it should be ({first}); is it the right file?")
            return 2
        if damaged:
            say(f"{name}: {damaged} of {lines} lines are damaged and left out, the first is {first}")
        if damaged * 100 > lines:
            say(f"{name}: more than 1 % is damaged; find out why before you publish the tables")
            status = 1
        # The same file twice is what was asked for; that it was meant is unlikely.
        if (file.st_dev, file.st_ino) in read_before:
            say(f"{name} is the same file as one before it: each of its connections is counted again")
        read_before.add((file.st_dev, file.st_ino))
    if not take_all:
        leave_out_unfinished(table, now, say)
    write_tables(table, out)
    return status


def read_log(log: BinaryIO, table: Table) -> tuple[int, int, str]:
    """Count every line of a log into the table.

    Returns:
        How many lines there are, how many of them are damaged, and where and what the first damage is.
    """
    lines = damaged = 0
    first = ""
    for line in iter(partial(log.readline, LONGEST_LINE), b""):
        lines += 1
        # The columns have fixed places: 2012-02-07 14:01:04 de and a blank are 23 bytes, the scrambled address is 40.
        begin, client = line[:23], line[23:]
        clients = table.get(begin)
        wrong = ""
        if clients is None and not is_date_time_country(begin):
            wrong = "it does not begin with a date, a time and a country"
        elif len(client) == 41 and client.translate(None, HEX_DIGITS) == b"\n":
            pass  # 40 digits and the line's end: nearly every line
        elif len(client) < 40 or client[:40].translate(None, HEX_DIGITS):
            wrong = "there is no scrambled address of 40 hexadecimal digits"
        elif further_columns(client[40:]) is None:
            wrong = "what follows the scrambled address is neither a transport nor v4 or v6"
        else:
            client = client.removesuffix(b"\n") + b"\n"  # the end of the last line may be missing
        if wrong:
            damaged += 1
            first = first or f"line {lines}: {wrong}"
            skip_rest(log, line)
            continue
        if clients is None:
            clients = table[begin] = []
        clients.append(client)
    return lines, damaged, first


def is_date_time_country(begin: bytes) -> bool:
    """Tell whether a line may begin like this; February 30 is no date."""
    if DATE_TIME_COUNTRY.fullmatch(begin) is None:
        return False
    try:
        date.fromisoformat(begin[:10].decode())
    except ValueError:
        return False
    return True


@lru_cache(maxsize=1000)
def further_columns(end: bytes) -> bytes | None:
    """Give what may stand behind the scrambled address, without the line's end; None where something else does."""
    columns = TRANSPORT_AND_KIND.fullmatch(end)
    return columns and columns[1]


def skip_rest(log: BinaryIO, line: bytes) -> None:
    """Go on to the next line, where only the beginning of a giant line has been read."""
    while len(line) >= LONGEST_LINE and not line.endswith(b"\n"):
        line = log.readline(1 << 16)


def leave_out_unfinished(table: Table, now: datetime, say: Callable[[str], None]) -> None:
    """Remove the intervals that are not over yet, those of the future as well, and say which."""
    newest = f"{now - OVER_AFTER:%Y-%m-%d %H:%M:%S}".encode()
    unfinished = [begin for begin in table if begin[:19] > newest]
    for begin in unfinished:
        del table[begin]
    starts = sorted({begin[:19].decode() for begin in unfinished})
    if len(starts) == 1:
        say(f"the interval from {starts[0]} is not over yet and left out; --all takes it in")
    elif starts:
        several = f"{len(starts)} intervals, from {starts[0]} to {starts[-1]},"
        say(f"{several} are not over yet and left out; --all takes them in")


def write_tables(table: Table, out: BinaryIO) -> None:
    """Write both tables, sorted by date, time and country."""
    rows = sorted(table.items())
    out.write(b"Daily rounded total requests by country\n")
    out.writelines(b"%s%d\n" % (begin, round_up(len(clients))) for begin, clients in rows)
    out.write(b"Daily rounded unique IPs by country\n")
    out.writelines(b"%s%d\n" % (begin, round_up(len(set(clients)))) for begin, clients in rows)
    out.flush()


def round_up(number: int) -> int:
    """Round up to the next multiple of 8."""
    return (number + 7) // 8 * 8


def say(sentence: str) -> None:
    """Tell the operator something on standard error; if that is closed, nowhere: never among the tables."""
    if sys.stderr is not None:
        print("simple.py:", sentence, file=sys.stderr)


def main(arguments: Sequence[str]) -> int:
    """Run as a program of its own; give the exit status."""
    parser = argparse.ArgumentParser(
        description="Turn a bridge's statistics log into two tables that may be published.",
        epilog="Example: python3 simple.py clients.log > tables.txt",
    )
    parser.add_argument("logs", metavar="LOG", nargs="+", help="a statistics log; several are read as if they were one")
    parser.add_argument(
        "--all", action="store_true", help="take in intervals that are not over yet: to look at, not to publish"
    )
    options = parser.parse_args(arguments)
    try:
        # Number 1 is standard output. It is opened here so that this is also where it fails.
        with open(1, "wb", closefd=False) as out:
            return convert(options.logs, take_all=options.all, now=datetime.now(UTC), out=out, say=say)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # who reads the tables has seen enough, as in `| head`
        return 141
    except OSError as error:
        say(f"cannot write the tables: {error.strerror}")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
