"""The commands that show numbers: `page`, `site` and `top`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from obfstats.commandline import Command, argument_type, listen_address

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
    where.add_argument(
        "--textfile",
        type=Path,
        metavar="FILE",
        help="instead of a page, write the last interval's numbers for Prometheus's node_exporter, whose folder of "
        "textfiles has FILE; its name must end in .prom",
    )


def add_top(parser: argparse.ArgumentParser) -> None:
    """Add the options of `obfstats top`."""
    parser.add_argument(
        "--metrics",
        type=listen_address,
        default=listen_address("127.0.0.1:9036"),
        metavar="HOST:PORT",
        help="where the bridge serves its metrics (default: 127.0.0.1:9036)",
    )
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="DIR", help="the folder of --publish: for the last 30 days"
    )
    parser.add_argument("--once", action="store_true", help="print it once and end")


def add_site(parser: argparse.ArgumentParser) -> None:
    """Add the options of `obfstats site`."""
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        required=True,
        metavar="DIR",
        help="the folder with the tables: what --to of obfstats analyse named",
    )
    parser.add_argument(
        "--to", type=Path, required=True, metavar="OUT", help="the folder of the site; only changed files are written"
    )
    parser.add_argument(
        "--url",
        type=argument_type("obfstats.show.site_files:parse_url"),
        metavar="URL",
        help="the address at which OUT is published, for links in the feed (default: links without an address)",
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
    Command(
        name="site",
        purpose="make a public site of the tables of obfstats analyse: where usage falls and rises",
        example="obfstats site --from results --to site",
        add_options=add_site,
        notes="  obfstats site --from results --to /var/www/html --url https://example.org/bridges/\n",
        run="obfstats.show.site:run_site",
        extra="show",
    ),
    Command(
        name="top",
        purpose="show a running bridge in the terminal: its health now, and its days that are over",
        example="obfstats top --from published",
        add_options=add_top,
        notes="""
It reads what the bridge serves with --metrics. The bridge renews that every one to ten minutes, so that it dates no
client. q or Ctrl-C ends it.
""",
        run="obfstats.show.top:run_top",
        extra="show",
    ),
)
"""Each needs `extra="show"`. What it runs is imported when it runs: this module stays cheap to import."""
