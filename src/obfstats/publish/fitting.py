"""Documents that are not longer than a reader takes (docs/document.md): the longest lines are left out, never cut.

A bridge with five transports and clients from every country in the world stays far below the bound. A log that names
hundreds of transports does not, and its other numbers are worth having.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from obfstats.formats.document import DocumentError, write_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from obfstats.formats.document import Document


def write_fitting(document: Document, say: Callable[[str], None]) -> bytes:
    """Write a document, without a line where it would be too long with it.

    Args:
        document: the document.
        say: takes a sentence for the operator about what was left out.

    Raises:
        DocumentError: if it cannot be written in any case.
    """
    without_pairs = replace(document, ip_country_transports=None)
    for one, left_out in (
        (document, ""),
        (without_pairs, "transports by country"),
        (replace(without_pairs, ip_transports=None), "transports"),
    ):
        try:
            text = write_document(one)
        except DocumentError:
            continue
        if left_out:
            say(f"the document that ends {document.end} would be too long: its {left_out} are left out")
        return text
    return write_document(document)
