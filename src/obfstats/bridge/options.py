"""The command line of `obfsproxy`, which takes every form of both programs that it replaces.

    obfsproxy [options] managed                                    as tor starts it; --managed is the same
    obfsproxy [options] obfs3 --dest HOST:PORT server LISTEN:PORT      by hand; also client, socks, ext_server

A mistake ends the program with status 2 and one line on standard error. A transport's options stay out of messages:
they may be secrets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from obfstats.bridge import arguments
from obfstats.bridge.settings import LimitOptions, LogOptions, StatisticsOptions, read_log, read_statistics
from obfstats.wire.transports import TransportError, make_transport

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence
    from pathlib import Path

    from obfstats.wire.endpoint import Endpoint
    from obfstats.wire.handshake import Transport
    from obfstats.wire.pluggable import Upstream

Role: TypeAlias = Literal["server", "ext_server", "client", "socks"]


@dataclass(frozen=True, slots=True)
class External:
    """What is to be done where the operator starts the program, not tor.

    Attributes:
        transport: the transport, its own options included.
        role: undo the obfuscation (`server`, `ext_server`), or do it (`client`, `socks`).
        listen: where clients connect.
        destination: where connections are passed on to; None for `socks`.
        cookie_file: the extended ORPort's cookie, for `ext_server`.
        options: the transport's options as they were given.
    """

    transport: Transport
    role: Role
    listen: Endpoint
    destination: Endpoint | None
    cookie_file: Path | None
    options: dict[str, str] = field(repr=False)

    @property
    def is_server(self) -> bool:
        """Whether clients are counted."""
        return self.role in {"server", "ext_server"}


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says, checked.

    Attributes:
        external: what to do; None where tor says it (managed mode).
        log: about the program's own log.
        statistics: about counting.
        limits: about floods.
        proxy: a proxy for connections that go out, or None.
    """

    external: External | None
    log: LogOptions
    statistics: StatisticsOptions
    limits: LimitOptions
    proxy: Upstream | None


def parse_options(words: Sequence[str] | None) -> Options:
    """Read the command line; exits with status 2 and one line on stderr where it is wrong.

    Args:
        words: the command line behind the program's name; this process's own if None.
    """
    parser = arguments.make_parser()
    given = parser.parse_args(words)
    if not given.managed and given.mode is None:
        parser.error("say managed, or name a transport: dummy, obfs2 or obfs3")
    if given.managed and given.mode not in {None, "managed"}:
        parser.error("it is either --managed or a transport")
    try:
        statistics = read_statistics(given)
        external = None if given.managed or given.mode == "managed" else _external(given)
    except (TransportError, ValueError) as error:
        parser.error(str(error).rstrip("."))
    return Options(
        external=external,
        log=read_log(given),
        statistics=statistics,
        limits=LimitOptions(given.max_connections, given.max_handshakes, given.max_per_network),
        proxy=given.proxy,
    )


def _external(given: Namespace) -> External:
    """Check what belongs together.

    Raises:
        TransportError: the transport does not take what it was given.
        ValueError: something is missing, or is of no use in this role.
    """
    role: Role = given.role
    if given.dest is None and role != "socks":
        raise ValueError(f"{role} needs --dest HOST:PORT, where to pass on to")
    if given.dest is not None and role == "socks":
        raise ValueError("socks takes no --dest: each connection says where to")
    if (given.ext_cookie_file is not None) != (role == "ext_server"):
        raise ValueError("--ext-cookie-file FILE, the extended ORPort's cookie, goes with ext_server")
    if given.proxy is not None and role not in {"client", "socks"}:
        raise ValueError("--proxy is for client and socks: a server passes on to this machine's tor")
    return External(
        transport=make_transport(given.mode, shared_secret=given.shared_secret),
        role=role,
        listen=given.listen,
        destination=given.dest,
        cookie_file=given.ext_cookie_file,
        options={} if given.shared_secret is None else {"shared-secret": given.shared_secret},
    )
