"""The way of the bridges' documents to a public site: signed, submitted, published, mirrored, analysed, drawn.

Every step is the installed program `obfstats`, as operators run it, and the collector is a real one on loopback. All of
it runs under the machine's own clock: the bridges' first day is over by that, too.

Two bridges are too few to analyse, so simulated ones are analysed together with them. A year of 200 bridges takes a
processor more than a minute; `BRIDGES` and `DAYS` take it ten seconds.
"""

from __future__ import annotations

import secrets
import shlex
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING

from demo import DemoError
from obfstats.collect.index import parse_index, unpack_index
from obfstats.country_names import country_name
from obfstats.formats.document import read_documents
from peers import socks_proxy
from peers.child import Child, ChildError
from peers.program import OBFSTATS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from demo.observed import Observed
    from demo.screen import Screen
    from obfstats.formats.document import Document

BRIDGES, DAYS = 40, 90
"""Simulated bridges, and UTC days."""

BLOCKED, BLOCKED_DAYS, BLOCKED_SHARE = "ir", 14, 0.9
"""In which country how many of its users are lost, in the last days of the simulation."""

_KEYS = "keys"
_PUBLISH_SECONDS = 30.0
_COMMAND_SECONDS = 120.0
_POLL_SECONDS = 0.05


@dataclass
class Journey:
    """One run, filled in while it goes on.

    Attributes:
        folder: where everything but the site is written; commands run there.
        site: the folder of the site.
        sender: the address that the collector sees, of submissions and of the mirror.
        connections: how many it made.
        documents: the document of each bridge, by transport.
        answers: what `obfstats submit` printed for each.
        collector_key: the public key of the collector.
        collector_output: everything that the collector printed.
        read: what `obfstats analyse` printed about its input.
        first_day: the first simulated day.
        last_day: the last one, in which a document's interval ended.
    """

    folder: Path
    site: Path
    sender: str = ""
    connections: int = 0
    documents: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    collector_key: str = ""
    collector_output: str = ""
    read: str = ""
    first_day: date = date.min
    last_day: date = date.min

    @property
    def public(self) -> Path:
        """The collector's public archive."""
        return self.folder / "collector" / "public"

    @property
    def mirrored(self) -> Path:
        """The copy of it."""
        return self.folder / "mirrored"

    @property
    def simulated(self) -> Path:
        """The archives of simulated bridges."""
        return self.folder / "simulated"

    @property
    def results(self) -> Path:
        """The tables of the analysis."""
        return self.folder / "results"

    @property
    def blocked_since(self) -> date:
        """The first day on which the blocked country loses users."""
        return self.last_day - timedelta(days=BLOCKED_DAYS - 1)


def make_journey(screen: Screen, seen: Observed, site: Path) -> Journey:
    """Make the documents of both bridges, and follow them to a site.

    Args:
        screen: where the commands are printed, and what they print.
        seen: the run until here.
        site: an empty folder.

    Raises:
        DemoError: if a program fails.
    """
    journey = Journey(seen.folder, site, sender=f"127.250.{secrets.randbelow(254) + 1}.{secrets.randbelow(254) + 1}")
    _make_documents(screen, journey, {name: bridge.log.name for name, bridge in seen.bridges.items()})
    keys = _make_keys(journey)
    with ExitStack() as running:
        collector, port = _serve(screen, journey, keys, running)
        proxy = running.enter_context(socks_proxy.serve(("127.0.0.1", port), journey.sender))
        through = f"socks5h://127.0.0.1:{proxy.address[1]}"
        _submit(screen, journey, f"http://127.0.0.1:{port}", through)
        _wait_until_published(journey)
        _mirror(screen, journey, f"http://127.0.0.1:{port}", through)
        journey.connections = len(proxy.asked)
    journey.collector_output = collector.stdout + collector.stderr
    _analyse(screen, journey)
    return journey


def published(archive: Path) -> list[bytes]:
    """Give the documents of the recent files that an archive's index has."""
    try:
        index = parse_index(unpack_index((archive / "index.json.xz").read_bytes()))
    except FileNotFoundError:
        return []
    paths = [entry.path for entry in index.files if entry.path.endswith("-obfsproxy-stats")]
    return [b"@type" + text for path in paths for text in (archive / path).read_bytes().split(b"@type")[1:]]


def parse(document: bytes) -> Document:
    """Read the one document of a text."""
    [parsed] = read_documents(document)
    return parsed


def _make_documents(screen: Screen, journey: Journey, logs: Mapping[str, str]) -> None:
    """Make each bridge's document of the interval that is over."""
    screen.heading("From the bridges to a public site: each bridge makes a document of its first day")
    for transport, log in logs.items():
        fingerprint = secrets.token_hex(20).upper()
        arguments = ("convert", "--format", "ticket", "--fingerprint", fingerprint, log)
        _show_command(screen, arguments, f"> {transport}.document")
        text = _run(journey, *arguments).stdout
        (journey.folder / f"{transport}.document").write_text(text)
        journey.documents[transport] = text.encode()
    screen.line()
    for line in text.splitlines():
        screen.line(f"  {line}")


def _make_keys(journey: Journey) -> list[str]:
    """Make each bridge's key; give the public ones."""
    return [_run(journey, "key", "new", "--data-dir", f"{_KEYS}/{name}").stdout.strip() for name in journey.documents]


