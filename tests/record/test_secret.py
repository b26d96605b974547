"""S: one place, locked, wiped."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import blake2b
from pathlib import Path

import pytest

from obfstats.record.secret import Secret
from tests.record.remains import mapped

# A process that counts, tells its S to the one who asked, forgets it at a word, and stays alive.
COUNTING_PROCESS = """
import os, sys
from pathlib import Path
from obfstats.record import Recorder
recorder = Recorder.open(Path(sys.argv[1]), buffer=10)
for number in range(1000):
    recorder.record(f"192.0.2.{number % 256}", "obfs3")
os.write(1, recorder._secret.key)
sys.stdin.readline()
if sys.argv[2] == "close":
    recorder.close()
else:
    recorder._secret.renew()
os.write(1, b"done")
sys.stdin.readline()
"""


def copies_in_memory(pid: int, needle: bytes, *, with_stack: bool = True) -> int:
    """Count a needle in everything that a process has mapped and can be read."""
    return sum(content.count(needle) for content in mapped(pid, with_stack=with_stack))


@pytest.mark.parametrize("way", ["close", "renew"])
def test_no_copy_of_the_secret_is_left_in_a_living_process(tmp_path: Path, way: str) -> None:
    """After 1,000 hashes S is in memory in one place; after the wipe, or with its successor, in none.

    Until then some builds of CPython have what their last hash left on the stack (stack.py).
    """
    process = subprocess.Popen(
        [sys.executable, "-c", COUNTING_PROCESS, str(tmp_path / "log"), way],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        key = process.stdout.read(Secret.SIZE)
        before = copies_in_memory(process.pid, key, with_stack=False)
        halves_before = copies_in_memory(process.pid, key[:16], with_stack=False)
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.read(4) == b"done"
        after = copies_in_memory(process.pid, key[:16]) + copies_in_memory(process.pid, key[16:])
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.wait(10) == 0
    assert (before, halves_before, after) == (1, 1, 0)


def test_two_secrets_differ_and_a_renewed_one_is_another() -> None:
    """The kernel's randomness fills the page, in place."""
    first, second = Secret(), Secret()
    drawn = bytes(first.key)
    assert len(drawn) == Secret.SIZE
    assert drawn != bytes(second.key)
    first.renew()
    assert bytes(first.key) != drawn


def test_the_page_is_locked_left_out_of_dumps_and_not_inherited() -> None:
    """The kernel's own flags of the mapping: lo (locked), dd (do not dump), dc (do not copy on fork)."""
    secret = Secret()
    assert secret.locked
    flags: list[str] = []
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        name, _, rest = line.partition(" ")
        if "-" in name and not name.endswith(":"):
            start, end = (int(end, 16) for end in name.split("-"))
            inside = start <= secret._page.address < end
        elif inside and name == "VmFlags:":
            flags = rest.split()
    assert {"lo", "dd", "dc"} <= set(flags)


def test_forgetting_can_be_called_twice_and_ends_all_use() -> None:
    """After the wipe no key is left to hash with: an error, never a hash under zeros."""
    secret = Secret()
    key = secret.key
    secret.forget()
    secret.forget()
    with pytest.raises(ValueError, match="released"):
        blake2b(b"address", key=key)
    with pytest.raises(ValueError, match="forgotten"):
        secret.renew()


def test_a_forked_child_cannot_hash_with_it() -> None:
    """The child's copy of the object says so, instead of touching a page that is not there."""
    secret = Secret()
    child = os.fork()
    if child == 0:
        try:
            blake2b(b"address", key=secret.key)
        except ValueError:
            secret.forget()
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(bytes(secret.key)) == Secret.SIZE
