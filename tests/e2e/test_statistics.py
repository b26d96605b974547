"""A day of a bridge, counted twice: by tor, through the extended ORPort, and by our program. Both publish the same.

One file moves the clocks of both. No client connects between the end of the day and the moment when both have ended
their interval: it would be of the old day for one and of the new day for the other.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from functools import partial
from typing import TYPE_CHECKING

from obfstats.formats.document import read_documents
from obfstats.formats.logline import parse_line
from obfstats.formats.lognames import marks_of
from peers import managed, web, webtunnel
from peers.child import ChildError
from peers.clocks import under
from peers.missing import need
from peers.network import LYREBIRD, OBFS4PROXY, WEBTUNNEL
from peers.program import OBFSTATS
from tests import canary
from tests.e2e.visitors import (
    OURS,
    SECONDS,
    counting,
    is_answer,
    probe,
    statistics_log,
    visit,
    visit_website,
    visit_with,
    wrapping,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from peers.clocks import ProgramClock
    from peers.managed import Managed
    from peers.network import Network
    from peers.tors import Bridge, Client

DAY, MINUTE = 86_400, 60
POLL = 0.05


def options(geoip: Path, *more: str) -> tuple[str, ...]:
    """The program, with what Tor's form of the statistics needs, and a small buffer: batches come during the day."""
    return counting("--geoip", str(geoip), "--stats-columns", "transport,family", "--stats-buffer", "8", *more)


