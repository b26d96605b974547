"""What this machine lets a daemon have: descriptors, and so connections; processors; ephemeral ports."""

from __future__ import annotations

import logging
import os
import resource
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from obfstats.bridge import process
from obfstats.proxy.limits import MAX_CONNECTIONS, MAX_HANDSHAKES, NETWORK_DIVISOR, Limits
from obfstats.proxy.outbound import Direct, sources_for

if TYPE_CHECKING:
    from obfstats.bridge.options import LimitOptions

_EPHEMERAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_SPARE_DESCRIPTORS = 64
_FEW_DESCRIPTORS = 1024
_MANY_DESCRIPTORS = 1 << 20

_log = logging.getLogger(__name__)


def find_limits(options: LimitOptions, *, descriptors: int = 2) -> Limits:
    """Work out the limits on connections, after raising the limit on file descriptors as far as possible.

    Args:
        options: what the operator wants.
        descriptors: how many a connection takes.
    """
    connections = options.connections or MAX_CONNECTIONS
    possible = max(1, (_raise_descriptor_limit() - _SPARE_DESCRIPTORS) // descriptors)
    if options.connections is not None and possible < options.connections:
        _log.warning("ulimit -n allows %d connections at once, not %d", possible, options.connections)
    connections = min(connections, possible)
    return Limits(
        connections=connections,
        # At most half, or unfinished handshakes could take all connections.
        handshakes=min(options.handshakes or MAX_HANDSHAKES, max(1, connections // 2)),
        network=options.per_network or max(1, connections // NETWORK_DIVISOR),
    )


def connector_to_tor(limits: Limits) -> Direct:
    """Make what opens connections to tor: from several source addresses if one has too few ephemeral ports."""
    try:
        low, high = _EPHEMERAL_PORTS.read_text(encoding="ascii").split()
    except OSError:
        return Direct()
    return Direct(sources=sources_for(limits.connections, int(high) - int(low) + 1))


def descriptors_left(limits: Limits) -> int:
    """Tell how many descriptors there are besides two for each connection."""
    return max(0, _raise_descriptor_limit() - _SPARE_DESCRIPTORS - 2 * limits.connections)


def _raise_descriptor_limit() -> int:
    """Raise the limit on file descriptors as far as possible, and return it."""
    kind = resource.RLIMIT_NOFILE
    few = _FEW_DESCRIPTORS, _FEW_DESCRIPTORS
    soft, hard = process.attempt(partial(resource.getrlimit, kind), few, "the limit on descriptors is unknown")
    consequence = f"the limit on descriptors stays at {soft}"
    if soft != hard and process.attempt(partial(_set_limit, kind, hard), False, consequence):
        soft = hard
    return _MANY_DESCRIPTORS if soft == resource.RLIM_INFINITY else soft


def _set_limit(kind: int, limit: int) -> bool:
    resource.setrlimit(kind, (limit, limit))
    return True


def count_processors() -> int:
    """Tell how many processors this program may use."""
    unknown: set[int] = set()
    found = process.attempt(partial(os.sched_getaffinity, 0), unknown, "it is unknown which processors may be used")
    return len(found) or os.cpu_count() or 1
