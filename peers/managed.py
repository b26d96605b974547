"""A transport's program as tor runs it, ours or another: it reads an environment and writes lines to standard output.

    with managed.server(tmp_path, ("127.0.0.1", 9001)) as proxy:
        proxy.methods["obfs3"]          where its obfs3 server listens
        proxy.said()                    every line that it has sent to tor
    with extended.orport(tmp_path) as tor, managed.server(tmp_path, tor) as proxy:
        tor.visits                      what tor was told of the clients
    with managed.client(tmp_path) as proxy:
        socks.connect(proxy.methods["obfs3"], ("127.0.0.1", 443))

For a program that must fail, use `start` with one of the two functions for environments.

Source: pluggable transports specification, version 1.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from obfstats.wire.endpoint import Endpoint
from peers import program
from peers.child import Child, ChildError
from peers.extended import ExtendedOrPort
from peers.geoip import geoip_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

TRANSPORTS = ("obfs2", "obfs3")

_GEOIP6 = "2001:db8::,2001:db8:ffff:ffff:ffff:ffff:ffff:ffff,JP\n"


@dataclass(frozen=True)
class Managed:
    """A running program.

    Attributes:
        child: its process.
        methods: where it listens, by transport: for obfuscated connections as a server, for SOCKS5 as a client.
        errors: why it does not serve a transport, by transport.
    """

    child: Child
    methods: Mapping[str, tuple[str, int]]
    errors: Mapping[str, str]

    def said(self) -> list[str]:
        """Give every line that it has sent to tor so far."""
        return self.child.stdout.splitlines()


def ours(*options: str) -> tuple[str, ...]:
    """Give our program's command line for tor.

    Args:
        options: what precedes the word managed.
    """
    return (*program.ARGV, *options, "managed")


def counting(log: Path, buffer: int = 1) -> tuple[str, ...]:
    """Give the options with which our program counts into a log, by the countries of the loopback networks.

    Args:
        log: the statistics log; the GeoIP files are made beside it.
        buffer: how many lines are held back: with 1 a client's line is written when the next client connects.
    """
    return "--stats-log", str(log), "--stats-buffer", str(buffer), *countries(log.parent)


def countries(folder: Path) -> tuple[str, ...]:
    """Give the options with which our program knows the loopback networks' countries; it starts faster with so few.

    Args:
        folder: where the GeoIP files are made.
    """
    words: list[str] = []
    for option, content in (("--geoip", geoip_text()), ("--geoip6", _GEOIP6)):
        path = folder / option.lstrip("-")
        path.write_text(content)
        words += [option, str(path)]
    return tuple(words)


SILENT = ours("--no-stats")
"""Our program, counting nothing."""

UNDER_ANY_UMASK = ("sh", "-c", 'umask 0; exec "$@"', "sh")
"""What precedes a command line to run it with a umask that lets others read its files."""


@contextmanager
def server(
    state: Path,
    orport: tuple[str, int] | ExtendedOrPort,
    *,
    argv: Sequence[str] = SILENT,
    transports: Sequence[str] = TRANSPORTS,
    binds: Mapping[str, str] | None = None,
    failing: Collection[str] = (),
    environment: Mapping[str, str] | None = None,
    cpu: int | None = None,
) -> Iterator[Managed]:
    """Run it as a bridge's tor does, until the block ends.

    Args:
        state: a folder of its own, which need not be there.
        orport: tor's ORPort, or a stub of its extended one.
        argv: the program and its arguments.
        transports: which ones tor asks for.
        binds: where each of them listens, as ADDRESS:PORT; a free port of 127.0.0.1 for those that are not named.
        failing: the transports that must be refused with an error line.
        environment: variables to set besides, or in place of others.
        cpu: the one core it may run on, or None for all.

    Raises:
        ChildError: if it does not begin to serve, or reports other errors than expected.
    """
    told = server_environment(state, orport, transports=transports, binds=binds)
    with start({**told, **(environment or {})}, argv, cpu=cpu) as child:
        yield _methods(child, "SMETHOD", failing)


@contextmanager
def client(
    state: Path,
    *,
    argv: Sequence[str] = SILENT,
    transports: Sequence[str] = TRANSPORTS,
    failing: Collection[str] = (),
    environment: Mapping[str, str] | None = None,
    cpu: int | None = None,
) -> Iterator[Managed]:
    """Run it as a Tor client does, until the block ends; arguments and errors as for `server`."""
    with start({**client_environment(state, transports), **(environment or {})}, argv, cpu=cpu) as child:
        yield _methods(child, "CMETHOD", failing)


def server_environment(
    state: Path,
    orport: tuple[str, int] | ExtendedOrPort,
    *,
    transports: Sequence[str] = TRANSPORTS,
    binds: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Give what a bridge's tor sets; arguments as for `server`."""
    places = {**dict.fromkeys(transports, "127.0.0.1:0"), **(binds or {})}
    told = {
        **_both(state),
        "TOR_PT_SERVER_TRANSPORTS": ",".join(transports),
        "TOR_PT_SERVER_BINDADDR": ",".join(f"{name}-{place}" for name, place in places.items()),
        "TOR_PT_EXTENDED_SERVER_PORT": "",
    }
    if isinstance(orport, ExtendedOrPort):
        # Tor names its plain ORPort as well; nothing listens on this one.
        told["TOR_PT_ORPORT"] = "127.0.0.1:9"
        told["TOR_PT_EXTENDED_SERVER_PORT"] = str(Endpoint(*orport.address))
        told["TOR_PT_AUTH_COOKIE_FILE"] = str(orport.cookie_file)
    else:
        told["TOR_PT_ORPORT"] = str(Endpoint(*orport))
    return told


def client_environment(state: Path, transports: Sequence[str] = TRANSPORTS) -> dict[str, str]:
    """Give what a client's tor sets; arguments as for `client`."""
    return {**_both(state), "TOR_PT_CLIENT_TRANSPORTS": ",".join(transports)}


def start(environment: Mapping[str, str], argv: Sequence[str] = SILENT, *, cpu: int | None = None) -> Child:
    """Start it, without waiting for its lines.

    Args:
        environment: variables to set besides those of this process.
        argv: the program and its arguments.
        cpu: the one core it may run on, or None for all.
    """
    return Child(argv, environment=environment, cpu=cpu)


def _both(state: Path) -> dict[str, str]:
    return {
        "TOR_PT_MANAGED_TRANSPORT_VER": "1",
        "TOR_PT_STATE_LOCATION": str(state),
        # So that it ends with this process, even when this process is killed.
        "TOR_PT_EXIT_ON_STDIN_CLOSE": "1",
    }


def _methods(child: Child, kind: str, failing: Collection[str]) -> Managed:
    """Wait for where it listens: `SMETHOD name addr:port [ARGS]`, or `CMETHOD name socks5 addr:port`."""
    child.wait_for_line("stdout", f"^{kind}S DONE$")
    methods: dict[str, tuple[str, int]] = {}
    errors: dict[str, str] = {}
    for line in child.stdout.splitlines():
        word, *rest = line.split()
        if word == f"{kind}-ERROR":
            errors[rest[0]] = line.split(maxsplit=2)[2]
        if word == kind:
            host, _, port = rest[1 if kind == "SMETHOD" else 2].rpartition(":")
            methods[rest[0]] = host.strip("[]"), int(port)
    if errors.keys() != set(failing):
        raise ChildError(f"{child.name} printed: {child.stdout}")
    return Managed(child, methods, errors)
