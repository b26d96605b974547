"""The program `obfsproxy`: reads the command line, opens its log, and goes to work by hand or for tor."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

from obfstats.bridge import logs, process
from obfstats.bridge.commands import parse_obfsproxy
from obfstats.bridge.external import run_external
from obfstats.bridge.managed import run_managed
from obfstats.record.clock import SystemClock
from obfstats.wire.transports import RETIRED, TRANSPORTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obfstats.record.clock import Clock


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
    process.fill_standard_descriptors()
    options = parse_obfsproxy(arguments, TRANSPORTS, RETIRED)
    try:
        process.begin(options.log, has_terminal=options.external is not None)
    except OSError as error:
        return logs.refuse(f"cannot open the log {options.log.file}: {error.strerror}; name another with --log-file")
    if options.external is None:
        return run_managed(options, clock or SystemClock())
    return run_external(options, options.external, clock or SystemClock())


if __name__ == "__main__":
    sys.exit(main())
