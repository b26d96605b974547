"""A bridge by the installed Debian package, from its torrc to a line in its log; script/test-package runs it.

    python3 -m peers.debian_bridge          as root, in a Debian in which nothing else runs, of which it changes
                                            /etc/tor/torrc; prints a line for each thing that it has seen
    python3 -m peers.debian_bridge --wait   also waits for the first batch of the log, up to eleven minutes

Rules:

- Programs, libraries and GeoIP files are those that apt has installed, found where Debian puts them. tor runs by the
  command line of Debian's unit, as debian-tor, with torrc as an operator writes it.
- It has a network of its own, loopback alone, in which the addresses of many countries are this machine's: so clients
  come from there, and nothing leaves the machine.
- The first thing that is not as it should be ends it, with the end of tor's log.
"""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from obfstats.wire.transports import make_transport
from peers.child import START_SECONDS, Child, ChildError
from peers.hello import client_hello
from peers.namespaces import in_own_network
from peers.obfuscated import ObfuscatedClient

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TORRC = Path("/etc/tor/torrc")
STATE = Path("/var/lib/tor/pt_state")
LOG = STATE / "clients.log"
OLD_LOG = Path("/var/log/tor/obfsproxy.log")

BRIDGE_ADDRESS = "203.0.113.1"
"""An address for documentation: tor wants one that is not private."""

PORTS = {"obfs2": 8442, "obfs3": 8443, "obfs4": 8444}

FOUR_LINES = (
    "BridgeRelay 1",
    "ORPort 127.0.0.1:9001",
    "ExtORPort auto",
    "ServerTransportPlugin obfs3 exec /usr/bin/obfsproxy managed",
)
OLD_LINE = (
    f"ServerTransportPlugin obfs2,obfs3 exec /usr/bin/obfsproxy --log-min-severity=info --log-file={OLD_LOG} managed"
)
# With a buffer of one line, a client's line is written when the next client connects.
COUNTING_LINE = "ServerTransportPlugin obfs3 exec /usr/bin/obfsproxy --stats-buffer 1 managed"
WRAP_LINE = "ServerTransportPlugin obfs4 exec /usr/bin/obfstats wrap --stats-buffer 1 -- /usr/bin/obfs4proxy"

CLIENTS = "80.0.0.0/6"
"""Networks of Europe, the Middle East and their neighbours."""

NETWORKS = 120
"""More than those of which lines are held back by default; a random half is written then, within ten minutes."""

BATCH_SECONDS = 660.0

_LOG_LINE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d (?:[a-z]{2}|\?\?) [0-9a-f]{40}$")
_POLL = 0.1


def main() -> int:
    """Run it; return the exit status."""
    try:
        in_own_network(_story)
    except (ChildError, OSError, subprocess.SubprocessError) as error:
        print("\n".join([f"FAILED: {error}", *getattr(error, "__notes__", [])]))
        return 1
    return 0


def _story() -> None:
    """Everything, in this thread's network."""
    for network in (f"{BRIDGE_ADDRESS}/32", CLIENTS):
        _run("ip", "route", "add", "local", network, "dev", "lo")
    _run("sysctl", "--quiet", "--load", "/usr/lib/sysctl.d/60-obfstats.conf")
    value = Path("/proc/sys/net/ipv4/tcp_no_metrics_save").read_text().strip()
    _say(f"sysctl with the package's file: tcp_no_metrics_save is {value}")
    _see_programs()
    _try_four_lines()
    _try_old_line()
    if Path("/usr/bin/obfs4proxy").exists():
        _try_wrap()
    else:
        _say("this release has no obfs4proxy: the wrap was not tried")
    _see_tables()
    _say(f"what is in {STATE}: {' '.join(sorted(path.name for path in STATE.iterdir()))}")


def _see_programs() -> None:
    """Both programs, their pages and their completion."""
    installed = set(_run("dpkg-query", "--listfiles", "obfstats").splitlines())
    pages = {path for path in installed if "/man/man1/obfs" in path}
    wanted = {
        f"/usr/share/man/man1/{name}.1.gz" for name in ("obfsproxy", "obfstats", "obfstats-wrap", "obfstats-convert")
    }
    _expect(wanted <= pages, "a man page is missing")
    completion = {path for path in installed if re.search(r"/(?:vendor[-_])?completions(?:\.d)?/", path)}
    _expect(len(completion) == 6, "completion is missing")
    seconds = min(_time("obfstats", "--help") for _ in range(3))
    version = _run("obfstats", "--version").strip()
    _say(f"{version}; {len(pages)} man pages; completion for bash, fish and zsh; obfstats --help in {seconds:.2f} s")


