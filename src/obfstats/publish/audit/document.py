"""The audit of documents: the ticket's (docs/document.md) and tor's lines for the same (dir-spec, bridge-stats-end).

Documents are read one at a time, however many there are. A line that does not belong there is set aside, and the rest
is read without it, so that one fault hides no other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from obfstats.formats.document import Document, DocumentError, read_documents
from obfstats.formats.document_lines import HEADING, READERS
from obfstats.publish.audit.numbers import Numbers
from obfstats.publish.audit.recognising import TOR_KEYWORDS
from obfstats.publish.audit.spans import Spans
from obfstats.publish.audit.strangers import Strangers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from obfstats.publish.audit.findings import Finding

_READERS = {keyword.encode(): reader for keyword, reader in READERS.items()}


def audit_documents(lines: Iterable[bytes], now: datetime, *, is_tor: bool) -> list[Finding]:
    """Say what documents give away.

    Args:
        lines: the file's, with their ends.
        now: the time, UTC.
        is_tor: whether they have tor's keywords.
    """
    strangers, spans, numbers = Strangers(), Spans(), Numbers(counts_pairs=is_tor)
    for document in _documents(lines, strangers, is_tor=is_tor):
        spans.add(document)
        numbers.add(document)
    return [*strangers.findings(), *spans.findings(now), *numbers.findings()]


def _documents(lines: Iterable[bytes], strangers: Strangers, *, is_tor: bool) -> Iterator[Document]:
    """Give the documents; what does not belong there goes to the strangers."""
    part = _Part(strangers)
    for number, line in enumerate(lines, 1):
        text = line.removesuffix(b"\n")
        keyword, blank, arguments = text.partition(b" ")
        if is_tor:
            keyword = TOR_KEYWORDS.get(keyword, b"")
        if keyword not in _READERS:
            strangers.take_unknown(number, text)
            continue
        if part.is_over_before(keyword):
            yield from part.close()
            part = _Part(strangers)
        part.take(number, text, keyword + blank + arguments)
    yield from part.close()


class _Part:
    """The lines of one document as they come."""

    def __init__(self, strangers: Strangers) -> None:
        self._strangers = strangers
        self._lines: dict[str, bytes] = {}
        self._number = 0

    def is_over_before(self, keyword: bytes) -> bool:
        """Tell whether a line begins another document: as formats/document.py does it."""
        return "end" in self._lines and _READERS[keyword][0] in HEADING

    def take(self, number: int, text: bytes, line: bytes) -> None:
        """Take a line with a known keyword, or set it aside.

        Args:
            number: which of the file it is.
            text: the line as it stands there.
            line: the same with our keyword.
        """
        self._number = number
        keyword, _, arguments = line.partition(b" ")
        name, read = _READERS[keyword]
        wrong = ""
        if name in self._lines:
            wrong = "a second line of its kind"
        elif name not in HEADING and "end" not in self._lines:
            wrong = "it stands before the line that ends an interval"
        else:
            try:
                read(arguments.decode("ascii"))
            except UnicodeDecodeError:
                wrong = "a byte that is not ASCII"
            except ValueError as error:
                wrong = str(error)
        if wrong:
            self._strangers.take_damaged(number, text, wrong)
        else:
            self._lines[name] = line

    def close(self) -> Iterator[Document]:
        """Give the document, if there is one."""
        if not self._lines:
            return
        try:
            yield from read_documents(b"\n".join(self._lines.values()))
        except DocumentError as error:
            self._strangers.take_damaged(self._number, b"", error.reason)
