"""The commands that make numbers of descriptors and documents: `analyse`, `summary`, `explain`, `simulate`."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import TYPE_CHECKING

from obfstats.commandline import Command, argument_type, positive_number

if TYPE_CHECKING:
    import argparse


DUCKDB, SPARK = "duckdb", "spark"

SUMMARY_ROWS = 15
"""Countries, and transports, that a summary names; the others are one row."""


def add_analyse(parser: argparse.ArgumentParser) -> None:
    """Add the options of `obfstats analyse`."""
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        type=Path,
        nargs="+",
        help="a file or folder with descriptors of bridges, as CollecTor has them, or with documents of obfstats; "
        "archives (.tar, .tar.gz, .tar.xz) as they are",
    )
    parser.add_argument(
        "--to", type=Path, required=True, metavar="DIR", help="folder of the results; a later run adds to it"
    )
    parser.add_argument(
        "--annotations",
        type=Path,
        metavar="FILE",
        help="what is known to have happened, with the columns of Tor's metrics-timeline: CSV, or a table in Markdown",
    )
    parser.add_argument(
        "--as-of",
        type=argument_type(_parse_date),
        metavar="YYYY-MM-DD",
        help="estimate as on this day: it and the day before are left out, as not all reports have arrived (default: "
        "today)",
    )
    parser.add_argument(
        "--workers", type=positive_number, metavar="N", help="processes that read (default: one for each processor)"
    )
    parser.add_argument(
        "--engine",
        choices=(DUCKDB, SPARK),
        default=DUCKDB,
        help="what computes Tor Metrics' estimate: this machine, or a cluster (default: duckdb)",
    )
    parser.add_argument(
        "--spark",
        metavar="sc://HOST:PORT",
        help="with --engine spark: the Spark Connect server; DIR must be on all machines",
    )


def add_simulate(parser: argparse.ArgumentParser) -> None:
    """Add the options of `obfstats simulate`."""
    parser.add_argument(
        "--bridges", type=positive_number, required=True, metavar="N", help="bridges that run at a time"
    )
    parser.add_argument("--days", type=positive_number, required=True, metavar="D", help="UTC days")
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="a new or empty folder for the files")
    parser.add_argument(
        "--first-day",
        type=argument_type(_parse_date),
        default=dt.date(2026, 3, 1),
        metavar="YYYY-MM-DD",
        help="the first day (default: 2026-03-01)",
    )
    parser.add_argument(
        "--seed", type=positive_number, default=1, metavar="N", help="the same seed gives the same files (default: 1)"
    )
    parser.add_argument(
        "--users", type=positive_number, metavar="N", help="users of all bridges (default: 20 a bridge)"
    )
    parser.add_argument(
        "--noise",
        type=argument_type(_parse_share),
        default=0.15,
        metavar="SIGMA",
        help="log-sd of each bridge's own ups and downs, from 0 to 1 (default: 0.15)",
    )
    parser.add_argument(
        "--served",
        type=argument_type(_parse_share),
        default=0.0,
        metavar="SHARE",
        help="share of bridges that have upgraded to a tor that writes served= by the last day (default: 0)",
    )
    parser.add_argument(
        "--block",
        type=argument_type(_parse_blocking),
        action="append",
        default=[],
        metavar="CC:DATE:DAYS:SHARE[:TRANSPORT]",
        help="a country loses this share of its users for so many days; may be given several times",
    )
    parser.add_argument(
        "--forge",
        type=argument_type(_parse_forgery),
        action="append",
        default=[],
        metavar="N:CC:DATE:REQUESTS[:DAYS]",
        help="N bridges claim so many requests of a country a day; with DAYS four times as many every so many days, "
        "from 10 to REQUESTS",
    )
    parser.add_argument(
        "--hourly", action="store_true", help="files of an hour, as CollecTor's folder recent has them, not tarballs"
    )


def add_summary(parser: argparse.ArgumentParser) -> None:
    """Add the options of `obfstats summary`."""
    _add_folder(parser)
    parser.add_argument(
        "--date",
        type=argument_type(_parse_date),
        metavar="YYYY-MM-DD",
        help="the day of the numbers, UTC (default: the last complete one)",
    )
    parser.add_argument(
        "--top",
        type=positive_number,
        default=SUMMARY_ROWS,
        metavar="N",
        help=f"countries and transports to name; the others are one row (default: {SUMMARY_ROWS})",
    )


def add_explain(parser: argparse.ArgumentParser) -> None:
    """Add the options of `obfstats explain`."""
    _add_folder(parser)
    parser.add_argument(
        "--date",
        type=argument_type(_parse_date),
        required=True,
        metavar="YYYY-MM-DD",
        help="the day, UTC; it is compared with the same day of the week before",
    )
    parser.add_argument(
        "--country", type=argument_type(_parse_country), metavar="CC", help="one country (default: all)"
    )
    parser.add_argument("--top", type=positive_number, default=15, metavar="N", help="bridges to name (default: 15)")
    parser.add_argument(
        "--annotations", type=Path, metavar="FILE", help="what is known to have happened, as for obfstats analyse"
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON, for programs: every bridge")


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="where obfstats analyse wrote its results")


def _parse_country(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9]|\?\?", text):
        raise ValueError("give a country's code of two letters, or ?? for unknown")
    return text.lower()


def _parse_date(text: str) -> dt.date:
    if not re.fullmatch("20[0-9]{2}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError("give a date of this century as YYYY-MM-DD")
    return dt.date.fromisoformat(text)


def _parse_share(text: str) -> float:
    if not re.fullmatch(r"[01]|[01]?\.[0-9]{1,6}", text) or float(text) > 1:
        raise ValueError("give a number from 0 to 1, such as 0.15")
    return float(text)


def _parse_blocking(text: str) -> tuple[str, dt.date, int, float, str]:
    country, date, days, share, *transport = _split(text, 4, "a blocking is CC:DATE:DAYS:SHARE[:TRANSPORT]")
    return country.lower(), _parse_date(date), _parse_number(days), _parse_share(share), "".join(transport)


def _parse_forgery(text: str) -> tuple[int, str, dt.date, int, int]:
    bridges, country, date, requests, *days = _split(text, 4, "a forgery is N:CC:DATE:REQUESTS[:DAYS]")
    numbers = [_parse_number(number) for number in (bridges, requests, *(days or ["0"]))]
    return numbers[0], country.lower(), _parse_date(date), numbers[1], numbers[2]


def _split(text: str, least: int, form: str) -> list[str]:
    parts = text.split(":")
    if not least <= len(parts) <= least + 1:
        raise ValueError(form)
    return parts


def _parse_number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,7}", text):
        raise ValueError("give whole numbers of at most seven digits")
    return int(text)


COMMANDS: tuple[Command, ...] = (
    Command(
        name="analyse",
        purpose="turn descriptors of bridges and documents into users by country, with their uncertainty and events",
        example="obfstats analyse bridge-extra-infos-2026-10.tar.xz bridge-statuses-2026-10.tar.xz --to results",
        add_options=add_analyse,
        run="obfstats.analyse.analysis:run_analyse",
        notes="  obfstats analyse collector/recent --to results --annotations timeline.csv\n",
        extra="analyse",
    ),
    Command(
        name="summary",
        purpose="print what an analysis found: users by country and transport, changes, events",
        example="obfstats summary results",
        add_options=add_summary,
        run="obfstats.analyse.summary:run_summary",
        extra="analyse",
    ),
    Command(
        name="explain",
        purpose="explain bridge by bridge why a number of users changed against the week before",
        example="obfstats explain results --date 2026-03-20 --country ir",
        add_options=add_explain,
        run="obfstats.analyse.explain:run_explain",
        extra="analyse",
    ),
    Command(
        name="simulate",
        purpose="write archives of simulated bridges, as Tor publishes them, with the true users beside",
        example="obfstats simulate --bridges 200 --days 60 --to simulated",
        add_options=add_simulate,
        run="obfstats.analyse.simulate_files:run_simulate",
        notes="  obfstats simulate --bridges 200 --days 60 --block ir:2026-03-20:14:0.9 --to simulated\n",
        extra="analyse",
    ),
)
"""Each needs `extra="analyse"`. What it runs is imported when it runs: this module stays cheap to import."""
