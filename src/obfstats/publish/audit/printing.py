"""Printing an audit: the verb `obfstats audit`."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from obfstats.commandline import open_standard_output, print_error
from obfstats.publish.audit import UnknownFileError, audit, describe
from obfstats.publish.logfiles import LogFileError, find
from obfstats.publish.progress import Progress

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def run_audit(options: argparse.Namespace) -> int:
    """Run the command; give its exit status."""
    with open_standard_output() as out:
        return print_audit(options.file, out=out, say=partial(print_error, "obfstats audit"), progress=Progress())


def print_audit(name: str, *, out: BinaryIO, say: Callable[[str], None], progress: Progress) -> int:
    """Audit a file and print what was found.

    Args:
        name: the file: a path, a pattern that fits one file, or `-`.
        out: takes the findings, as bytes.
        say: takes a sentence for the operator where there is nothing to audit.
        progress: shows how far it is.

    Returns:
        The exit status: 0 where nothing speaks against publishing the file; 1 where it should not leave the machine;
        2 where it cannot be read, or is nothing that can be audited.
    """
    try:
        files = find([name])
        if len(files) != 1:
            say(f"{len(files)} files fit that pattern; name one")
            return 2
        with progress.of(files[0].size or 0) as advance:
            found = audit(files[0], now=datetime.now(UTC), advance=advance)
    except (LogFileError, UnknownFileError) as error:
        say(str(error))
        return 2
    out.writelines(f"{line}\n".encode() for line in describe(found))
    out.flush()
    return 1 if found.has_alarm else 0
