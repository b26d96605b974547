"""The command `obfstats site`: the public site, of the tables that `obfstats analyse` wrote.

Each file is replaced at once, and only if it has changed. Files that a run does not make are left alone: they may be
somebody else's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from obfstats.commandline import fail, print_error
from obfstats.show.page import write_changed
from obfstats.show.results import ResultsError, read_results
from obfstats.show.site_pages import Site

if TYPE_CHECKING:
    import argparse

PROGRAM: Final = "obfstats site"


def run_site(options: argparse.Namespace) -> int:
    """Run the command.

    Args:
        options: source, to and url.

    Returns:
        The exit status: 0; 1 if rows of the tables could not be read; 2 if the site could not be made or written.
    """
    try:
        results = read_results(options.source)
    except ResultsError as error:
        return fail(PROGRAM, str(error))
    files = written = 0
    try:
        for path, content in Site(results, options.url or "").files():
            files += 1
            written += write_changed(options.to / path, content)
    except OSError as error:
        return fail(PROGRAM, f"cannot write to {options.to}: {error.strerror}; give --to another folder")
    print(f"{options.to / 'index.html'}: {written} of {files} files have changed")
    if results.damaged:
        print_error(
            PROGRAM, f"{results.damaged} rows of the tables are damaged and left out; run obfstats analyse again"
        )
        return 1
    return 0
