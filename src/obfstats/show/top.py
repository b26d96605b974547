"""The command `obfstats top`: a running bridge in the terminal: its health now, and its days that are over.

Its health is what `--metrics` serves; the bridge renews that every one to ten minutes. The days are the documents of
`--publish`. Without their folder, the last interval is read from the metrics, too.
"""

from __future__ import annotations

import math
import os
import select
import signal
import sys
import termios
import time
import tty
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Final

from prometheus_client.parser import text_string_to_metric_families
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from obfstats.commandline import fail, one_line
from obfstats.formats.counts import ROUNDING_STEP
from obfstats.formats.interval import INTERVAL_SECONDS
from obfstats.show.bands import ZERO, total
from obfstats.show.page import read_folder
from obfstats.show.serve import SourceError
from obfstats.show.usage import average_by_country, read_usage, stands_out, whole
from obfstats.show.words import fine_span, sentence_name, span
from obfstats.terminal import make_console

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from rich.console import RenderableType

    from obfstats.show.bands import Band
    from obfstats.show.usage import Day, Usage

    Readings: TypeAlias = Mapping[str, Mapping[str, float]]
    """Numbers by metric and by the value of its label, which is empty where there is no label."""

PROGRAM: Final = "obfstats top"
MAX_ANSWER: Final = 1 << 20
"""Bytes of an answer with metrics that are read."""

_PATIENCE: Final = 5.0
_RENEW_SECONDS: Final = 5.0
_COUNTRIES: Final = 15
_DAYS: Final = 30
_NARROW: Final = 72
"""Columns of a terminal below which averages are left out."""

_NAME_WIDTH: Final = 24
_LEVELS: Final = "▁▂▃▄▅▆▇█"
_MISSING: Final = "·"
_STALE_SECONDS: Final = 1200.0
_REASONS: Final = {
    "protocol": "not the transport's protocol",
    "unfinished": "gone or silent",
    "shed": "too many handshakes",
    "network_share": "too many of a network",
    "orport": "not accepted by tor",
    "limit": "too many connections",
    "shortage": "no descriptors or memory",
}
_TASKS: Final = {"statistics_log": "writing the statistics log", "publish": "publishing", "submit": "submitting"}


def run_top(options: argparse.Namespace) -> int:
    """Run the command.

    Args:
        options: metrics, source and once.

    Returns:
        The exit status: 0; 2 if there is nothing to show.
    """
    console = make_console()
    if options.once or not console.is_terminal or not sys.stdin.isatty():
        health, days = read_metrics(*options.metrics), read_days(options.source)
        if isinstance(health, str) and (days is None or isinstance(days, str)):
            return fail(PROGRAM, health if days is None else f"{health}; {days}")
        console.print(render(health, days, console.width, time.time()))
        return 0
    # Ctrl-C must not interrupt what sets the terminal, or puts it back.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    with _single_keys(), Live(console=console, screen=True, auto_refresh=False) as live, suppress(KeyboardInterrupt):
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
            is_over = False
            while not is_over:
                health, days = read_metrics(*options.metrics), read_days(options.source)
                live.update(render(health, days, console.width, time.time()), refresh=True)
                is_over = _wait_for_end()
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    return 0