def _try_four_lines() -> None:
    with _bridge(FOUR_LINES, ["obfs3"]) as tor:
        version = tor.wait_for_line("stdout", r"Tor ([0-9.]+)")[1]
        _say(f"four lines of torrc: tor {version}, as debian-tor, has started obfsproxy and registered obfs3")
        with _client(tor, "obfs3", "/usr/bin/obfsproxy managed"):
            _say("a client's tor, through the same obfsproxy, has fetched the bridge's descriptor by obfs3")
        answered = sum(_visit("obfs3", source) for source in _sources())
        _expect(answered == NETWORKS, f"tor answered {answered} of {NETWORKS} clients")
        _say(f"clients from {NETWORKS} networks have connected by obfs3, and tor has answered each")
        if "--wait" in sys.argv:
            _say("waiting for the first batch, up to eleven minutes")
            _see_log(_wait_for_lines(1, BATCH_SECONDS))
    with _bridge((*FOUR_LINES[:-1], COUNTING_LINE), ["obfs3"]):
        before = len(LOG.read_text().splitlines()) if LOG.exists() else 0
        _expect(all(_visit("obfs3", source) for source in _sources()[:10]), "tor did not answer all clients")
        _say("the same with --stats-buffer 1, without which lines wait for 100 networks and some minutes: 10 clients")
        _see_log(_wait_for_lines(before + 9))


def _try_old_line() -> None:
    with _bridge((*FOUR_LINES[:-1], OLD_LINE), ["obfs2", "obfs3"]):
        clients = {"obfs2": "81.1.2.7", "obfs3": "81.1.2.8"}
        _expect(all(_visit(name, source) for name, source in clients.items()), "tor did not answer both")
        own = OLD_LOG.read_text()
        _expect(not any(source in own for source in clients.values()), f"{OLD_LOG} has a client's address")
        _say("the old line of torrc, --log-min-severity=info --log-file=...: tor answered clients of obfs2 and obfs3")
        _say(f"the log of that line's program has {len(own.splitlines())} lines; the last one: {own.splitlines()[-1]}")


def _try_wrap() -> None:
    before = len(LOG.read_text().splitlines())
    with _bridge((*FOUR_LINES[:-1], WRAP_LINE), ["obfs4"]) as tor:
        for _ in range(2):
            with _client(tor, "obfs4", "/usr/bin/obfs4proxy managed", _obfs4_arguments()):
                pass
        _say("obfstats wrap --stats-buffer 1 before obfs4proxy: two clients' tors have fetched the bridge's descriptor")
        _see_log(_wait_for_lines(before + 1))


@contextmanager
def _bridge(lines: Sequence[str], transports: Sequence[str]) -> Iterator[Child]:
    """Run tor as Debian's unit does, by torrc, until the block ends; wait until its transports are registered."""
    listening = [f"ServerTransportListenAddr {name} 0.0.0.0:{PORTS[name]}" for name in transports]
    TORRC.write_text("\n".join([*lines, *listening, "AssumeReachable 1", ""]))
    tor_user = pwd.getpwnam("debian-tor").pw_uid, grp.getgrnam("debian-tor").gr_gid
    run = Path("/run/tor")
    run.mkdir(exist_ok=True)
    os.chown(run, *tor_user)
    run.chmod(0o2755)
    words = [
        "tor",
        "--defaults-torrc",
        "/usr/share/tor/tor-service-defaults-torrc",
        "-f",
        str(TORRC),
        "--RunAsDaemon",
        "0",
    ]
    # What a machine without the Tor network needs besides torrc.
    alone = [
        "--Address",
        BRIDGE_ADDRESS,
        "--PublishServerDescriptor",
        "0",
        "--SocksPort",
        "0",
        "--Log",
        "notice stdout",
    ]
    with Child([*words, *alone]) as tor, _with_log_of(tor):
        for name in transports:
            tor.wait_for_line("stdout", f"Registered server transport '{name}' at ")
        yield tor


