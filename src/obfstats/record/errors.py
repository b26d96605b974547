"""What can be wrong. Outside of this folder nobody sees anything but RecordError and its kind."""

from __future__ import annotations


class RecordError(Exception):
    """Statistics cannot be kept as asked.

    Its text is one sentence for the operator: what is wrong and what to do. It never holds a client's address.
    """


class LogInUseError(RecordError):
    """Another program writes this log."""


class OutOfOrderError(ValueError):
    """A GeoIP file's ranges are not in the order of their addresses, or overlap."""
