"""The one error of this folder."""

from __future__ import annotations


class RecordError(Exception):
    """Statistics cannot be kept as asked.

    Its text is one sentence for the operator: what is wrong and what to do. It never holds a client's address.
    """
