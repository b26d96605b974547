"""Numbers in the form that was asked for: the one place where intervals become bytes that leave the machine.

Noise is drawn once for an interval: before it is drawn the ledger knows of it, on the disk, and an interval that the
ledger has already is left out. A release that fails afterwards, on a full disk for example, is lost rather than done
again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from obfstats.publish import export, tor
from obfstats.publish.fitting import write_fitting
from obfstats.publish.ledger import Ledger
from obfstats.publish.noise import write_epsilon
from obfstats.publish.rounding import Heading, noisy_document, rounded_document

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from fractions import Fraction
    from pathlib import Path

    from obfstats.formats.counts import Counts
    from obfstats.formats.document import Document

DocumentFormat: TypeAlias = Literal["ticket", "tor", "json", "csv"]
"""In what form documents are printed."""


@dataclass(frozen=True, slots=True)
class Noise:
    """How numbers are made noisy.

    Attributes:
        epsilon: how much a release may tell of one client.
        codes: the countries that the GeoIP source can tell, lower case.
        ledger: remembers what has been released.
    """

    epsilon: Fraction
    codes: Sequence[str]
    ledger: Path


@dataclass(frozen=True, slots=True)
class Output:
    """What is printed.

    Attributes:
        form: the documents' form.
        heading: what they say beside numbers.
        noise: how the numbers are made noisy; None to round them.
    """

    form: DocumentFormat = "ticket"
    heading: Heading = field(default_factory=Heading)
    noise: Noise | None = None


def render(intervals: Sequence[Counts], output: Output, say: Callable[[str], None]) -> bytes:
    """Write intervals in the form that was asked for.

    Args:
        intervals: what may be published, in order.
        output: what is printed.
        say: takes sentences for the operator about what cannot be printed.

    Raises:
        LedgerError: if the ledger cannot be used; nothing has been released that it does not know.
    """
    if output.form == "tor":
        return tor.statistics(intervals)
    if output.noise is None:
        documents = [rounded_document(counts, output.heading) for counts in intervals]
    else:
        documents = _noisy(intervals, output.heading, output.noise, say)
    if output.heading.extended:
        _miss_columns(intervals, say)
    if output.form == "json":
        return export.to_json(documents)
    if output.form == "csv":
        return export.to_csv(documents)
    return b"".join(write_fitting(document, say) for document in documents)


def _noisy(intervals: Iterable[Counts], heading: Heading, noise: Noise, say: Callable[[str], None]) -> list[Document]:
    """Make noisy documents of the intervals that were never released before."""
    documents = []
    with Ledger.open(noise.ledger) as ledger:
        for counts in intervals:
            start = counts.interval.label
            if counts.addresses is None:
                say(f"the interval from {start} has no addresses to count and is left out")
            elif ledger.is_released(start):
                say(f"the interval from {start} has been released before and is left out: {noise.ledger} says so")
            else:
                how = f"discrete-laplace epsilon={write_epsilon(noise.epsilon)}"
                ledger.release(start, counts.interval.seconds, how)
                documents.append(noisy_document(counts, heading, noise.codes, noise.epsilon))
    return documents


def _miss_columns(intervals: Sequence[Counts], say: Callable[[str], None]) -> None:
    """Say that lines are missing for want of columns."""
    if not all(counts.has_all_columns() for counts in intervals):
        say("some lines of --extended are left out: the log does not name transport and family of every connection")
