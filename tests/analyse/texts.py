"""Descriptors for tests: written from values, read to rows."""

from __future__ import annotations

import io
import tarfile
from functools import cache
from typing import TYPE_CHECKING, Any

from obfstats.analyse.archives import read_pieces
from obfstats.analyse.descriptors import Text, split
from obfstats.analyse.tables import TableMaker

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Mapping

FINGERPRINT = "A0187027648A392C6AC413B66F7CD25DD001BF76"

EXTRA_INFO = f"""\
@type bridge-extra-info 1.3
extra-info jarod125 {FINGERPRINT}
master-key-ed25519 sPIXwrwtL6xXTRcpkTyPJ0lkRHRMAr+qiI3HZE+aeK4
published 2026-03-09 06:17:46
dirreq-write-history 2026-03-08 14:58:04 (14400 s) 3462144,2851840
dirreq-stats-end 2026-03-08 14:00:35 (86400 s)
dirreq-v3-reqs ir=16,us=8
dirreq-v3-resp served=32,ok=24,not-enough-sigs=0,unavailable=0,not-found=0,not-modified=0,busy=0
transport obfs4
bridge-stats-end 2026-03-08 14:01:30 (86400 s)
bridge-ips ir=16,us=8
bridge-ip-versions v4=24,v6=8
bridge-ip-transports <OR>=8,obfs4=24
router-digest 00A2A7A70D80E5ED3CE6B9F33B7932419112DE1B
"""

STATUS = """\
@type bridge-network-status 1.2
published 2026-03-01 08:58:57
flag-thresholds stable-uptime=1494383
fingerprint BA44A889E64B93FAA2B114E02C2A279A8555C533
r Unnamed ADXqKmHijTlfCArKIkRTlJDnCVA AAAAAAAAAAAAAAAAAAAAAAAAAAA 2026-03-01 05:58:57 10.1.2.3 443 0
s Fast V2Dir Valid
w Bandwidth=56
p reject 1-65535
r Unnamed AHgpRvTFTOHQKPIeVB74RA7KoO4 AAAAAAAAAAAAAAAAAAAAAAAAAAA 2026-03-01 05:58:57 10.1.2.3 443 0
a [fd9f:2e19:3bcf::2:9970]:443
s Fast Running Stable V2Dir Valid
w Bandwidth=56
p reject 1-65535
r newbox ARCmz0GgdjeAj/95wHg/83RitSU AAAAAAAAAAAAAAAAAAAAAAAAAAA 2026-03-01 05:58:57 10.1.2.3 443 0
s Running
"""

SERVER = """\
@type bridge-server-descriptor 1.2
router snap269 10.220.75.59 54723 0 0
platform Tor 0.4.8.22 on Linux
published 2026-02-17 16:26:33
fingerprint C811 509D 2410 C2CB 18EE 8115 4D9F BC66 9525 B3A7
uptime 10863
router-digest 00A2A544DA2FD2D5CA239790852B116290A914E4
"""

DOCUMENT = """\
@type obfsproxy-stats 1.0
hashed-fingerprint 7cb8c8b7a9e2f1d0c3b4a5968778695a4b3c2d1e
obfsproxy-stats-end (86400 s) 2026-02-10 09:22:04
obfsproxy-ips DE=48,EU=48,AU=32
obfsproxy-reqs DE=64,EU=56,AU=32
obfsproxy-ip-versions v4=112,v6=16
obfsproxy-ip-transports obfs2=8,obfs3=120
obfsproxy-ip-country-transports DE/obfs3=48,EU/obfs3=48,AU/obfs2=8,AU/obfs3=24
"""


class Reading:
    """What texts were read as.

    Attributes:
        rows: the rows of each table, in order, without the columns that say where they came from.
        read: number of descriptors by type.
        skipped: what was left out, by type or annotation.
        damaged: type, reason and place of each damaged descriptor.
    """

    def __init__(self, *texts: str | bytes | tuple[str, str | bytes]) -> None:
        """Read texts, each the content of a file of its own, or a pair of the file's name and its content."""
        batch, offset = [], 0
        for index, text in enumerate(texts):
            name, content = text if isinstance(text, tuple) else (f"file{index}", text)
            data = content.encode() if isinstance(content, str) else content
            batch.append(Text(1, name, "", 1, offset, data))
            offset += len(data)
        columns = split(batch)
        tables, read, damaged = _table_maker().make(columns)
        self.rows = {name: _without_places(table.to_pylist()) for name, table in tables.items()}
        self.read: Counter[str] = +read
        self.skipped = columns.skipped
        self.damaged = sorted((damage.kind, damage.reason, columns.locate(damage)) for damage in damaged)

    def sorted_rows(self) -> dict[str, list[dict[str, Any]]]:
        """The rows of each table that has any, in an order that depends on nothing but them."""
        return {name: sorted(rows, key=repr) for name, rows in self.rows.items() if rows}


@cache
def _table_maker() -> TableMaker:
    """One DuckDB for all tests."""
    return TableMaker()


def _without_places(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    places = {"source", "report", "document"}
    return [{name: value for name, value in row.items() if name not in places} for row in rows]


def tar_of(members: Mapping[str, bytes], format_: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar archive, as Python writes it."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format_) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def members_of(data: bytes) -> list[tuple[str, bytes]]:
    """The members of an archive in memory, or the one plain file it is, as we read it."""
    return [(piece.member, piece.text) for piece in read_pieces(io.BytesIO(data), lambda _: None)]
