"""Our own program `obfsproxy`, run as an operator runs it, in external mode.

Example:
    with program.obfsproxy("obfs3", "--dest", "127.0.0.1:9001", "server", "127.0.0.1:0") as proxy:
        proxy.address                   where it listens
        proxy.child.stop()
        proxy.child.stderr              everything that it printed
"""

from __future__ import annotations

import sys
import sysconfig
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from peers.child import Child

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ARGV = (sys.executable, "-m", "obfstats.bridge.obfsproxy")
"""The program, under the Python that runs the tests."""

OBFSTATS = str(Path(sysconfig.get_path("scripts")) / "obfstats")
"""The other program of ours, as it is installed."""

_LISTENING = r"listening on (?:\[([0-9a-f:]+)\]|([0-9.]+)):([0-9]+) for "


@dataclass(frozen=True)
class Obfsproxy:
    """A running obfsproxy.

    Attributes:
        child: its process.
        address: where it listens.
    """

    child: Child
    address: tuple[str, int]


@contextmanager
def obfsproxy(
    *arguments: str,
    under: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    cpu: int | None = None,
) -> Iterator[Obfsproxy]:
    """Run it until the block ends.

    Args:
        arguments: its command line; `LISTEN:PORT` is best 127.0.0.1:0.
        under: a program and its arguments that run it in turn, such as faketime.
        environment: variables to set besides those of this process.
        cpu: the one core it may run on, or None for all.

    Raises:
        ChildError: if it does not listen in time.
    """
    with Child([*under, *ARGV, *arguments], environment=environment, cpu=cpu) as child:
        match = child.wait_for_line("stderr", _LISTENING)
        yield Obfsproxy(child, (match[1] or match[2], int(match[3])))