def _serve(screen: Screen, journey: Journey, keys: list[str], running: ExitStack) -> tuple[Child, int]:
    """Start a collector that admits both keys; give it, and its port."""
    screen.heading("A collector starts, which admits the keys of both bridges and publishes every two seconds")
    arguments = ["collect", "serve", "--dir", "collector", "--listen", "127.0.0.1:0", "--publish-every", "2"]
    for key in keys:
        arguments += ["--admit", key]
    _show_command(screen, arguments)
    collector = Child([OBFSTATS, *arguments], folder=journey.folder)
    running.callback(collector.stop)
    try:
        port = int(collector.wait_for_line("stdout", r"^listening at http://127\.0\.0\.1:([0-9]+)$")[1])
        journey.collector_key = collector.wait_for_line("stdout", "public key is (RW.*)$")[1]
    except ChildError:
        last = (collector.stderr.splitlines() or ["none"])[-1]
        raise DemoError(f"the collector does not listen; its last line: {last}") from None
    for line in collector.stdout.splitlines():
        screen.line(f"  {line}")
    return collector, port


def _submit(screen: Screen, journey: Journey, url: str, through: str) -> None:
    """Send each document, through a proxy as bridges do through tor."""
    screen.heading("Each bridge signs its document with its own key and submits it")
    screen.text("Bridges connect through tor; here a SOCKS proxy of this demonstration is in its place.")
    for name in journey.documents:
        arguments = ("submit", "--to", url, "--through", through, "--data-dir", f"{_KEYS}/{name}", f"{name}.document")
        _show_command(screen, arguments)
        journey.answers[name] = _run(journey, *arguments).stdout
        for line in journey.answers[name].splitlines():
            screen.line(f"  {line}")


def _wait_until_published(journey: Journey) -> None:
    """Wait until the archive has as many documents as were sent.

    Raises:
        DemoError: if it does not get them in time.
    """
    deadline = time.monotonic() + _PUBLISH_SECONDS
    while len(published(journey.public)) < len(journey.documents):
        if time.monotonic() > deadline:
            raise DemoError(f"the collector has not published all documents within {_PUBLISH_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)


def _mirror(screen: Screen, journey: Journey, url: str, through: str) -> None:
    """Copy the archive, with its signatures checked."""
    screen.heading("Someone mirrors the public archive, and checks its signatures")
    arguments = ("mirror", url, journey.mirrored.name, "--key", journey.collector_key, "--through", through)
    _show_command(screen, arguments)
    run = _run(journey, *arguments)
    for line in (run.stdout + run.stderr).splitlines():
        screen.line(f"  {line}")


def _analyse(screen: Screen, journey: Journey) -> None:
    """Analyse the mirrored archive together with simulated bridges, and write the site."""
    journey.last_day = max(date.fromisoformat(parse(document).end[:10]) for document in journey.documents.values())
    journey.first_day = journey.last_day - timedelta(days=DAYS - 1)
    screen.heading(f"The documents are analysed, together with {BRIDGES} simulated bridges of {DAYS} days")
    screen.text(
        f"In the simulation {country_name(BLOCKED)} loses {BLOCKED_SHARE:.0%} of its users on "
        f"{journey.blocked_since}. The analysis leaves yesterday and today out, because their reports have not all "
        "arrived; to have the documents' day in it, it is told to be two days later."
    )
    block = f"{BLOCKED}:{journey.blocked_since}:{BLOCKED_DAYS}:{BLOCKED_SHARE}"
    simulate = ["simulate", "--bridges", str(BRIDGES), "--days", str(DAYS), "--first-day", str(journey.first_day)]
    simulate += ["--block", block, "--to", journey.simulated.name]
    _show_command(screen, simulate)
    _run(journey, *simulate)
    analyse = ["analyse", journey.mirrored.name, journey.simulated.name, "--to", journey.results.name]
    # One worker is this program alone: it takes as long for so few files, and a signal ends all of it.
    analyse += ["--annotations", "simulated/events.csv", "--workers", "1"]
    analyse += ["--as-of", str(journey.last_day + timedelta(days=2))]
    _show_command(screen, analyse)
    journey.read = _run(journey, *analyse).stderr
    for line in journey.read.splitlines():
        screen.text(line)
    screen.heading("And a site for everybody is made of it")
    site = ("site", "--from", journey.results.name, "--to", str(journey.site))
    _show_command(screen, site)
    _run(journey, *site)


def _show_command(screen: Screen, arguments: Sequence[str], rest: str = "") -> None:
    """Print a command line as an operator would type it."""
    screen.command(f"$ obfstats {shlex.join(arguments)} {rest}".rstrip())


def _run(journey: Journey, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run obfstats to its end; a signal ends it, too.

    Raises:
        DemoError: if it fails.
    """
    try:
        return subprocess.run(  # noqa: S603
            [OBFSTATS, *arguments],
            cwd=journey.folder,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        last = (error.stderr.splitlines() or ["none"])[-1]
        raise DemoError(f"obfstats {arguments[0]} failed; its last line: {last}") from None
    except subprocess.TimeoutExpired:
        raise DemoError(f"obfstats {arguments[0]} did not end within {_COMMAND_SECONDS:.0f} s") from None