@contextmanager
def _client(bridge: Child, transport: str, command: str, arguments: str = "") -> Iterator[None]:
    """Run a client's tor until it has the bridge's descriptor, which it fetches from the bridge; then the block."""
    fingerprint = Path("/var/lib/tor/fingerprint").read_text().split()[1]
    folder = Path("/tmp/client")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    torrc = folder / "torrc"
    torrc.write_text(
        f"DataDirectory {folder}\nLog notice stdout\nSocksPort auto\nUseBridges 1\n"
        f"ClientTransportPlugin {transport} exec {command}\n"
        f"Bridge {transport} {BRIDGE_ADDRESS}:{PORTS[transport]} {fingerprint} {arguments}\n"
    )
    with Child(["tor", "--defaults-torrc", "/nonexistent", "-f", str(torrc)]) as tor, _with_log_of(bridge, tor):
        tor.wait_for_line("stdout", "new bridge descriptor '", START_SECONDS * 2)
        yield
    shutil.rmtree(folder)


@contextmanager
def _with_log_of(*tors: Child) -> Iterator[None]:
    """Add the ends of tors' logs to an error that leaves the block."""
    try:
        yield
    except Exception as error:
        for tor in tors:
            error.add_note("\n".join(["the end of tor's log:", *(tor.stdout + tor.stderr).splitlines()[-30:]]))
        raise


def _sources() -> list[str]:
    """Addresses in many networks."""
    return [f"{80 + index % 4}.{index % 251}.{index % 13}.9" for index in range(NETWORKS)]


def _visit(transport: str, source: str) -> bool:
    """Connect as a client, and begin TLS as its tor does; tell whether the bridge's tor has answered."""
    bridge = BRIDGE_ADDRESS, PORTS[transport]
    with ObfuscatedClient(make_transport(transport), bridge, source) as client:
        client.sendall(client_hello())
        return client.recv()[:2] == b"\x16\x03"


def _obfs4_arguments() -> str:
    """What follows the fingerprint in a bridge line; obfs4proxy writes it down for the operator."""
    return (STATE / "obfs4_bridgeline.txt").read_text().rpartition("<FINGERPRINT>")[2].strip()


def _wait_for_lines(count: int, seconds: float = START_SECONDS) -> list[str]:
    """Give the log's lines, once there are that many."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        lines = LOG.read_text().splitlines() if LOG.exists() else []
        if len(lines) >= count:
            return lines
        time.sleep(_POLL)
    raise ChildError(f"{LOG} has fewer than {count} lines")


def _see_log(lines: Sequence[str]) -> None:
    status = LOG.stat()
    owner = pwd.getpwuid(status.st_uid).pw_name
    _expect(all(_LOG_LINE.match(line) for line in lines), "a line is not as the ticket has it")
    _expect((owner, status.st_mode & 0o777) == ("debian-tor", 0o600), "others can read it")
    countries = {line.split()[2] for line in lines}
    _say(f"{LOG}: {len(lines)} lines, {len(countries)} countries, owner {owner}, mode 600; the last one: {lines[-1]}")


def _see_tables() -> None:
    """The log becomes the ticket's document; of intervals that restarts cut short or that are not over."""
    convert = ["obfstats", "convert", "--format", "ticket", "--keep-partial", "--all", str(LOG)]
    tables = _run("runuser", "-u", "debian-tor", "--", *convert)
    _expect(tables.startswith("obfsproxy-stats-end "), f"no tables: {tables}")
    for line in tables.splitlines()[:3]:
        _say(f"obfstats convert --format ticket --keep-partial --all: {line[:100]}")


def _time(*command: str) -> float:
    began = time.monotonic()
    _run(*command)
    return time.monotonic() - began


def _run(*command: str) -> str:
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    _expect(finished.returncode == 0, f"{' '.join(command)}: {finished.stdout}{finished.stderr}")
    return finished.stdout


def _expect(right: bool, otherwise: str) -> None:  # noqa: FBT001
    if not right:
        raise ChildError(otherwise)


def _say(sentence: str) -> None:
    print(sentence, flush=True)


if __name__ == "__main__":
    sys.exit(main())
