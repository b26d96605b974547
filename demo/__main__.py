"""The command `script/demo`: its arguments, its signals, its exit status."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from demo import DemoError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_DESCRIPTION = """\
Sends a few hundred real obfs3 and obfs2 clients through two real servers on this machine, moves the clock into the next
day, and shows what is kept and what is forgotten of the clients, step by step as ticket 5047 describes it. Then both
servers' documents are signed, submitted to a collector, published, mirrored, and analysed together with those of
simulated bridges; a public site is made of that. It takes less than a minute, uses loopback only, and leaves nothing
behind but the site, in a temporary folder; its last line is the page to open. Every claim is checked in the run itself:
one that does not hold prints FAILED, and the exit status is 1.
"""

_EXAMPLES = """\
examples:
  script/demo
  script/demo --keep
      keeps the other temporary folder, too: look at the logs, the collector's files and the tables, or run the
      commands yourself
"""


class Interrupted(KeyboardInterrupt):
    """A signal asks the demonstration to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.status = 128 + number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration.

    Returns:
        0 if every claim held, 1 if not, 128 and the signal's number after a signal.
    """
    parser = argparse.ArgumentParser(
        prog="script/demo",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--keep", action="store_true", help="keep the logs, the collector's files and the tables, too")
    options = parser.parse_args(arguments)
    # Imported only now, so that --help works where nothing is installed yet.
    from demo.story import run_story  # noqa: PLC0415

    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    try:
        return 0 if run_story(keep=options.keep) else 1
    except Interrupted as interrupted:
        sys.stderr.write("demo: stopped; nothing is left running\n")
        return interrupted.status
    except BrokenPipeError:
        # The reader has closed the pipe, as `| head` does. Nothing may be written any more, not even what is buffered.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 128 + signal.SIGPIPE
    except DemoError as error:
        sys.stderr.write(f"demo: {error}\n")
        return 1


def _interrupt(number: int, _frame: FrameType | None) -> NoReturn:
    """End in order. Further signals are ignored: everything that runs is already being ended."""
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise Interrupted(number)


if __name__ == "__main__":
    sys.exit(main())
