"""Tables of a simulated world, without files: what ingest would make of its archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pyarrow as pa

from obfstats.analyse.days import DAY
from obfstats.analyse.simulate import PLAIN, discrete_laplace, round_up
from obfstats.analyse.store import SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Callable

    from obfstats.analyse.fit import Booleans, Integers
    from obfstats.analyse.simulate import World

    Query = Callable[[str], pa.Table]


def make_tables(world: World, *, transports: bool = True) -> dict[str, pa.Table]:
    """Make the tables `reports`, `cells` and `statuses`."""
    instance, day = np.nonzero(world.report_end >= 0)
    size = len(instance)
    end = (world.first_day + day) * DAY + world.report_end[instance, day]
    total = np.zeros(size, dtype=np.int64)
    addresses = np.zeros((len(world.transports), size), dtype=np.int64)
    cells: list[tuple[Integers, str, str, Integers]] = []
    for country in world.countries:
        numbers = world.report_requests(country)[instance, day]
        total += numbers
        cells.append((np.arange(size), "requests", country, round_up(numbers)))
        if transports:
            for index, name in enumerate(world.transports):
                addresses[index] += world.report_addresses(country, name)[instance, day]
    if transports:
        for index, name in enumerate(world.transports):
            cells.append((np.arange(size), "transports", name, round_up(addresses[index])))
    cells = [(which[kept], line, key, numbers[kept]) for which, line, key, numbers in cells for kept in [numbers > 0]]
    served = world.served[instance, day]
    answered = np.where(served, np.floor(total * (1 - world.settings.incomplete)), total)
    report_day = end // DAY
    names = np.array(world.fingerprints, dtype=object)[world.bridge]
    reports = pa.table(
        {
            "report": np.arange(size),
            "source": np.zeros(size, np.int32),
            "day": report_day.astype(np.int32),
            "fingerprint": pa.array(names[instance]),
            "nickname": pa.array(np.array(world.nicknames, dtype=object)[instance]),
            "published": end + 3600,
            "stats_end": end,
            "stats_seconds": np.full(size, DAY, np.int32),
            "ok": round_up(answered).astype(np.int32),
            "served": pa.array(round_up(total).astype(np.int32), mask=~served),
            "has_requests": np.ones(size, bool),
            "bridge_end": end,
            "bridge_seconds": np.full(size, DAY, np.int32),
        }
    ).cast(SCHEMAS["reports"])
    counts = [len(which) for which, *_ in cells]
    rows = np.concatenate([which for which, *_ in cells])
    code = np.repeat(np.arange(len(cells)), counts)
    words = [pa.DictionaryArray.from_arrays(pa.array(code), pa.array([cell[at] for cell in cells])) for at in (1, 2)]
    lines, keys = (word.cast(pa.string()) for word in words)
    cell_table = pa.table(
        {
            "report": rows,
            "source": np.zeros(len(rows), np.int32),
            "day": report_day[rows].astype(np.int32),
            "line": lines,
            "key": keys,
            "number": np.concatenate([numbers for *_, numbers in cells]).astype(np.int32),
        }
    ).cast(SCHEMAS["cells"])
    listed, listed_day = np.nonzero(world.hours)
    statuses = pa.table(
        {
            "source": np.zeros(len(listed), np.int32),
            "day": (world.first_day + listed_day).astype(np.int32),
            "fingerprint": pa.array(names[listed]),
            "hours": world.hours[listed, listed_day].astype(np.int32),
        }
    ).cast(SCHEMAS["statuses"])
    return {"reports": reports, "cells": cell_table, "statuses": statuses}


def make_documents(world: World) -> dict[str, pa.Table]:
    """Make the tables `documents` and `document_cells`."""
    generator = np.random.default_rng(world.settings.seed)
    instance, day = np.nonzero((world.report_end >= 0) & world.documents[:, np.newaxis])
    size = len(instance)
    end = (world.first_day + day) * DAY + world.report_end[instance, day]
    epsilon = world.epsilon[instance]
    rounded, noisy = epsilon == 0, np.flatnonzero(epsilon > 0)
    rows: list[tuple[str, str, str, Integers, Integers]] = []
    of_transport = np.zeros((len(world.transports), size), dtype=np.int64)
    for country in world.countries:
        connections, addresses = np.zeros((2, size), dtype=np.int64)
        for index, name in enumerate(world.transports):
            if name != PLAIN:
                number = np.asarray(world.report_addresses(country, name)[instance, day], dtype=np.int64)
                connections += np.asarray(world.report_connections(country, name)[instance, day], dtype=np.int64)
                addresses += number
                of_transport[index] += number
                rows.append(("country_transports", country, name, *_above(number, rounded)))
        rows.append(("requests", country, "", *_above(connections, rounded)))
        rows.append(("ips", country, "", *_above(addresses, rounded)))
        drawn = [discrete_laplace(generator, one, 1)[0] for one in epsilon[noisy]]
        rows.append(("ips", country, "", noisy, addresses[noisy] + np.array(drawn, dtype=np.int64)))
    for index, name in enumerate(world.transports):
        if name != PLAIN:
            rows.append(("transports", "", name, *_above(of_transport[index], rounded)))
    cells = []
    for line, country, name, which, numbers in rows:
        columns = {
            "document": which,
            "source": np.zeros(len(which), np.int32),
            "day": (end[which] // DAY).astype(np.int32),
            "line": [line] * len(which),
            "country": [country] * len(which),
            "key": [name] * len(which),
            "number": numbers,
        }
        cells.append(pa.table(columns, schema=SCHEMAS["document_cells"]))
    documents = {
        "document": np.arange(size),
        "source": np.zeros(size, np.int32),
        "day": (end // DAY).astype(np.int32),
        "fingerprint": [world.fingerprints[number] for number in world.bridge[instance]],
        "instance": [world.nicknames[number] for number in instance],
        "end_time": end,
        "seconds": np.full(size, DAY, np.int32),
        "epsilon": pa.array(epsilon, mask=rounded),
    }
    return {
        "documents": pa.table(documents, schema=SCHEMAS["documents"]),
        "document_cells": pa.concat_tables(cells).combine_chunks(),
    }


def _above(numbers: Integers, chosen: Booleans) -> tuple[Integers, Integers]:
    """Give the chosen documents whose number is above 0, and these numbers rounded up."""
    which = np.flatnonzero(chosen & (numbers > 0))
    return which, round_up(numbers[which])


def open_tables(tables: dict[str, pa.Table]) -> Query:
    """Open tables for queries."""
    connection = duckdb.connect()
    for name, table in tables.items():
        connection.register(f"{name}_arrow", table)
        connection.execute(f"CREATE TABLE {name} AS SELECT * FROM {name}_arrow")
    return lambda sql: connection.sql(sql).to_arrow_table()
