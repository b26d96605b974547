"""The tables that ingest writes and estimates read: Parquet files below DIR/store, partitioned by month.

    DIR/store/reports/month=2026-03/part-000001.parquet

Rules:

- Times are seconds since 1970-01-01 UTC, days are numbers of days since then; so every engine compares them alike.
- A row holds what a descriptor says. The rules of an estimate (what is imported, merged, rounded) are not applied here.
- Every row names its `source`, the number of the input file that it came from, so that a changed file's rows can be
  replaced.
- A month is that of the row's `day`. Rows of a part are sorted by day, so that a query of a few days reads little.
- `fingerprint` is the hashed fingerprint in upper-case hex; (fingerprint, nickname) is one instance of a bridge.
- Country codes are in lower case, `??` is unknown. Transports, versions and nicknames are as in the descriptor.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMAS: Mapping[str, pa.Schema] = {
    # One row for each bridge extra-info descriptor (dir-spec, extra-info).
    "reports": pa.schema(
        [
            pa.field("report", pa.int64(), nullable=False),  # its number in this store
            pa.field("source", pa.int32(), nullable=False),
            pa.field("day", pa.int32(), nullable=False),  # of stats_end, else bridge_end, else published
            pa.field("fingerprint", pa.string(), nullable=False),
            pa.field("nickname", pa.string(), nullable=False),
            pa.field("published", pa.int64(), nullable=False),
            pa.field("stats_end", pa.int64()),  # dirreq-stats-end
            pa.field("stats_seconds", pa.int32()),
            pa.field("ok", pa.int32()),  # of dirreq-v3-resp; null without that line
            pa.field("served", pa.int32()),  # null where dirreq-v3-resp has no served=
            pa.field("has_requests", pa.bool_(), nullable=False),  # whether dirreq-v3-reqs is there, even empty
            pa.field("bridge_end", pa.int64()),  # bridge-stats-end
            pa.field("bridge_seconds", pa.int32()),
        ]
    ),
    # One row for each CC=N, transport=N or v4=N of a report.
    "cells": pa.schema(
        [
            pa.field("report", pa.int64(), nullable=False),
            pa.field("source", pa.int32(), nullable=False),
            pa.field("day", pa.int32(), nullable=False),  # of the report
            pa.field("line", pa.string(), nullable=False),  # requests, ips, transports or versions
            pa.field("key", pa.string(), nullable=False),
            pa.field("number", pa.int32(), nullable=False),
        ]
    ),
    # One row for each value of dirreq-write-history.
    "histories": pa.schema(
        [
            pa.field("source", pa.int32(), nullable=False),
            pa.field("day", pa.int32(), nullable=False),  # of end_time
            pa.field("fingerprint", pa.string(), nullable=False),
            pa.field("nickname", pa.string(), nullable=False),
            pa.field("published", pa.int64(), nullable=False),  # of the descriptor
            pa.field("history_end", pa.int64(), nullable=False),  # of the whole line
            pa.field("start_time", pa.int64(), nullable=False),
            pa.field("end_time", pa.int64(), nullable=False),
            pa.field("bytes", pa.int64(), nullable=False),
        ]
    ),
    # One row for each bridge, day and source: the hours that begin in it in which a status had the flag Running.
    "statuses": pa.schema(
        [
            pa.field("source", pa.int32(), nullable=False),
            pa.field("day", pa.int32(), nullable=False),
            pa.field("fingerprint", pa.string(), nullable=False),
            pa.field("hours", pa.int32(), nullable=False),  # bit 0 is the hour from 00:00 to 01:00
        ]
    ),
    # One row for each bridge server descriptor: which tor a bridge runs.
    "servers": pa.schema(
        [
            pa.field("source", pa.int32(), nullable=False),
            pa.field("day", pa.int32(), nullable=False),  # of published
            pa.field("fingerprint", pa.string(), nullable=False),
            pa.field("nickname", pa.string(), nullable=False),
            pa.field("published", pa.int64(), nullable=False),
            pa.field("tor", pa.string()),  # version of tor, from the platform line
        ]
    ),
    # One row for each of our documents (docs/document.md).
    "documents": pa.schema(
        [
            pa.field("document", pa.int64(), nullable=False),  # its number in this store
            pa.field("source", pa.int32(), nullable=False),
            pa.field("day", pa.int32(), nullable=False),  # of end_time
            pa.field("fingerprint", pa.string(), nullable=False),  # empty where the document has none
            pa.field("instance", pa.string(), nullable=False),  # empty: the format has none yet
            pa.field("end_time", pa.int64(), nullable=False),
            pa.field("seconds", pa.int32(), nullable=False),
            pa.field("epsilon", pa.float64()),  # of the noise on `ips`; null where numbers are rounded
        ]
    ),
    # One row for each number of a document.
    "document_cells": pa.schema(
        [
            pa.field("document", pa.int64(), nullable=False),
            pa.field("source", pa.int32(), nullable=False),
            pa.field("day", pa.int32(), nullable=False),  # of the document
            pa.field("line", pa.string(), nullable=False),  # ips, requests, versions, transports, country_transports
            pa.field("country", pa.string(), nullable=False),  # empty where the line has none
            pa.field("key", pa.string(), nullable=False),  # transport or version; empty where the line has none
            pa.field("number", pa.int64(), nullable=False),
        ]
    ),
}
"""The columns of each table."""
