"""A program that counts many small logs in halves, and whole, and says how often it did what.

It is one of its own because a process is copied only while it has one thread, which nobody promises of a test's.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from obfstats.publish import plain
from obfstats.publish.logfiles import find
from obfstats.publish.tally import tally
from obfstats.publish.tally.sizes import Sizes
from tests.publish.logs import DAMAGE, STARTS, line, logs

EXAMPLES = 150

happened = Counter[str]()


def notice(event: str, _: object) -> None:
    """Notice that the process is copied."""
    happened[event] += event == "os.fork"


def days() -> st.SearchStrategy[bytes]:
    """Give logs as a recorder writes them: days in order, with the same clients."""
    numbers = st.lists(st.integers(1, 40), min_size=2, max_size=len(STARTS))
    ends = st.sampled_from(("", " obfs3", " obfs3 v6"))
    return st.builds(
        lambda lengths, end: b"".join(
            line(start, client=client, end=end)
            for start, length in zip(sorted(STARTS), lengths, strict=False)
            for client in range(length)
        ),
        numbers,
        ends,
    )


@given(
    st.lists(days() | logs() | st.sampled_from(sorted(DAMAGE.values())), min_size=1, max_size=3),
    st.sampled_from((1 << 10, 1 << 20)),
    st.sampled_from((3, 1 << 17)),
)
@settings(deadline=None, max_examples=EXAMPLES, derandomize=True, database=None)
def count(several: list[bytes], longest: int, quiet: int) -> None:
    """Count logs in both ways."""
    with tempfile.TemporaryDirectory() as folder:
        for number, log in enumerate(several):
            (Path(folder) / str(number)).write_bytes(log)
        names = [str(Path(folder) / str(number)) for number in range(len(several))]
        read: list[int] = []
        forks = happened["os.fork"]
        found = tally(find(names), read.append, sizes=Sizes(block=400, quiet=quiet, halved=1, longest=longest))
        assert found == plain.count(find(names), lambda _: None)
        assert sum(read) == sum(map(len, several))
        if happened["os.fork"] == forks:
            happened["left whole"] += 1
        else:
            happened["given up" if min(read) < 0 else "halved"] += 1


if __name__ == "__main__":
    sys.addaudithook(notice)
    count()
    print(json.dumps({name: happened[name] for name in ("left whole", "given up", "halved")}))
