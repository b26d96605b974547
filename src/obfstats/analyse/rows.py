"""Result tables that grow day by day."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from obfstats.analyse.days import day_date


class Rows:
    """Columns of a table that grows by days."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.columns: list[list[object]] = [[] for _ in schema]

    def add(self, days: list[int], *values: object) -> None:
        """Add a row for each day; a value is an array of as many, or one for all."""
        self.columns[0] += map(day_date, days)
        for column, value in zip(self.columns[1:], values, strict=True):
            column.extend(value.tolist() if isinstance(value, np.ndarray) else [value] * len(days))

    def table(self) -> pa.Table:
        """Make the table, sorted by its first columns."""
        arrays = [pa.array(column, field.type) for column, field in zip(self.columns, self.schema, strict=True)]
        keys = [(name, "ascending") for name in self.schema.names if name in ("date", "country", "transport")]
        return pa.table(arrays, schema=self.schema).sort_by(keys)
