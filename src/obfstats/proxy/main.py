"""The program `obfsproxy`: reads the command line, opens its log, and goes to work by hand or for tor."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

from obfstats.proxy import logs, privacy
from obfstats.proxy.external import run_external
from obfstats.proxy.managed import run_managed
from obfstats.proxy.options import Options, parse_options
from obfstats.record.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obfstats.record.clock import Clock

SWITCH_INTERVAL = 0.0005
"""Seconds a thread may keep the interpreter: obfs2's 100,000 hashes must not hold up the relay."""


def main(arguments: Sequence[str] | None = None, clock: Clock | None = None) -> int:
    """Run the program.

    Args:
        arguments: the command line; this process's own if None.
        clock: what tells the time; the machine's own if None.

    Returns:
        its exit status: 0 after a signal, 2 where it could not start, 1 where tor's environment was to blame.
    """
    # Until the loop runs, ^C ends the program like any other signal: there is nothing yet to take back.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # A log that is rotated while the program starts must not end it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _fill_standard_descriptors()
    options = parse_options(arguments)
    privacy.forbid_core_dumps()
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        _open_log(options)
    except OSError as error:
        return logs.refuse(f"cannot open the log {options.log.file}: {error.strerror}; name another with --log-file")
    if options.external is None:
        return run_managed(options, clock or SystemClock())
    return run_external(options, options.external, clock or SystemClock())


def _open_log(options: Options) -> None:
    """Say things where the operator wants them.

    Raises:
        OSError: if the log's file cannot be opened.
    """
    logs.begin(options.log.severity)
    if not options.log.wanted:
        return
    if options.log.file is not None:
        logs.to_file(options.log.file)
    elif options.external is not None:
        logs.to_stream(sys.stderr)


def _fill_standard_descriptors() -> None:
    """Where standard streams are closed, put something in their place: no socket may become number 2."""
    while (descriptor := os.open("/dev/null", os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
