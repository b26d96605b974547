"""Tables for people: rich on a terminal, plain text of a fixed width elsewhere.

Names of transports and texts of annotations come from others. They are printed without control characters and are
never read as rich's markup.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from obfstats.commandline import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

PLAIN_WIDTH = 100
"""Columns of text that is not printed on a terminal."""


class _Console(Console):
    """A console that leaves it to the program to end when the reader of its output goes away."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def make_console(file: TextIO | None = None) -> Console:
    """Make a console.

    Args:
        file: where to print; by default standard output.
    """
    file = sys.stdout if file is None else file
    width = None if file.isatty() else PLAIN_WIDTH
    return _Console(file=file, width=width, markup=False, highlight=False, emoji=False)


def print_table(
    console: Console, headings: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int]
) -> None:
    """Print a table.

    Args:
        console: where to print.
        headings: of the columns.
        rows: their cells.
        numbers: indexes of the columns that are aligned to the right; they are never wrapped.
    """
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, heading in enumerate(headings):
        is_number = index in numbers
        table.add_column(heading, justify="right" if is_number else "left", no_wrap=is_number, overflow="fold")
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    console.print(table)
    console.print()


def format_number(number: float) -> str:
    """Write a number of users, rounded to whole ones."""
    return f"{round(number):,}"


def format_change(number: float) -> str:
    """Write a difference of numbers of users with its sign."""
    return f"{round(number):+,}" if round(number) else "0"
