"""S: one copy, locked, wiped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from socket import AF_INET6, inet_aton, inet_pton

import pytest

from obfstats.record import RecordError
from obfstats.record.secret import Secret
from tests.record.remains import ROUND_CONSTANTS, mapped, schedule, schedule_windows, windows_of
from tests.record.surroundings import GEOIP, GEOIP6, hash_address

# A process that counts and writes its S to standard output; when told to, it hashes once more, wipes S and stays alive.
COUNTING_PROCESS = """
import hashlib, os, sys
from socket import inet_aton
from pathlib import Path
from obfstats.record import Recorder, secret
folder = Path(sys.argv[1])
recorder = Recorder.open(folder / "log", geoip=folder / "geoip", geoip6=folder / "geoip6", buffer=10)
exec(sys.argv[3])
for number in range(1000):
    recorder.record(f"192.0.2.{number % 256}", "obfs3")
    recorder.record(f"2001:db8::{number % 256:x}", "obfs3")
os.write(1, recorder._secret._key)
sys.stdin.readline()
wipe = recorder.close if sys.argv[2] == "close" else recorder._secret.renew
# Called by C code, the hash uses a deeper part of the stack.
any(map(recorder._secret.hash_address, [inet_aton("192.0.2.7")]))
wipe()
os.write(1, b"done")
sys.stdin.readline()
"""
LAST_ADDRESSES = (inet_aton("192.0.2.7"), inet_pton(AF_INET6, f"2001:db8::{999 % 256:x}"))

# OpenSSL chooses code by the processor's features; this variable takes some away (OPENSSL_ia32cap(3)).
IMPLEMENTATIONS = {
    "chosen by OpenSSL": "",
    "AVX2": ":~0x20000000",
    "AVX": ":~0x20000020",
    "SSSE3": "~0x1000000000000000:~0x20000020",
    "integers": "~0x1000020000000000:~0x20000020",
}


def remains(tmp_path: Path, way: str, capabilities: str = "", replace: str = "") -> tuple[int, int]:
    """Count what depends on S in a counting process's memory.

    Args:
        tmp_path: where its files are.
        way: `close` or `renew`.
        capabilities: what the processor lacks.
        replace: a statement that puts another hash in the place of OpenSSL's.

    Returns:
        Copies of parts of S outside of its page and the stack while it is in use; and everywhere once it is wiped.
    """
    # Without the usual tables of some 20 MB there is less to search.
    (tmp_path / "geoip").write_bytes(GEOIP)
    (tmp_path / "geoip6").write_bytes(GEOIP6)
    with subprocess.Popen(
        [sys.executable, "-c", COUNTING_PROCESS, str(tmp_path), way, replace],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "OPENSSL_ia32cap": capabilities} if capabilities else None,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        secret = process.stdout.read(Secret.SIZE)
        windows = windows_of(secret)
        for packed in LAST_ADDRESSES:
            windows |= schedule_windows(packed, secret)
        before = copies_in_memory(process.pid, windows, with_stack=False)
        process.stdin.write(b"\n")
        process.stdin.flush()
        assert process.stdout.read(4) == b"done"
        after = copies_in_memory(process.pid, windows)
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.wait(10) == 0
    return before - len(windows_of(secret)), after


def copies_in_memory(pid: int, needles: set[bytes], *, with_stack: bool = True) -> int:
    """Count needles in a process's memory."""
    return sum(content.count(needle) for content in mapped(pid, with_stack=with_stack) for needle in needles)


@pytest.mark.parametrize("way", ["close", "renew"])
@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_no_copy_of_the_secret_is_left_in_a_living_process(tmp_path: Path, implementation: str, way: str) -> None:
    """After 2,000 hashes S is in memory once; wiped or renewed, neither S nor a message schedule with it is.

    While S is in use, the last hash's schedule may be on the stack (secret.py).
    """
    assert remains(tmp_path, way, IMPLEMENTATIONS[implementation]) == (0, 0)


def test_a_hash_that_leaves_copies_is_noticed(tmp_path: Path) -> None:
    """Python's own SHA-256 leaves S in freed memory: the search finds it."""
    module = "_sha2" if sys.version_info >= (3, 12) else "_sha256"
    replace = f"import {module}; secret.sha256 = {module}.sha256; secret._NEW_STATE = secret.sha256()"
    assert sum(remains(tmp_path, "close", replace=replace)) >= 25


@pytest.mark.skipif(sys.version_info < (3, 14), reason="keyed BLAKE2b leaves no copy on this Python")
def test_a_keyed_hash_that_leaves_copies_is_noticed(tmp_path: Path) -> None:
    """CPython 3.14's keyed BLAKE2b leaves half of S in freed memory, also once it is wiped: the search finds it."""
    hashing = "hashlib.blake2b(packed, digest_size=20, key=recorder._secret._key).digest()"
    before, after = remains(tmp_path, "close", replace=f"recorder._hash_address = lambda packed: {hashing}")
    assert min(before, after) >= 9


def test_the_search_knows_the_message_schedule_of_sha256() -> None:
    """The first and last round constants, and the last word of FIPS 180's example `abc`."""
    assert (ROUND_CONSTANTS[0], ROUND_CONSTANTS[63]) == (0x428A2F98, 0xC67178F2)
    assert schedule(b"abc")[63] == 0x12B1EDEB


@pytest.mark.parametrize("packed", [inet_aton("192.0.2.7"), inet_pton(AF_INET6, "2001:db8::7")])
def test_a_hash_is_the_beginning_of_sha256_of_address_and_secret(packed: bytes) -> None:
    """Bytes that anyone with S could compute again."""
    secret = Secret()
    assert secret.hash_address(packed).hex() == hash_address(packed, bytes(secret._key))


def test_without_openssls_sha256_there_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another implementation may leave S in memory, so nothing is counted with it."""
    module = pytest.importorskip("_sha2" if sys.version_info >= (3, 12) else "_sha256")
    monkeypatch.setattr("obfstats.record.secret.sha256", module.sha256)
    with pytest.raises(RecordError, match="no SHA-256 of OpenSSL's"):
        Secret()


def test_two_secrets_differ_and_a_renewed_one_is_another() -> None:
    """The kernel's randomness fills the page, in place."""
    first, second = Secret(), Secret()
    drawn = bytes(first._key)
    assert len(drawn) == Secret.SIZE
    assert drawn != bytes(second._key)
    first.renew()
    assert bytes(first._key) != drawn


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


def test_wiping_can_be_called_twice_and_ends_all_use() -> None:
    """After the wipe nothing can be hashed: an error, never a hash under zeros."""
    secret = Secret()
    bound = secret.hash_address
    secret.wipe()
    secret.wipe()
    with pytest.raises(ValueError, match="released"):
        bound(bytes(4))
    with pytest.raises(ValueError, match="wiped"):
        secret.renew()


def test_a_forked_child_cannot_hash_with_it() -> None:
    """The child's copy of the object raises, instead of reading a page that is not mapped."""
    secret = Secret()
    child = os.fork()
    if child == 0:
        try:
            secret.hash_address(bytes(4))
        except ValueError:
            secret.wipe()
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(secret.hash_address(bytes(4))) == 20
