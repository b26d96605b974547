"""What `obfstats convert` makes of logs, without starting a program, at any time that a test likes."""

from __future__ import annotations

import io
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from obfstats.publish.convert import convert
from obfstats.publish.intervals import Selection
from obfstats.publish.render import Output

if TYPE_CHECKING:
    from obfstats.publish.making_documents import DocumentOptions
    from obfstats.publish.render import OutputFormat

NOW = datetime(2027, 1, 1, tzinfo=UTC)


class Made(NamedTuple):
    """What came of it.

    Attributes:
        status: the exit status.
        text: what was printed.
        warnings: the sentences for the operator, but for the one about logs without marks.
        guessed: that one; empty if there was none.
    """

    status: int
    text: str
    warnings: list[str]
    guessed: str = ""

    @property
    def lines(self) -> list[str]:
        """What was printed, line by line."""
        return self.text.splitlines()


def made(
    *names: Path | str, selection: Selection | None = None, output: Output | None = None, force: bool = False
) -> Made:
    """Convert logs.

    Args:
        names: the logs.
        selection: which intervals are taken in; those that are over in 2027 if None.
        output: what is printed; the tables if None.
        force: whether much damage is no reason for exit status 1.
    """
    out, warnings = io.BytesIO(), list[str]()
    status = convert(
        [str(name) for name in names],
        selection or Selection(NOW),
        output,
        force=force,
        out=out,
        warn=warnings.append,
    )
    guessed = [each for each in warnings if "no mark beside the log" in each]
    others = [each for each in warnings if each not in guessed]
    return Made(status, out.getvalue().decode("ascii"), others, "".join(guessed))


def made_of(log: bytes, form: OutputFormat, heading: DocumentOptions | None = None) -> Made:
    """Convert one log, given as bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clients.log"
        path.write_bytes(log)
        return made(path, output=Output(form) if heading is None else Output(form, heading))


def count_rounded(names: list[str]) -> dict[str, int]:
    """Count each name, rounded up to a multiple of 8."""
    return {name: -(-names.count(name) // 8) * 8 for name in names}