@contextmanager
def _single_keys() -> Iterator[None]:
    """Have the terminal give single keys, and not show them, until the block ends."""
    before = termios.tcgetattr(sys.stdin)
    tty.setcbreak(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _wait_for_end() -> bool:
    """Wait until the screen is due again; tell whether q was pressed, or the terminal is gone."""
    stdin = sys.stdin.fileno()
    until = time.monotonic() + _RENEW_SECONDS
    while (left := until - time.monotonic()) > 0:
        if select.select([stdin], [], [], left)[0] and os.read(stdin, 1) in {b"q", b"Q", b""}:
            return True
    return False


def read_metrics(host: str, port: int) -> Readings | str:
    """Read what a bridge serves with `--metrics`; or say in a sentence why that is not possible."""
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    connection = HTTPConnection(host, port, timeout=_PATIENCE)
    readings: Readings = {}
    try:
        connection.request("GET", "/metrics")
        readings = parse_metrics(connection.getresponse().read(MAX_ANSWER).decode("utf-8", "replace"))
    except OSError as error:
        reason = error.strerror or "no answer"
        return f"no metrics at {place} ({reason}): start the bridge with --metrics {place}, or give its --metrics here"
    except (HTTPException, ValueError):
        # Something else listens there.
        pass
    finally:
        connection.close()
    if not {"obfstats_snapshot_timestamp_seconds", "obfstats_start_timestamp_seconds"} <= readings.keys():
        return f"what answers at {place} is no bridge of obfstats; give the address of its --metrics"
    return readings


def parse_metrics(text: str) -> Readings:
    """Read Prometheus's text format; only metrics of ours are kept.

    Raises:
        ValueError: if the text is something else.
    """
    readings: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("obfstats_") and math.isfinite(sample.value):
                readings.setdefault(sample.name, {})[next(iter(sample.labels.values()), "")] = sample.value
    return readings


def read_days(folder: Path | None) -> Usage | str | None:
    """Read a folder's documents, or say in a sentence why there are none. None without a folder."""
    if folder is None:
        return None
    try:
        documents, _ = read_folder(folder)
    except SourceError as error:
        return str(error)
    return read_usage(documents) or f"{folder} has no documents yet: the first comes a day after the bridge's start"


def render(health: Readings | str, days: Usage | str | None, width: int, now: float) -> Group:
    """Render the screen.

    Args:
        health: of the bridge, or why it is not known.
        days: that are over, or why there are none; None to show the last interval that the metrics have.
        width: of the terminal, in characters.
        now: POSIX time.
    """
    parts: list[RenderableType] = [_problem(health)] if isinstance(health, str) else _render_health(health, now)
    parts.append("")
    if isinstance(days, str):
        parts.append(_problem(days))
    elif days is not None:
        parts += _render_days(days, width)
    elif not isinstance(health, str):
        parts += _render_last(health)
    return Group(*parts)


def _problem(sentence: str) -> Text:
    return Text(one_line(sentence), "yellow")


def _render_health(health: Readings, now: float) -> list[RenderableType]:
    def one(name: str) -> float:
        return health.get(name, {}).get("", 0)

    connections, most = one("obfstats_connections"), one("obfstats_max_connections")
    grid = Table.grid(padding=(0, 2))
    version = "".join(health.get("obfstats_build_info", ()))
    grid.add_row("version", Text(one_line(version)))
    grid.add_row("running for", _format_seconds(now - one("obfstats_start_timestamp_seconds")))
    about = f"fewer than {2 * ROUNDING_STEP}" if connections <= ROUNDING_STEP else f"about {connections:,.0f}"
    grid.add_row("connections", f"{about}, of {most:,.0f} at most")
    grid.add_row("relayed", _format_bytes(one("obfstats_relayed_bytes_total")))
    grid.add_row("not relayed", _format_reasons(health.get("obfstats_failed_connections_total", {})))
    grid.add_row("had to wait", _format_reasons(health.get("obfstats_accept_pauses_total", {})))
    if one("obfstats_uncounted_connections_total"):
        grid.add_row("NOT COUNTED", f"{one('obfstats_uncounted_connections_total'):,.0f}")
    failing = [_TASKS.get(task, task) for task, fails in health.get("obfstats_failing", {}).items() if fails]
    errors = one("obfstats_internal_errors_total")
    problems = [*failing, *([f"{errors:,.0f} internal errors"] if errors else [])]
    words = Text(one_line(f"{', '.join(problems)}: see the log"), "red") if problems else Text("nothing", "green")
    grid.add_row("failing", words)
    age = now - one("obfstats_snapshot_timestamp_seconds")
    style = "red" if age > _STALE_SECONDS else "dim"
    return [grid, Text(f"taken {_format_seconds(age)} ago; numbers are coarse, so that they date no client", style)]


def _render_days(usage: Usage, width: int) -> list[RenderableType]:
    """Render the last 30 days, by country."""
    month = usage.month
    last, full = month[-1], whole(month)
    averages = average_by_country(full) if full else {}
    shown = [code for code, band in averages.items() if stands_out(band)][:_COUNTRIES]
    rows = [("all", [day.all for day in month]), *((sentence_name(code), _of_country(month, code)) for code in shown)]
    if len(averages) > len(shown):
        others = [total(band for code, band in day.countries.items() if code not in shown) for day in month]
        rows.append((f"others ({len(averages) - len(shown)})", others))
    is_wide = width >= _NARROW
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("addresses" if usage.counts_addresses else "connections", max_width=_NAME_WIDTH, no_wrap=True)
    table.add_column("last day", justify="right", no_wrap=True)
    if is_wide:
        table.add_column("average", justify="right", no_wrap=True)
    days = _DAYS if width >= _NARROW - _DAYS // 2 else _DAYS // 3
    table.add_column(f"{days} days", no_wrap=True, overflow="crop")
    for name, bands in rows:
        cells = [name, span(bands[-1].lower(), bands[-1].upper())]
        if is_wide:
            known = [band for day, band in zip(month, bands, strict=True) if day.is_whole]
            cells.append(fine_span(total(known) / len(known)) if known else "")
        table.add_row(*(Text(one_line(cell)) for cell in cells), Text(sparkline(month, bands)[-days:]))
    heading = f"until {last.interval.end:%Y-%m-%d %H:%M} UTC; {_MISSING} is a day without a document"
    return [table, Text(heading, "dim")]


def _of_country(days: Sequence[Day], code: str) -> list[Band]:
    return [day.countries.get(code, ZERO) for day in days]


def sparkline(days: Sequence[Day], bands: Sequence[Band]) -> str:
    """Draw the last 30 days, a character each: the higher, the more, from 0 to the largest of them.

    Args:
        days: in order.
        bands: a number for each.
    """
    end = days[-1].interval.end
    largest = max(band.upper() for band in bands)
    characters = [_MISSING] * _DAYS
    for day, band in zip(days, bands, strict=True):
        ago = round((end - day.interval.end).total_seconds() / INTERVAL_SECONDS)
        if ago < _DAYS:
            level = math.ceil(band.upper() / largest * (len(_LEVELS) - 1)) if largest else 0
            characters[_DAYS - 1 - ago] = _LEVELS[level]
    return "".join(characters)


def _render_last(health: Readings) -> list[RenderableType]:
    """Render the last interval as the metrics have it."""
    addresses = health.get("obfstats_interval_addresses", {})
    end = health.get("obfstats_interval_end_timestamp_seconds", {}).get("")
    if end is None or not addresses:
        return [Text("no interval is published yet: the first is over a day after the bridge's start (--publish)")]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("addresses", max_width=_NAME_WIDTH, no_wrap=True)
    table.add_column("published", justify="right", no_wrap=True)
    for code in sorted(addresses, key=lambda code: (-addresses[code], code))[:_COUNTRIES]:
        table.add_row(Text(one_line(sentence_name(code))), f"{addresses[code]:,.0f}")
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(end))
    noise = "; with noise, which small numbers may be alone" if health.get("obfstats_interval_epsilon") else ""
    return [table, Text(f"until {when} UTC{noise}; give --from DIR, the folder of --publish, for 30 days", "dim")]


def _format_reasons(numbers: Mapping[str, float]) -> Text:
    found = [f"{_REASONS.get(reason, reason)}: {number:,.0f}" for reason, number in numbers.items() if number]
    return Text(one_line("; ".join(found) or "hardly any"))


def _format_bytes(number: float) -> str:
    return "less than 2 GiB" if number < 1 << 30 else f"{number / (1 << 30):,.0f} GiB"


def _format_seconds(seconds: float) -> str:
    minutes = max(0, int(seconds)) // 60
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    return f"{days} d {hours} h" if days else f"{hours} h {minutes} min" if hours else f"{minutes} min"
