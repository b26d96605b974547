"""Lists such as `de=8,us=16` become one row a cell, many lists at a time.

    cells = explode(pa.array(["de=8,us=16", "", None]), COUNTRIES)
    cells.row, cells.key, cells.number          # [0, 0], ["de", "us"], [8, 16]

Numbers are rounded, so a month has few different cells: each is parsed once, with the grammar, and Arrow finds the
equal ones.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

COUNTRIES = re.compile(r"([A-Za-z0-9?]{2})=([0-9]{1,9})")
"""A country's cell. Its key becomes lower case."""

NAMES = re.compile(r"([!-+\--<>-~]{1,100})=([0-9]{1,9})")
"""Another cell: its key is up to 100 printable ASCII characters but `=`, `,` and blank."""

_MAX_CELLS = {COUNTRIES: 400, NAMES: 50}
"""Of a list. There are 250 countries; one bridge's countries x transports are rows of a day's results."""

_COMMA = ord(",")


class Cells(NamedTuple):
    """Cells of many lists, in their order.

    Attributes:
        row: index of each cell's list.
        key: the keys, as a dictionary array without nulls, whose dictionary has no key twice.
        number: the numbers.
        wrong: of each list, whether it has too many cells or one that is not of the grammar; its other cells are given.
    """

    row: NDArray[np.int64]
    key: pa.DictionaryArray
    number: NDArray[np.int32]
    wrong: NDArray[np.bool_]


def explode(lists: pa.StringArray, grammar: re.Pattern[str]) -> Cells:
    """Explode lists; an empty one and null have no cells.

    Args:
        lists: text in ASCII. What follows a blank in a list is ignored.
        grammar: of one cell; its groups are key and number.
    """
    lists = pc.fill_null(lists, "")
    if pc.any(pc.match_substring(lists, " ")).as_py():
        lists = pc.replace_substring_regex(lists, " .*", "")
    _, offsets, data = lists.buffers()
    ends = np.frombuffer(offsets, np.int32)[lists.offset : lists.offset + len(lists) + 1]
    data = (data or pa.py_buffer(b"")).slice(int(ends[0]), int(ends[-1] - ends[0]))
    ends = ends - ends[0]

    commas = np.flatnonzero(np.frombuffer(data, np.uint8) == _COMMA) + 1
    is_end = np.zeros(len(data) + 1, np.bool_)
    is_end[ends] = True
    is_start = np.zeros(len(data) + 1, np.bool_)
    is_start[ends[:-1][np.diff(ends) > 0]] = is_start[commas[~is_end[commas]]] = True
    starts = np.flatnonzero(is_start)
    row = np.searchsorted(ends, starts, "right") - 1
    wrong = np.zeros(len(lists), np.bool_)
    wrong[np.searchsorted(ends, commas[is_end[commas]]) - 1] = True

    # Each cell, with the comma that follows it, is one value of an Arrow array over the same bytes.
    bounds = pa.py_buffer(np.append(starts, len(data)).astype(np.int32))
    distinct = pa.Array.from_buffers(pa.string(), len(starts), [None, bounds, data]).dictionary_encode()
    keys: dict[str, int] = {}
    codes, numbers = [], []
    for cell in distinct.dictionary.to_pylist():
        match = grammar.fullmatch(cell.removesuffix(","))
        key, number = (match[1], int(match[2])) if match is not None else ("", -1)
        if grammar is COUNTRIES:
            key = key.lower()
        codes.append(keys.setdefault(key, len(keys)))
        numbers.append(number)
    indices = distinct.indices.to_numpy()
    number = np.array(numbers, np.int32)[indices]
    wrong[row[number < 0]] = True
    wrong |= np.bincount(row, minlength=len(lists)) > _MAX_CELLS[grammar]
    key = pa.DictionaryArray.from_arrays(np.array(codes, np.int32)[indices], pa.array(keys, pa.string()))
    return Cells(row, key, number, wrong)
