"""SIGKILL at any point: what a real process leaves."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

from obfstats.formats.logline import is_line
from obfstats.record.journal import Journal

ROOT = Path(__file__).parents[2]
KILLS = 40

# Counts as fast as it can and keeps, in a file that survives it, how many it has counted.
COUNTING_PROCESS = """
import mmap, sys
from pathlib import Path
from obfstats.record.journal import Journal
from obfstats.record.recorder import Recorder
from tests.record.surroundings import countries
log, tally, buffer = sys.argv[1], sys.argv[2], int(sys.argv[3])
with open(tally, "r+b") as file:
    counted = memoryview(mmap.mmap(file.fileno(), 8)).cast("Q")
recorder = Recorder(Journal(Path(log), warn=print), countries(), draw_delay=lambda: 0.0, buffer=buffer)
print("counting", flush=True)
while True:
    recorder.record(f"198.{counted[0] >> 8 & 255}.{counted[0] & 255}.1")
    counted[0] += 1
    if counted[0] % 500 == 0:
        recorder.tick()
"""


def test_a_killed_process_loses_at_most_the_buffer_and_tears_no_later_line(tmp_path: Path) -> None:
    """Forty kills in a row on one log: every line is whole or sealed, and few are missing.

    Each client has a network of its own, and every 500th a tick, which writes half of the buffer. So that has 500 to
    1,000 lines.
    """
    log, tally = tmp_path / "log", tmp_path / "tally"
    draw = random.Random(5047)
    read = total = 0
    for _ in range(KILLS):
        buffer = draw.choice([1, 7, 50, 100])
        tally.write_bytes(bytes(8))
        process = subprocess.Popen(
            [sys.executable, "-c", COUNTING_PROCESS, str(log), str(tally), str(buffer)],
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"counting\n"
            # The moment is a number of lines, not a time: the process itself races towards it.
            until = draw.randrange(1, 10_000)
            while int.from_bytes(tally.read_bytes(), sys.byteorder) < until:
                pass
            process.kill()
            assert process.wait() == -signal.SIGKILL
        counted = int.from_bytes(tally.read_bytes(), sys.byteorder)
        Journal(log, warn=print).close()
        added = log.read_bytes()[read:]
        read += len(added)
        whole = [line for line in added.splitlines(keepends=True) if line.endswith(b"\n") and is_line(line)]
        assert added.endswith(b"\n") or not added
        # At most the last line is not whole: the one that was being written.
        assert b"".join(whole) == added[: 64 * len(whole)]
        assert len(added) - 64 * len(whole) <= 64
        # The line that was being counted may be written and not yet tallied.
        held = 1 if buffer == 1 else 1_200
        assert counted - held <= len(whole) <= counted + 1
        total += len(whole)
    assert total > 1000
