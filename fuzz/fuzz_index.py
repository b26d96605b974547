"""Fuzz the index of an archive: it parses or raises ArchiveIndexError, and what parses is safe and writes the same.

Run it with libFuzzer's arguments:

    .venv/bin/python -m fuzz.fuzz_index -max_total_time=60 [corpus folder]

Every input is tried three times: as an index, as a compressed index, and as damage to a good one:

    byte 0, 1   offset of the damage in the good index, modulo its length
    byte 2      how many bytes of the good index are removed there
    the rest    what replaces them
"""

from __future__ import annotations

import contextlib
from pathlib import PurePosixPath

from fuzz.target import run, watched

with watched(__name__, "obfstats.collect.index"):
    from obfstats.collect.index import ArchiveIndexError, Index, parse_index, unpack_index, write_index

GOOD_INDEX = b"""\
{"index_created":"2026-11-30 14:09","build_revision":"1","path":"https://collector.example","files":[
{"path":"withdrawn","size":0,
"last_modified":"2026-11-30 14:09","sha256":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}],
"directories":[{"path":"archive","files":[{"path":"obfsproxy-stats-imported-2019-05.tar.xz","size":377644,
"last_modified":"2026-11-30 14:09","types":["obfsproxy-stats 1.0","obfsproxy-stats 1.2"],
"first_published":"2019-05-01 00:07","last_published":"2019-05-31 23:37",
"sha256":"aDD2q7uNGOM+WuH67+nTd7rvFN4P580xPAmXYtqxr2I=","imported":true}]},
{"path":"recent","directories":[{"path":"obfsproxy-stats","files":[{"path":"2026-11-30-14-09-00-obfsproxy-stats",
"size":1099511627776,"last_modified":"2026-11-30 14:09","sha256":"VLdUu98Fz8RKTFL13ftA3WJ5lsDJQBRrh/KGLOYAUqk="}]}]}]}
"""


def check(data: bytes) -> None:
    """Check the invariant for one input.

    Raises:
        AssertionError: a path could leave the mirror's folder or collide, or what is written reads as something else.
    """
    _check_index(data)
    with contextlib.suppress(ArchiveIndexError):
        _check_index(unpack_index(data))
    if len(data) >= 3:
        start = int.from_bytes(data[:2], "big") % (len(GOOD_INDEX) + 1)
        _check_index(GOOD_INDEX[:start] + data[3:] + GOOD_INDEX[start + data[2] :])


def _check_index(text: bytes) -> None:
    try:
        index = parse_index(text)
    except ArchiveIndexError:
        return
    paths = [PurePosixPath(entry.path) for entry in index.files]
    for path in paths:
        assert not path.is_absolute(), "an absolute path"
        assert not any(part.startswith(".") for part in path.parts), "a hidden name, or one that leads upwards"
    files = set(paths)
    assert len(files) == len(paths), "two files have one name"
    assert not any(parent in files for path in paths for parent in path.parents), "a file is a folder too"
    assert _rewrite(index) == index, "written again it is another index"


def _rewrite(index: Index) -> Index:
    return parse_index(write_index(index))


if __name__ == "__main__":
    run(check)
