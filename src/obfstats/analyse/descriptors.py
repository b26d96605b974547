"""Descriptors as bytes become columns of text, many at a time; nothing is interpreted yet.

    texts = split([Text(source=1, file="recent", member="", first_line=1, offset=0, content=b"@type ...")])
    texts.extra_infos       # one row a descriptor; a column a keyword, holding what follows it on its line

Rules:

- A type annotation (`@type bridge-extra-info 1.3`) holds up to the next one or the end of its member or file. Any
  version 1.x of a known type is read, because minor versions only add lines (CollecTor, "Data formats").
- Lines of other keywords are ignored. A descriptor with two lines of one of our keywords is damaged, as it is for
  Tor's metrics-lib, and is left out as a whole.
- A descriptor whose last line has no newline was cut off; it is damaged. Our documents may end so.
- Other types, and annotations other than `@type`, are left out and counted.
- Text without `@type` is one of our documents if it begins like one (docs/document.md); otherwise it is left out.
  Signatures, an index and a list of withdrawn documents belong to an archive, and are not counted as left out.
- Bytes that are not ASCII become DEL, which no grammar of a line accepts.

All lines of a batch are one Arrow array over the bytes as they are, and keywords are compared eight bytes at a time, so
one pass of numpy finds a keyword in all descriptors.
Formats: dir-spec (extra-info, server descriptors, network status), CollecTor's description of sanitised descriptors.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from obfstats.commandline import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

EXTRA_INFO = "bridge-extra-info"
STATUS = "bridge-network-status"
SERVER = "bridge-server-descriptor"
DOCUMENT = "obfsproxy-stats"

EXTRA_INFO_KEYWORDS = {
    "head": "extra-info",
    "published": "published",
    "stats_end": "dirreq-stats-end",
    "responses": "dirreq-v3-resp",
    "requests": "dirreq-v3-reqs",
    "bridge_end": "bridge-stats-end",
    "ips": "bridge-ips",
    "transports": "bridge-ip-transports",
    "versions": "bridge-ip-versions",
    "history": "dirreq-write-history",
}
"""Columns of bridge extra-info descriptors and their keywords; the first begins a descriptor."""

SERVER_KEYWORDS = {
    "head": "router",
    "published": "published",
    "identity": "fingerprint",
    "platform": "platform",
}
"""Columns of bridge server descriptors and their keywords."""

_TYPE = re.compile(r"([a-z0-9-]{1,60}) ([0-9]{1,4})\.([0-9]{1,4})")
_KINDS = (EXTRA_INFO, STATUS, SERVER, DOCUMENT)
_DOCUMENT_START = ("hashed-fingerprint ", "obfsproxy-stats-end ")
_BESIDE_DOCUMENTS = re.compile(
    r'untrusted comment: |\{"index_created":|[0-9-]{10} [0-9:]{8} [0-9a-f]{64} (?:archive|recent)/'
)
_STATUS_NAME = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})-([0-9]{2})([0-9]{2})([0-9]{2})-[0-9A-Fa-f]{40}")
_TO_ASCII = bytes(min(byte, 0x7F) for byte in range(256))
_MAX_LABEL = 60
_MAX_LENGTH = 100_000
"""Bytes of the longest extra-info or server descriptor. Bridges upload at most 50,000 and 20,000 (tor, or.h)."""
_NEWLINE, _BLANK = 0x0A, 0x20
_WORD = 8
"""Bytes of a keyword that are compared at once."""


class Text(NamedTuple):
    """Whole descriptors of one member or plain file.

    Attributes:
        source: number of the file.
        file: its path.
        member: name of the member; empty for a plain file.
        first_line: number of the first line, counted from 1, in the member.
        offset: number of bytes of the file's content that precede it.
        content: the descriptors.
    """

    source: int
    file: str
    member: str
    first_line: int
    offset: int
    content: bytes

    def locate(self, line: int = 0) -> str:
        """Say where a line is that is so many lines after the first: file, member, line."""
        names = [one_line(name) for name in (self.file, self.member) if name]
        return ", ".join([*names, f"line {self.first_line + line}"])


class Damage(NamedTuple):
    """A descriptor that is left out.

    Attributes:
        kind: its type.
        reason: what is wrong.
        line: index of its first line in the batch.
        keyword: of the wrong line; empty where that is the first one.
    """

    kind: str
    reason: str
    line: int
    keyword: str = ""


class DocumentText(NamedTuple):
    """Text that holds our documents.

    Attributes:
        source: number of the file.
        offset: as in `Text`, of its first byte.
        line: index of its first line in the batch.
        content: the documents.
    """

    source: int
    offset: int
    line: int
    content: bytes


@dataclass(frozen=True, slots=True)
class TextColumns:
    """A batch of descriptors.

    Attributes:
        extra_infos: a row a descriptor: `line` (index in the batch), `source`, `offset` (of its first byte in the
            source), and the columns of EXTRA_INFO_KEYWORDS.
        servers: the same with the columns of SERVER_KEYWORDS.
        statuses: a row a status: `line`, `source`, `published`.
        entries: a row an entry with the flag Running: `status` (the status' `line`), `entry` (its r line).
        documents: our documents.
        damaged: descriptors that are left out here.
        skipped: how often what was left out without being damaged.
    """

    extra_infos: pa.Table
    servers: pa.Table
    statuses: pa.Table
    entries: pa.Table
    documents: list[DocumentText]
    damaged: list[Damage]
    skipped: Counter[str]
    _texts: Sequence[Text]
    _first_lines: NDArray[np.int64]

    def locate(self, damage: Damage) -> str:
        """Say where damage is: file, member, line."""
        index = int(np.searchsorted(self._first_lines, damage.line, "right")) - 1
        text = self._texts[index]
        line = damage.line - int(self._first_lines[index])
        following = text.content.split(b"\n")[line:] if damage.keyword else []
        keyword = damage.keyword.encode()
        return text.locate(line + next((i for i, it in enumerate(following) if it.split(b" ")[0] == keyword), 0))


def split(texts: Sequence[Text]) -> TextColumns:
    """Split a batch of descriptors into columns."""
    lines = _Lines(texts)
    damaged: list[Damage] = []
    documents: list[DocumentText] = []
    for region in np.flatnonzero(lines.kinds == _KINDS.index(DOCUMENT)):
        start, stop = int(lines.region_starts[region]), int(lines.region_starts[region + 1])
        content = lines.data[lines.offsets[start] : lines.offsets[stop]]
        documents.append(DocumentText(*lines.place(start), start, content))
    statuses, entries = _split_statuses(lines, damaged)
    return TextColumns(
        _split_kind(lines, EXTRA_INFO, EXTRA_INFO_KEYWORDS, damaged),
        _split_kind(lines, SERVER, SERVER_KEYWORDS, damaged),
        statuses,
        entries,
        documents,
        damaged,
        lines.skipped,
        texts,
        lines.text_lines,
    )


class _Lines:
    """The lines of a batch and the regions that type annotations make of them.

    Attributes:
        data: all bytes, with as many at the end as are compared at once; every text ends with a newline.
        offsets: where each line begins in `data`, and the end.
        array: the lines, with their newlines.
        text_lines: the first line of each text.
        cut_lines: lines that had no newline.
        region_starts: the first line of each region, and the end.
        kinds: of each region, the index in _KINDS, or -1.
        region_of_line: index of each line's region.
        skipped: what is left out.
    """

    def __init__(self, texts: Sequence[Text]) -> None:
        self._texts = texts
        contents = [text.content for text in texts]
        cut_texts = [index for index, content in enumerate(contents) if content[-1:] != b"\n"]
        for index in cut_texts:
            contents[index] += b"\n"
        self._text_offsets = np.cumsum([0, *map(len, contents)])
        contents.append(bytes(_WORD))
        self.data = b"".join(contents)
        if not self.data.isascii():
            self.data = self.data.translate(_TO_ASCII)
        self._bytes = np.frombuffer(self.data, np.uint8)
        self._words = np.ndarray(len(self.data) - _WORD + 1, np.uint64, self.data, strides=(1,))
        ends = np.flatnonzero(self._bytes == _NEWLINE)
        self.offsets = np.zeros(len(ends) + 1, np.int32)
        self.offsets[1:] = ends + 1
        self.array = pa.Array.from_buffers(
            pa.binary(), len(ends), [None, pa.py_buffer(self.offsets), pa.py_buffer(self.data)]
        )
        self._first_words = self._words[self.offsets[:-1]]
        self.text_lines = np.searchsorted(self.offsets, self._text_offsets[:-1])
        self.cut_lines = np.searchsorted(self.offsets, self._text_offsets[1:])[cut_texts] - 1
        self.skipped: Counter[str] = Counter()
        self._find_regions()

    def find(self, keyword: str) -> NDArray[np.int64]:
        """Give the lines of a keyword."""
        key = keyword.encode()
        found = np.flatnonzero(_is_word(self._first_words, key[:_WORD]))
        for start in range(_WORD, len(key), _WORD):
            found = found[_is_word(self._words[self.offsets[found] + start], key[start : start + _WORD])]
        after = self._bytes[self.offsets[found] + len(key)]
        is_whole: NDArray[np.bool_] = (after == _BLANK) | (after == _NEWLINE)
        return found[is_whole]

    def values(self, lines: NDArray[np.int64], keyword: str) -> pa.Array:
        """Give what follows a keyword on lines; null where the line is -1."""
        taken = self.array.take(pa.array(lines, mask=lines < 0))
        return pc.binary_slice(taken, len(keyword) + 1, -1).view(pa.string())

    def place(self, line: int) -> tuple[int, int]:
        """Give a line's source and offset in the source."""
        text = int(np.searchsorted(self.text_lines, line, "right")) - 1
        return self._texts[text].source, self._texts[text].offset + int(self.offsets[line] - self._text_offsets[text])

    def places(self, lines: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Give the sources of lines and their offsets in the source."""
        texts = np.searchsorted(self.text_lines, lines, "right") - 1
        sources = np.array([text.source for text in self._texts], np.int32)
        offsets = np.array([text.offset for text in self._texts], np.int64)
        return sources[texts], offsets[texts] + self.offsets[lines] - self._text_offsets[texts]

    def member(self, line: int) -> str:
        """Give the name of the member, or of the plain file, that a line is in."""
        text = self._texts[int(np.searchsorted(self.text_lines, line, "right")) - 1]
        return text.member or text.file

    def _find_regions(self) -> None:
        types = self.find("@type")
        is_start = np.zeros(len(self.array), np.bool_)
        is_start[types] = is_start[self.text_lines] = True
        starts = np.flatnonzero(is_start)
        self.region_starts = np.append(starts, len(self.array))
        self.region_of_line = np.repeat(np.arange(len(starts)), np.diff(self.region_starts))
        self.kinds = np.full(len(starts), -1, np.int8)
        named = self.values(types, "@type").dictionary_encode()
        kinds, counts = [], np.bincount(named.indices.to_numpy(), minlength=len(named.dictionary))
        for name, count in zip(named.dictionary.to_pylist(), counts, strict=True):
            match = _TYPE.fullmatch(name)
            is_known = match is not None and match[1] in _KINDS and match[2] == "1"
            kinds.append(_KINDS.index(match[1]) if match is not None and is_known else -1)
            if not is_known:
                self.skipped[f"@type {name[:_MAX_LABEL]}"] += int(count)
        self.kinds[np.searchsorted(starts, types)] = np.array(kinds, np.int8)[named.indices.to_numpy()]
        is_start[types] = False
        for line in np.flatnonzero(is_start).tolist():
            text = self.array[line].as_py().decode()
            if text.startswith(_DOCUMENT_START):
                self.kinds[np.searchsorted(starts, line)] = _KINDS.index(DOCUMENT)
            elif not text.startswith(("@", "\n")) and not _BESIDE_DOCUMENTS.match(text):
                self.skipped["text without @type"] += 1
        is_annotation = _is_word(self._first_words, b"@")
        is_annotation[types] = False
        for line in np.flatnonzero(is_annotation).tolist():
            self.skipped[self.array[line].as_py().decode().split()[0][:_MAX_LABEL]] += 1


def _is_word(words: NDArray[np.uint64], key: bytes) -> NDArray[np.bool_]:
    """Tell which words begin with at most eight bytes."""
    mask = np.frombuffer((b"\xff" * len(key)).ljust(_WORD, b"\0"), np.uint64)[0]
    is_word: NDArray[np.bool_] = (words & mask) == np.frombuffer(key.ljust(_WORD, b"\0"), np.uint64)[0]
    return is_word


def _split_kind(lines: _Lines, kind: str, keywords: dict[str, str], damaged: list[Damage]) -> pa.Table:
    """Make the columns of one kind of descriptor."""
    is_kind = lines.kinds == _KINDS.index(kind)
    if not is_kind.any():
        no_text = pa.array([], pa.string())
        return pa.table({"line": [], "source": [], "offset": [], **dict.fromkeys(keywords, no_text)})
    head = next(iter(keywords.values()))
    starts = lines.find(head)
    starts = starts[is_kind[lines.region_of_line[starts]]]
    regions = lines.region_of_line[starts]
    is_empty = is_kind.copy()
    is_empty[regions] = False
    damaged += [Damage(kind, f"no {head} line", line) for line in lines.region_starts[:-1][is_empty].tolist()]
    is_whole = np.ones(len(starts), np.bool_)

    def owners(found: NDArray[np.int64]) -> NDArray[np.int64]:
        """Give the descriptor of each line, -1 for lines of none."""
        if not len(starts):
            return np.full(len(found), -1)
        owner = np.searchsorted(starts, found, "right") - 1
        return np.where((owner >= 0) & (regions[owner] == lines.region_of_line[found]), owner, -1)

    def leave_out(rows: NDArray[np.int64], reason: str, keyword: str = "") -> None:
        first_lines = np.unique(starts[rows[is_whole[rows]]])
        damaged.extend(Damage(kind, reason, line, keyword) for line in first_lines.tolist())
        is_whole[rows] = False

    columns = {}
    for name, keyword in keywords.items():
        found = lines.find(keyword)
        owner = owners(found)
        found, owner = found[owner >= 0], owner[owner >= 0]
        leave_out(owner[1:][np.diff(owner) == 0], f"two {keyword} lines", keyword)
        index = np.full(len(starts), -1, np.int64)
        index[owner] = found
        columns[name] = lines.values(index, keyword)
    cut = owners(lines.cut_lines)
    leave_out(cut[cut >= 0], "ends within a line")
    ends = np.minimum(np.append(starts[1:], len(lines.array)), lines.region_starts[regions + 1])
    too_long = lines.offsets[ends] - lines.offsets[starts] > _MAX_LENGTH
    leave_out(np.flatnonzero(too_long), f"more than {_MAX_LENGTH:,} bytes")
    sources, offsets = lines.places(starts)
    table = pa.table({"line": starts, "source": sources, "offset": offsets, **columns})
    return table if is_whole.all() else table.filter(pa.array(is_whole))


def _split_statuses(lines: _Lines, damaged: list[Damage]) -> tuple[pa.Table, pa.Table]:
    """Make the columns of network statuses, and of their entries with the flag Running."""
    is_kind = lines.kinds == _KINDS.index(STATUS)
    cut = lines.region_of_line[lines.cut_lines]
    for region in cut[is_kind[cut]].tolist():
        damaged.append(Damage(STATUS, "ends within a line", int(lines.region_starts[region])))
        is_kind[region] = False
    regions = np.flatnonzero(is_kind)
    if not len(regions):
        return pa.table({"line": []}), pa.table({"status": []})
    starts = lines.region_starts[regions]
    published = lines.find("published")
    owner, first = np.unique(lines.region_of_line[published], return_index=True)
    index = np.full(len(lines.kinds), -1, np.int64)
    index[owner] = published[first]
    times = lines.values(index[regions], "published").to_pylist()
    for row, time in enumerate(times):
        if time is None:
            times[row] = _time_of_name(lines.member(int(starts[row])))
    sources, _ = lines.places(starts)
    statuses = pa.table({"line": starts, "source": sources, "published": pa.array(times, pa.string())})

    flags, entries = (found[is_kind[lines.region_of_line[found]]] for found in (lines.find("s"), lines.find("r")))
    texts = lines.array.take(pa.array(flags)).view(pa.string())
    flags = flags[pc.match_substring_regex(texts, " Running[ \n]").to_numpy(zero_copy_only=False)]
    # An s line belongs to the r line before it (dir-spec); an entry has one.
    owner = np.searchsorted(entries, flags, "right") - 1
    flags, owner = flags[owner >= 0], owner[owner >= 0]
    is_same = lines.region_of_line[flags] == lines.region_of_line[entries[owner]] if len(flags) else owner >= 0
    running = entries[owner[is_same]]
    of_status = lines.region_starts[lines.region_of_line[running]]
    return statuses, pa.table({"status": of_status, "entry": lines.values(running, "r")})


def _time_of_name(name: str) -> str | None:
    """Give the time in the name of a status; statuses of the first years have it nowhere else."""
    match = _STATUS_NAME.fullmatch(re.split(r"[/\\]", name)[-1])
    return None if match is None else "{}-{}-{} {}:{}:{}".format(*match.groups())
