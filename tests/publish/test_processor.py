"""numpy is spared the instructions that a processor is slow at, and no other."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from obfstats.publish.processor import spare_slow_instructions
from peers.program import OBFSTATS
from tests.publish.logs import line

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE = "NPY_DISABLE_CPU_FEATURES"
FAST = "fpu vme sse sse2 avx avx2 bmi2"
PROCESSORS = {
    "Zen 4": ("AuthenticAMD", 25, f"{FAST} avx512f avx512dq", True),
    "Zen 3": ("AuthenticAMD", 25, FAST, False),
    "Zen 5": ("AuthenticAMD", 26, f"{FAST} avx512f avx512dq", False),
    "Ice Lake": ("GenuineIntel", 6, f"{FAST} avx512f avx512dq", False),
    "another maker's family 25": ("GenuineIntel", 25, f"{FAST} avx512f avx512dq", False),
}
ARM = "processor\t: 0\nBogoMIPS\t: 243.75\nFeatures\t: fp asimd evtstrm aes\nCPU implementer\t: 0x41\n"


def cpuinfo(vendor: str, family: int, flags: str) -> str:
    """What two processors of a kind say of themselves, in the order of proc(5)."""
    return "".join(
        f"processor\t: {number}\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: 17\ncpu MHz\t\t: 2596.138\n"
        f"fpu\t\t: yes\nflags\t\t: {flags} rdpid\nbugs\t\t: sysret_ss_attrs\n\n"
        for number in range(2)
    )


@pytest.mark.parametrize("name", PROCESSORS)
def test_avx512_is_spared_where_it_is_slow(name: str) -> None:
    """On Zen 4 alone: others are faster with it, or have none."""
    vendor, family, flags, is_slow = PROCESSORS[name]
    environment = dict[str, str]()
    spare_slow_instructions(environment, cpuinfo(vendor, family, flags))
    assert environment == ({VARIABLE: "X86_V4"} if is_slow else {})


@pytest.mark.parametrize("text", ["", ARM, "flags\t\t: avx512f ", "vendor_id : AuthenticAMD\n" * 9])
def test_what_is_not_known_changes_nothing(text: str) -> None:
    """Another architecture, or a system that does not tell."""
    environment = dict[str, str]()
    spare_slow_instructions(environment, text)
    assert environment == {}


def test_whoever_has_chosen_is_not_contradicted() -> None:
    """The operator may know better."""
    environment = {VARIABLE: ""}
    spare_slow_instructions(environment, cpuinfo("AuthenticAMD", 25, "avx512f "))
    assert environment == {VARIABLE: ""}


def test_numpy_that_cannot_do_without_leaves_the_counting_to_plain_python(tmp_path: Path) -> None:
    """It was built for one processor alone, and says so by an error; the numbers are the same."""
    log = tmp_path / "clients.log"
    log.write_bytes(b"".join(line(client=client % 200) for client in range(70_000)))
    results = [
        subprocess.run(
            [OBFSTATS, "convert", log],
            env={**os.environ, VARIABLE: features},
            capture_output=True,
            check=True,
            timeout=60,
        )
        for features in ("", "SSE SSE2 X86_V2")
    ]
    assert results[0].stdout == results[1].stdout != b""
    assert (results[0].stderr, results[1].stderr) == (b"", b"")
