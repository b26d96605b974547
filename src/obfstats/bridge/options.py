"""What the command lines of the two daemons ask for (commands.py reads them)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from fractions import Fraction
    from pathlib import Path

    from obfstats.collect.client.route import CollectorUrl, Proxy
    from obfstats.publish.budget import EpsilonBudget
    from obfstats.record.recorder import Column
    from obfstats.wire.endpoint import Endpoint
    from obfstats.wire.upstream import Upstream

Role: TypeAlias = Literal["server", "ext_server", "client", "socks"]

FORGET_AFTER = 48
"""Hours that lines are kept after the end of their interval."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """The program's own log.

    Attributes:
        enabled: whether anything is logged.
        file: the file; None for the default.
        severity: the lowest that is logged, as `logging` has it.
        safe: whether addresses are scrubbed.
    """

    enabled: bool
    file: Path | None
    severity: int
    safe: bool


@dataclass(frozen=True, slots=True)
class SubmitOptions:
    """Where a bridge sends what it publishes.

    Attributes:
        url: the collector.
        proxy: through which it is reached; None for a direct connection.
    """

    url: CollectorUrl
    proxy: Proxy | None


@dataclass(frozen=True, slots=True)
class PublishOptions:
    """What a bridge publishes by itself.

    Attributes:
        folder: where documents are written.
        fingerprint: the hashed fingerprint in documents; None for that in tor's file, if tor has started the program.
        instance: the name in documents that tells several programs or tors with one fingerprint apart, or None.
        extended: whether documents have all lines.
        epsilon: of the noise; None to round.
        budget: what the noise of several intervals may spend; None for any sum.
        forget_after: how long lines are kept after the end of their interval.
        aggregate: whether numbers are kept in memory and no log is written.
        submit: where documents are sent; None for nowhere.
    """

    folder: Path
    fingerprint: str | None = None
    instance: str | None = None
    extended: bool = False
    epsilon: Fraction | None = None
    budget: EpsilonBudget | None = None
    forget_after: timedelta = timedelta(hours=FORGET_AFTER)
    aggregate: bool = False
    submit: SubmitOptions | None = None


@dataclass(frozen=True, slots=True)
class StatisticsOptions:
    """What is counted, and where it goes.

    Attributes:
        enabled: whether a server counts.
        log: the statistics log; None for the default.
        data_dir: the folder of the default log; None for the default folder.
        buffer: of how many networks lines are held before a batch is written.
        columns: further columns of the log.
        geoip: a file in the format of tor's geoip, or None.
        geoip6: the same for IPv6.
        ipv6_prefix: bits of an IPv6 address that tell clients apart; None for all.
        publish: what is published while the program runs; None for nothing.
    """

    enabled: bool
    log: Path | None
    data_dir: Path | None
    buffer: int
    columns: tuple[Column, ...]
    geoip: Path | None
    geoip6: Path | None
    ipv6_prefix: int | None = None
    publish: PublishOptions | None = None


@dataclass(frozen=True, slots=True)
class LimitOptions:
    """Limits on connections; None for the default of each.

    Attributes:
        connections: at once.
        handshakes: unfinished, at once.
        per_network: connections at once from one network.
    """

    connections: int | None = None
    handshakes: int | None = None
    per_network: int | None = None


@dataclass(frozen=True, slots=True)
class ExternalOptions:
    """What obfsproxy does when the operator starts it, not tor (external mode).

    Attributes:
        transport: the transport's name.
        shared_secret: the transport's option, or None.
        role: undo the obfuscation (`server`, `ext_server`), or do it (`client`, `socks`).
        listen: where clients connect.
        destination: where connections are passed on to; None for `socks`.
        cookie_file: the extended ORPort's cookie, for `ext_server`.
    """

    transport: str
    shared_secret: str | None = field(repr=False)
    role: Role
    listen: Endpoint
    destination: Endpoint | None
    cookie_file: Path | None

    @property
    def is_server(self) -> bool:
        """Whether clients are counted."""
        return self.role in {"server", "ext_server"}


@dataclass(frozen=True, slots=True)
class DaemonOptions:
    """What both command lines have in common.

    Attributes:
        log: the program's own log.
        statistics: what is counted.
        limits: limits on connections.
        metrics: where a server's metrics are served; None for nowhere.
    """

    log: LogOptions
    statistics: StatisticsOptions
    limits: LimitOptions
    metrics: Endpoint | None


@dataclass(frozen=True, slots=True)
class ObfsproxyOptions(DaemonOptions):
    """The command line of obfsproxy.

    Attributes:
        external: what to do; None if tor says it (managed mode).
        proxy: a proxy for outgoing connections, or None.
    """

    external: ExternalOptions | None
    proxy: Upstream | None
