"""Whole logs for tests: good ones that are hard to count, and every kind of damage."""

from __future__ import annotations

import random
import sys
from hashlib import sha1

from hypothesis import strategies as st

from tests.formats.lines import EXAMPLE

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

compress_zstd = zstd.compress

STARTS = ("2012-02-07 14:01:04", "2012-02-08 14:01:04", "2012-02-29 23:59:59", "0001-01-01 00:00:00")
COUNTRIES = ("??", "de", "dk", "a1", "zz")
ENDS = ("", " obfs3", " obfs2", " <OR>", " <??>", " v4", " v6", " obfs3 v4", " obfs3 v6")
# What is rounded up to 8 goes wrong beside a multiple of it.
COUNTS = (1, 2, 7, 8, 9, 15, 16, 17)


def line(start: str = STARTS[0], country: str = "de", client: int = 0, end: str = "") -> bytes:
    """Make one line of the log.

    Args:
        start: the interval's.
        country: its code.
        client: a number that stands for the client's hash.
        end: further columns, each with a blank before it.
    """
    return f"{start} {country} {sha1(bytes([client])).hexdigest()}{end}\n".encode()


def client_lines(country: str, number: int, end: str = "", first: int = 0, start: str = STARTS[0]) -> bytes:
    """Make the lines of several clients of one country, one line each."""
    return b"".join(line(start, country, client, end) for client in range(first, first + number))


@st.composite
def groups(draw: st.DrawFn) -> list[bytes]:
    """Give the lines of several clients, each several times; other groups may have the same clients."""
    start, country, end = (draw(st.sampled_from(choice)) for choice in (STARTS, COUNTRIES, ENDS))
    first: int = draw(st.integers(0, 4))
    clients: int = draw(st.sampled_from(COUNTS))
    times: int = draw(st.sampled_from(COUNTS[:5]))
    return [line(start, country, client, end) for client in range(first, first + clients)] * times


@st.composite
def logs(draw: st.DrawFn) -> bytes:
    """Give a log in which every line is good: sorted or not, with or without its last newline, or empty."""
    lines = [one for group in draw(st.lists(groups(), max_size=6)) for one in group]
    order = draw(st.sampled_from(("as they came", "sorted", "backwards", "shuffled")))
    if order == "shuffled":
        random.Random(draw(st.integers(0, 9))).shuffle(lines)
    elif order != "as they came":
        lines.sort(reverse=order == "backwards")
    log = b"".join(lines)
    return log if draw(st.booleans()) else log.removesuffix(b"\n")


SECRET = b"192.0.2.77"
"""Is in damaged lines where it fits, and must never be printed."""

DAMAGE = {
    "torn": EXAMPLE[:40] + b"\n",
    "torn early": b"2\n",
    "two lines in one": EXAMPLE[:50] + EXAMPLE,
    "empty line": b"\n",
    "NUL": EXAMPLE[:30] + b"\0" + EXAMPLE[31:],
    "ANSI code": EXAMPLE[:23] + b"\x1b[31m" + SECRET + b"\x1b[0m\n",
    "bad UTF-8": EXAMPLE[:20] + b"\xff\xfe" + EXAMPLE[22:],
    "CRLF": EXAMPLE.replace(b"\n", b"\r\n"),
    "39 digits": EXAMPLE.replace(b"0\n", b"\n"),
    "41 digits": EXAMPLE.replace(b"0\n", b"00\n"),
    "an address for the hash": EXAMPLE[:23] + SECRET + b"\n",
    "country of three letters": EXAMPLE.replace(b"de", b"deu"),
    "capital country": EXAMPLE.replace(b"de", b"DE"),
    "capital hash": EXAMPLE[:23] + b"A" * 40 + b"\n",
    "year 0": EXAMPLE.replace(b"2012", b"0000"),
    "February 30": EXAMPLE.replace(b"02-07", b"02-30"),
    "24 o'clock": EXAMPLE.replace(b"14:01:04", b"24:00:00"),
    "blank behind": EXAMPLE.replace(b"\n", b" \n"),
    "two blanks": EXAMPLE.replace(b" de", b"  de"),
    "columns the wrong way round": EXAMPLE.replace(b"\n", b" v4 obfs3\n"),
    "two families": EXAMPLE.replace(b"\n", b" v4 v6\n"),
    "two transports": EXAMPLE.replace(b"\n", b" obfs2 obfs3\n"),
    "something behind": EXAMPLE.replace(b"\n", b" " + SECRET + b"\n"),
    "long line": SECRET * 50_000 + b"\n",
    "long line that begins well": EXAMPLE.replace(b"\n", b" " + b"x" * 100_000 + b"\n"),
}