def becomes_true(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for something, within bounds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True


def end_day(bridge: Bridge, clock: ProgramClock, wake: Callable[[], object], wakes: int = 20) -> None:
    """Move the clock past the end of both intervals, and on until our closing batch is written and ours is marked.

    Args:
        bridge: has both.
        clock: the clock of both.
        wake: makes our program read its clock; the last batch waits for up to ten minutes after that.
        wakes: how often to wake it.
    """
    marks, published = marks_of(statistics_log(bridge)), bridge.folder / "stats" / "bridge-stats"
    clock.move(DAY + MINUTE)
    if not becomes_true(published.exists, SECONDS):
        raise ChildError("tor wrote no statistics")
    for _ in range(wakes):
        wake()
        if becomes_true(lambda: marks.exists() and b" whole " in marks.read_bytes(), 0.3):
            return
        clock.move(10 * MINUTE + 1)
    raise ChildError("our program did not mark its interval as whole")


def client_lines(text: Iterable[str]) -> list[str]:
    """The lines about clients; the interval's own stays out: the program starts a moment after its tor."""
    return [line for line in text if line.startswith("bridge-ip")]


def tors(bridge: Bridge) -> list[str]:
    """What tor publishes."""
    return client_lines((bridge.folder / "stats" / "bridge-stats").read_text().splitlines())


def ours(bridge: Bridge, clock: ProgramClock, *options: str) -> list[str]:
    """What `obfstats convert` makes of our log, half an hour later."""
    clock.move(30 * MINUTE)
    result = subprocess.run(
        [OBFSTATS, "convert", "--format", "tor", *options, str(statistics_log(bridge))],
        capture_output=True, check=False, text=True, timeout=SECONDS, env={**os.environ, **under(clock)},
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    return client_lines(result.stdout.splitlines())


def published_by_both(bridge: Bridge, clock: ProgramClock, *options: str) -> list[str]:
    """Give what `obfstats convert`, with these options, and tor publish, which must be the same."""
    lines = ours(bridge, clock, *options)
    assert lines == tors(bridge)
    return lines


def wait_for_tors_day(bridge: Bridge) -> None:
    """Wait until tor's interval has begun, a second or so after its start: it drops the clients that came before.

    If the clock moves before that, tor's interval begins a day late and never ends.
    """
    bridge.wait_for("Opened Control listener connection")
    if not becomes_true(lambda: "1970" not in bridge.ask("status/clients-seen"), SECONDS):
        raise ChildError("tor began no interval")


def wrapped(program: Sequence[str], geoip: Path) -> tuple[str, ...]:
    """A wrap around a program, with what Tor's form of the statistics needs, and a small buffer."""
    options = ("--geoip", str(geoip), "--stats-columns", "transport,family", "--stats-buffer", "8")
    return wrapping(*options, program=program)


def count_a_day(come: Callable[[str], bytes]) -> None:
    """Come from 35 addresses, by their countries next to multiples of eight; two of them come twice."""
    germany, turkey, iran = (
        [canary.address(code) for _ in range(n)] for code, n in {"de": 17, "tr": 9, "ir": 8}.items()
    )
    for address in (*germany, *turkey, *iran, canary.address("??"), germany[0], iran[0]):
        assert is_answer(come(address))


def fetch(client: Client) -> None:
    """Fetch a file through a client that has one bridge only."""
    with web.serve(b"hello") as destination:
        assert web.fetch_digest(client.socks(), destination) == hashlib.sha256(b"hello").hexdigest()


def test_a_days_statistics_are_tors_by_country_and_by_transport(
    network: Network, geoip: Path, clock: ProgramClock
) -> None:
    """34 addresses and a real tor, some by both transports, some twice; the numbers are next to multiples of eight."""
    hosts = {"obfs2": "127.0.0.1", "obfs3": "127.0.0.1"}
    network.wait()
    folder = geoip.parent / "published"
    publishing = options(geoip, "--publish", str(folder), "--extended")
    with network.bridge("counted", publishing, hosts, countries=geoip, clock=clock) as bridge:
        germany, turkey, iran = (
            [canary.address(code) for _ in range(n)] for code, n in {"de": 17, "tr": 8, "ir": 8}.items()
        )
        # One from Turkey uses both and counts twice: nine. One from Iran uses the same one twice and counts once.
        visits = [("obfs3", address) for address in (*germany, turkey[0], canary.address("??"), germany[0])]
        visits += [("obfs2", address) for address in (*turkey, *iran, iran[0])]
        wait_for_tors_day(bridge)
        for name, address in visits:
            assert is_answer(visit(bridge, name, address))
        with network.client("visitor", OURS, bridge.line("obfs3")) as client:
            fetch(client)
        end_day(bridge, clock, partial(probe, bridge, "obfs3"))
        assert becomes_true(lambda: any(folder.glob("2*")), SECONDS)
        # It was published in another form.
        published = published_by_both(bridge, clock, "--all")
    assert published == [
        "bridge-ips de=24,tr=16,??=8,ir=8",
        "bridge-ip-versions v4=40,v6=0",
        "bridge-ip-transports obfs2=16,obfs3=24",
    ]
    # The bridge's own document counts addresses, where tor counts pairs: from Turkey there are eight.
    (document,) = read_documents(next(folder.glob("2*")).read_bytes())
    assert document.ips == {"DE": 24, "??": 8, "IR": 8, "TR": 8}
    assert document.ip_transports == {"obfs2": 16, "obfs3": 24}
    assert document.ip_country_transports is not None
    assert document.ip_country_transports["TR", "obfs3"] == document.ip_country_transports["TR", "obfs2"] == 8
    # It names the bridge as Tor does: by tor's own file.
    fingerprint = (bridge.folder / "fingerprint").read_text().split()[1]
    assert document.fingerprint == hashlib.sha1(bytes.fromhex(fingerprint)).hexdigest()


def test_a_days_statistics_are_tors_by_family(network: Network, geoip: Path, clock: ProgramClock) -> None:
    """Nine addresses of IPv4 by one transport, one of IPv6 twice by the other."""
    hosts = {"obfs2": "127.0.0.1", "obfs3": "::1"}
    network.wait()
    with network.bridge("both", options(geoip), hosts, countries=geoip, clock=clock) as bridge:
        wait_for_tors_day(bridge)
        for _ in range(9):
            assert is_answer(visit(bridge, "obfs2", canary.address("ir")))
        for _ in range(2):
            assert is_answer(visit(bridge, "obfs3"))
        end_day(bridge, clock, partial(probe, bridge, "obfs3"))
        published = published_by_both(bridge, clock)
    assert published == [
        "bridge-ips ir=16,??=8",
        "bridge-ip-versions v4=16,v6=8",
        "bridge-ip-transports obfs2=16,obfs3=8",
    ]


def test_a_days_statistics_are_tors_by_all_three_transports(
    network: Network, geoip: Path, clock: ProgramClock, visitor: Managed
) -> None:
    """36 addresses and a real tor, one of them IPv6, some by two transports, some twice, next to multiples of eight."""
    hosts = {"obfs2": "127.0.0.1", "obfs3": "::1", "obfs4": "127.0.0.1"}
    network.wait()
    with network.bridge("wrapped", wrapped(OBFS4PROXY, geoip), hosts, countries=geoip, clock=clock) as bridge:
        germany, turkey, iran = (
            [canary.address(code) for _ in range(n)] for code, n in {"de": 17, "tr": 8, "ir": 8}.items()
        )
        wait_for_tors_day(bridge)
        # One from Turkey uses both and counts twice: nine. One from Iran uses the same one twice and counts once.
        for address in (*germany, turkey[0], canary.address("??"), germany[0]):
            assert is_answer(visit_with(visitor, bridge, "obfs4", address))
        for address in (*turkey, *iran, iran[0]):
            assert is_answer(visit(bridge, "obfs2", address))
        for _ in range(2):
            assert is_answer(visit(bridge, "obfs3"))
        with network.client("visits", OBFS4PROXY, bridge.line("obfs4")) as client:
            fetch(client)

        # Only clients wake a wrap. Those of the new day do; the buffer holds their lines back.
        def wake() -> None:
            assert is_answer(visit(bridge, "obfs2", canary.address("de")))

        end_day(bridge, clock, wake, 6)
        published = published_by_both(bridge, clock)
    assert published == [
        "bridge-ips de=24,tr=16,??=8,ir=8",
        "bridge-ip-versions v4=40,v6=8",
        "bridge-ip-transports obfs2=16,obfs3=8,obfs4=24",
    ]
    lines = statistics_log(bridge).read_bytes().splitlines()
    assert {parse_line(line).transport for line in lines} == set(hosts)


def test_a_days_statistics_are_tors_in_front_of_lyrebird(
    network: Network, geoip: Path, clock: ProgramClock, tmp_path: Path
) -> None:
    """The wrap around obfs4's program of today; its clients are lyrebird's, and one of them is a real tor."""
    need("lyrebird", "lyrebird")
    network.wait()
    with (
        network.bridge(
            "lyrebird", wrapped(LYREBIRD, geoip), {"obfs4": "127.0.0.1"}, countries=geoip, clock=clock
        ) as bridge,
        managed.client(tmp_path / "visitor", argv=LYREBIRD, transports=["obfs4"]) as visitor,
    ):
        come = partial(visit_with, visitor, bridge, "obfs4")
        wait_for_tors_day(bridge)
        count_a_day(come)
        with network.client("lyrebirds", LYREBIRD, bridge.line("obfs4")) as client:
            fetch(client)
        end_day(bridge, clock, partial(come, canary.address("de")), 6)
        published = published_by_both(bridge, clock)
    assert published == [
        "bridge-ips de=24,tr=16,??=8,ir=8",
        "bridge-ip-versions v4=40,v6=0",
        "bridge-ip-transports obfs4=40",
    ]


def test_a_days_statistics_are_tors_in_front_of_webtunnel(
    network: Network, geoip: Path, clock: ProgramClock, tmp_path: Path
) -> None:
    """Webtunnel's server behind nginx in the wrap: both count the addresses that nginx saw."""
    for package, program in (("lyrebird", "lyrebird"), ("webtunnel", "webtunnel-server"), ("nginx", "nginx")):
        need(package, program)
    network.wait()
    with (
        network.bridge(
            "webtunnel",
            wrapped(WEBTUNNEL, geoip),
            {"webtunnel": "127.0.0.1"},
            countries=geoip,
            clock=clock,
            more=[webtunnel.SERVER_OPTIONS],
        ) as bridge,
        webtunnel.website(tmp_path / "nginx", network.ports.reserve(), bridge.address("webtunnel")) as site,
        managed.client(
            tmp_path / "visitor", argv=LYREBIRD, transports=["webtunnel"], environment=site.trust
        ) as visitor,
    ):
        come = partial(visit_website, visitor, site)
        wait_for_tors_day(bridge)
        count_a_day(come)
        trusting = ["/usr/bin/env", *(f"{name}={value}" for name, value in site.trust.items()), *LYREBIRD]
        line = f"{bridge.line('webtunnel')} {site.arguments(site.address)}"
        with network.client("webtunnels", trusting, line) as client:
            fetch(client)
        end_day(bridge, clock, partial(come, canary.address("de")), 6)
        published = published_by_both(bridge, clock)
    assert published == [
        "bridge-ips de=24,tr=16,??=8,ir=8",
        "bridge-ip-versions v4=40,v6=0",
        "bridge-ip-transports webtunnel=40",
    ]
