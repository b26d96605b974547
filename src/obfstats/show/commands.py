"""The commands that make pictures of published numbers: `page`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from obfstats.commandline import Command, listen_address

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
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--to",
        type=Path,
        metavar="OUT",
        help="the folder of the page; OUT/index.html is written if it has changed",
    )
    where.add_argument(
        "--serve",
        type=listen_address,
        metavar="HOST:PORT",
        help="write nothing, but show the page to browsers at this address, mostly 127.0.0.1:8086",
    )


COMMANDS: tuple[Command, ...] = (
    Command(
        name="page",
        purpose="make a page of a bridge's documents: how many clients, from where, and since when less",
        example="obfstats page --from published --to page",
        add_options=add_page,
        notes="  obfstats page --from published --serve 127.0.0.1:8086\n",
        run="obfstats.show.page:run_page",
        extra="show",
    ),
)
"""Each needs `extra="show"`. What it runs is imported when it runs: this module stays cheap to import."""
