"""What outside of this folder is caught: RecordError and its subclass."""

from __future__ import annotations


class RecordError(Exception):
    """Statistics cannot be kept as asked.

    Its text is one sentence for the operator: what is wrong and what to do. It never contains a client's address.
    """


class LogInUseError(RecordError):
    """Another program writes this log."""
