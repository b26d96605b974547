"""What the demonstration looks like: headings, columns, colour on a terminal, a progress line while it works."""

from __future__ import annotations

import os
import sys
import textwrap
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH = 96
_SPARSE_SECONDS = 2.0
_REWRITE_SECONDS = 0.05
_BAR = 30

_STYLES = {"bold": "1", "dim": "2", "red": "1;31", "green": "32"}


class Screen:
    """Standard output for the story, standard error for the progress."""

    def __init__(self) -> None:
        self._coloured = _takes_colour(sys.stdout)
        self._rewrites = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def heading(self, text: str) -> None:
        """Begin a part."""
        self.line()
        self.line(self.style(text, "bold"))

    def text(self, text: str, indent: int = 2) -> None:
        """Write sentences, broken into lines."""
        margin = " " * indent
        self.line(textwrap.fill(text, WIDTH, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False))

    def line(self, text: str = "") -> None:
        """Write a line as it is."""
        sys.stdout.write(f"{text}\n")
        # At once: whoever watches through a pipe sees it grow as well.
        sys.stdout.flush()

    def columns(self, label: str, width: int, text: str, remark: str) -> None:
        """Write sentences beside a label, and a remark below them.

        Args:
            label: stands in front of the first line.
            width: its width as it is seen, which is where the sentences begin.
            text: the sentences.
            remark: what follows them, less loud.
        """
        lines = textwrap.wrap(text, WIDTH - width, break_on_hyphens=False)
        remarks = [self.style(line, "dim") for line in textwrap.wrap(remark, WIDTH - width, break_on_hyphens=False)]
        self.line(label + f"\n{' ' * width}".join([*lines, *remarks]))

    def style(self, text: str, name: str) -> str:
        """Give text in a style, where there are any."""
        return f"\x1b[{_STYLES[name]}m{text}\x1b[0m" if self._coloured else text

    def progress(self, what: str, total: int) -> Callable[[int], None]:
        """Begin to show that something goes on.

        Args:
            what: what it is, in a few words.
            total: how much there is of it.

        Returns:
            What to tell how much of it is done.
        """
        shown = 0.0 if self._rewrites else time.monotonic()

        def tell(done: int) -> None:
            nonlocal shown
            now = time.monotonic()
            if self._rewrites:
                if done == total:
                    _write("\r\x1b[K")
                elif now - shown >= _REWRITE_SECONDS:
                    shown = now
                    bar = ("#" * (done * _BAR // total)).ljust(_BAR, ".")
                    _write(f"\r\x1b[K  {what}  [{bar}] {done} of {total} connections")
            elif done == total or now - shown >= _SPARSE_SECONDS:
                shown = now
                _write(f"demo: {what}: {done} of {total} connections\n")

        return tell

    def clear(self) -> None:
        """Take an unfinished progress line away."""
        if self._rewrites:
            _write("\r\x1b[K")


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _takes_colour(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal with colours, and whether they are wanted (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
