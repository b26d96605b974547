"""Fuzz the readers of descriptors: any file gives rows, damage or both, and how it is cut does not matter.

Run it with libFuzzer's arguments:

    .venv/bin/python -m fuzz.fuzz_descriptors -max_total_time=60 [corpus folder]

Every input is tried as a file, and as damage to a good file and to a good archive:

    byte 0, 1   offset of the damage, modulo the file's length
    byte 2      how many bytes are removed there
    the rest    what replaces them
"""

from __future__ import annotations

import io
import re
from contextlib import suppress
from functools import cache
from itertools import pairwise

from fuzz.target import run, watched

with watched(__name__, "obfstats.analyse"):
    from obfstats.analyse.archives import ArchiveError, read_pieces
    from obfstats.analyse.descriptors import Text, split
    from obfstats.analyse.store import SCHEMAS
    from obfstats.analyse.tables import TableMaker

GOOD_FILE = b"""\
@type bridge-extra-info 1.3
extra-info jarod125 A0187027648A392C6AC413B66F7CD25DD001BF76
published 2026-03-09 06:17:46
dirreq-write-history 2026-03-08 14:58:04 (14400 s) 3462144,2851840
dirreq-stats-end 2026-03-08 14:00:35 (86400 s)
dirreq-v3-reqs ir=16,us=8
dirreq-v3-resp served=32,ok=24,busy=0
bridge-stats-end 2026-03-08 14:01:30 (86400 s)
bridge-ips ir=16,us=8
bridge-ip-versions v4=24,v6=8
bridge-ip-transports <OR>=8,obfs4=24
@type bridge-network-status 1.2
published 2026-03-01 08:58:57
r Unnamed AHgpRvTFTOHQKPIeVB74RA7KoO4 AAAAAAAAAAAAAAAAAAAAAAAAAAA 2026-03-01 05:58:57 10.1.2.3 443 0
s Fast Running
@type bridge-server-descriptor 1.2
router snap269 10.220.75.59 54723 0 0
platform Tor 0.4.8.22 on Linux
published 2026-02-17 16:26:33
fingerprint C811 509D 2410 C2CB 18EE 8115 4D9F BC66 9525 B3A7
@type obfsproxy-stats 1.0
obfsproxy-stats-end (86400 s) 2026-02-10 09:22:04
obfsproxy-ips DE=48,EU=48,AU=32
"""


def check(data: bytes) -> None:
    """Check the invariant for one input.

    Raises:
        AssertionError: the rows depend on how descriptors are cut into files, or do not fit their tables.
    """
    _check_file(data)
    if len(data) >= 3:
        for good in (GOOD_FILE, _good_archive()):
            start = int.from_bytes(data[:2], "big") % (len(good) + 1)
            _check_file(good[:start] + data[3:] + good[start + data[2] :])


def _check_file(data: bytes) -> None:
    pieces: list[bytes] = []
    with suppress(ArchiveError):
        pieces.extend(piece.text for piece in read_pieces(io.BytesIO(data), lambda _: None))
    parts = []
    for text in pieces:
        cuts = [0, *(match.end() for match in re.finditer(rb"\n(?=@type )", text)), len(text)]
        parts += [text[start:end] for start, end in pairwise(cuts)]
    assert _read(pieces) == _read(parts), "rows depend on how descriptors are cut into files"


def _read(contents: list[bytes]) -> object:
    texts = [Text(1, "file", "", 1, 0, content) for content in contents]
    columns = split(texts)
    tables, read, damaged = _maker().make(columns)
    for damage in damaged:
        assert columns.locate(damage).startswith("file, line "), "damage is nowhere"
    rows = {}
    for name, table in tables.items():
        assert set(table.schema.names) == set(SCHEMAS[name].names), "columns of another table"
        places = [column for column in ("source", "report", "document") if column in table.schema.names]
        rows[name] = sorted(map(repr, table.drop_columns(places).to_pylist()))
    left_out = sorted((damage.kind, damage.reason) for damage in damaged)
    return {name: lines for name, lines in rows.items() if lines}, +read, columns.skipped, left_out


@cache
def _maker() -> TableMaker:
    return TableMaker()


@cache
def _good_archive() -> bytes:
    """A tar archive of the good file, in a member of an older kind without an own name."""
    header = bytearray(512)
    header[:4], header[124:136], header[156:157], header[257:263] = (
        b"name",
        b"%011o\0" % len(GOOD_FILE),
        b"0",
        b"ustar\0",
    )
    return bytes(header) + GOOD_FILE + bytes(-len(GOOD_FILE) % 512 + 1024)


if __name__ == "__main__":
    run(check)
