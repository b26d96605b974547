"""UTC days as numbers since 1970-01-01, which is how the store and all queries name them, and their seconds."""

from __future__ import annotations

from datetime import date, timedelta

DAY = 86_400
"""Seconds of a day."""

_EPOCH = date(1970, 1, 1)


def day_number(day: date) -> int:
    """Give the number of a day."""
    return (day - _EPOCH).days


def day_date(number: int) -> date:
    """Give the day of a number."""
    return _EPOCH + timedelta(days=number)
