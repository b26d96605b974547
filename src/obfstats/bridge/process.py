"""What every program of ours does to its own process before anything else, and the log it opens."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from obfstats.bridge import logs
from obfstats.proxy import privacy

if TYPE_CHECKING:
    from obfstats.bridge.settings import LogOptions

SWITCH_INTERVAL = 0.0005
"""Seconds a thread may keep the interpreter: obfs2's 100,000 hashes must not hold up the relay."""


def fill_standard_descriptors() -> None:
    """Where standard streams are closed, put something in their place: no socket may become number 2."""
    while (descriptor := os.open("/dev/null", os.O_RDWR)) <= 2:
        # As standard streams are, for a program that is started from here.
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def begin(options: LogOptions, *, has_terminal: bool) -> None:
    """Keep this process's memory to itself, and say things where the operator wants them.

    Args:
        options: about the log.
        has_terminal: whether somebody reads standard error, rather than tor standard output.

    Raises:
        OSError: if the log's file cannot be opened.
    """
    privacy.forbid_core_dumps()
    sys.setswitchinterval(SWITCH_INTERVAL)
    logs.begin(options.severity)
    if not options.wanted:
        return
    if options.file is not None:
        logs.to_file(options.file)
    elif has_terminal:
        logs.to_stream(sys.stderr)
