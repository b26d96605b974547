"""A program that counts many small logs in halves, and whole, and says how often it did what.

It is one of its own because a process is copied only while it has one thread, which nobody promises of a test's.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from obfstats.publish import plain
from obfstats.publish.logfiles import find
from obfstats.publish.tally import tally
from obfstats.publish.tally.sizes import Sizes
from tests.publish.logs import DAMAGE, STARTS, line, logs

if TYPE_CHECKING:
    from collections.abc import Callable

EXAMPLES = 200

happened = Counter[str]()


def notice(event: str, _: object) -> None:
    """Notice that the process is copied."""
    happened[event] += event == "os.fork"


def days() -> st.SearchStrategy[bytes]:
    """Give logs as a recorder writes them: days in order, with the same clients."""
    lengths = st.lists(st.integers(1, 40), min_size=2, max_size=len(STARTS))
    ends = st.sampled_from(("", " obfs3", " obfs3 v6"))
    damage = st.lists(st.tuples(st.sampled_from(sorted(DAMAGE.values())), st.integers(0, 100)), max_size=2)
    return st.builds(written, lengths, ends, damage)


def written(lengths: list[int], end: str, damage: list[tuple[bytes, int]]) -> bytes:
    """Write so many lines for each day, with damaged ones at some places."""
    lines = [
        line(start, client=client, end=end)
        for start, length in zip(sorted(STARTS), lengths, strict=False)
        for client in range(length)
    ]
    for damaged, place in damage:
        lines.insert(place, damaged)
    return b"".join(lines)


@given(
    st.lists(days() | logs() | st.sampled_from(sorted(DAMAGE.values())), min_size=1, max_size=3),
    st.sampled_from((1 << 10, 1 << 20, 1 << 20, 1 << 20)),
    st.sampled_from((3, 1 << 17)),
    st.sampled_from((bytes, bytes, bytes, gzip.compress)),
)
@settings(deadline=None, max_examples=EXAMPLES, derandomize=True, database=None)
def count(several: list[bytes], longest: int, quiet: int, pack: Callable[[bytes], bytes]) -> None:
    """Count logs in both ways."""
    with tempfile.TemporaryDirectory() as folder:
        packed = [*several[:-1], several[-1] and pack(several[-1])]
        for number, log in enumerate(packed):
            (Path(folder) / str(number)).write_bytes(log)
        names = [str(Path(folder) / str(number)) for number in range(len(several))]
        read: list[int] = []
        forks = happened["os.fork"]
        found = tally(find(names), read.append, sizes=Sizes(block=400, quiet=quiet, halved=1, longest=longest))
        assert found == plain.count(find(names), lambda _: None)
        assert sum(read) == sum(map(len, packed))
        if happened["os.fork"] == forks:
            happened["left whole"] += 1
        else:
            happened["given up" if min(read) < 0 else "halved"] += 1


if __name__ == "__main__":
    sys.addaudithook(notice)
    count()
    print(json.dumps({name: happened[name] for name in ("left whole", "given up", "halved")}))
