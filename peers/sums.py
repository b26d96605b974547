"""How far apart the sums of two engines are."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from obfstats.analyse.published_sums import PublishedSums

if TYPE_CHECKING:
    from collections.abc import Iterator

AGREEMENT = 1e-9
"""What engines may differ by before anything is rounded, as a share."""


class RowsDifferError(AssertionError):
    """One engine has rows that the other does not have."""


def largest_difference(sums: PublishedSums, others: PublishedSums) -> float:
    """Compare the sums row for row; give the largest relative difference of two numbers.

    Raises:
        RowsDifferError: if the rows are not of the same days, countries, transports and versions.
    """
    return max(
        (
            difference
            for field in fields(PublishedSums)
            for difference in _differences(getattr(sums, field.name), getattr(others, field.name), field.name)
        ),
        default=0.0,
    )


def _differences(table: Any, other: Any, name: str) -> Iterator[float]:
    """Give the largest difference of each column of numbers."""
    keys = [field.name for field in table.schema if not pa.types.is_floating(field.type)]
    table, other = (rows.sort_by([(key, "ascending") for key in keys]) for rows in (table, other))
    if table.select(keys) != other.select(keys):
        raise RowsDifferError(f"the rows of {name} differ: {table.num_rows} and {other.num_rows}")
    for column in table.column_names:
        if column not in keys:
            ours, theirs = table[column].to_numpy(), other[column].to_numpy()
            largest = np.maximum(np.abs(ours), np.abs(theirs))
            yield float(np.max(np.abs(ours - theirs) / np.where(largest > 0, largest, 1), initial=0.0))
