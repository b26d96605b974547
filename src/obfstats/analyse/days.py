"""UTC days as numbers since 1970-01-01, which is how the store and all queries name them."""

from __future__ import annotations

from datetime import date, timedelta

_EPOCH = date(1970, 1, 1)


def day_number(day: date) -> int:
    """Give the number of a day."""
    return (day - _EPOCH).days


def day_date(number: int) -> date:
    """Give the day of a number."""
    return _EPOCH + timedelta(days=number)
