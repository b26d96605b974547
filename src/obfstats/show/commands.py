"""The commands that make pictures of published numbers: `page`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from obfstats.commandline import Command

if TYPE_CHECKING:
    import argparse


def add_page(parser: argparse.ArgumentParser) -> None:
    """Add the options of `obfstats page`."""
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        required=True,
        metavar="DIR",
        help="the folder with one bridge's documents: what --publish DIR wrote",
    )
    parser.add_argument(
        "--to",
        type=Path,
        required=True,
        metavar="OUT",
        help="the folder of the page; OUT/index.html is written if it has changed",
    )


COMMANDS: tuple[Command, ...] = (
    Command(
        name="page",
        purpose="make a page of a bridge's documents: how many clients, from where, and since when less",
        example="obfstats page --from published --to page",
        add_options=add_page,
        run="obfstats.show.page:run_page",
        extra="show",
    ),
)
"""Each needs `extra="show"`. What it runs is imported when it runs: this module stays cheap to import."""
