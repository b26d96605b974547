"""What numpy has to know of a processor before it is loaded.

Where there is AVX-512 numpy sorts with it. On AMD's Zen 4 that takes five times as long as with AVX2: the instruction
that it sorts with, a compressing store to memory, is done in microcode there (numpy/x86-simd-sort, issue 6).
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import MutableMapping

_VARIABLE = "NPY_DISABLE_CPU_FEATURES"
_AVX512 = "X86_V4"
_ENOUGH = 1 << 13
# AMD's family 25 is Zen 3, which has no AVX-512, and Zen 4. Zen 5 is another family, and fast.
_ZEN_4 = re.compile(r"vendor_id\s*: AuthenticAMD\n(?:.+\n)*?cpu family\s*: 25\n(?:.+\n)*?flags\s*:.* avx512f ")


def spare_slow_instructions(environment: MutableMapping[str, str], cpuinfo: str | None = None) -> None:
    """See that numpy, when it is loaded, does not sort with what this processor is slow at.

    Args:
        environment: the process's; whoever has chosen there what numpy leaves out is not contradicted.
        cpuinfo: what the processor says of itself, as in /proc/cpuinfo; None to ask it.
    """
    if _ZEN_4.search(_read_cpuinfo() if cpuinfo is None else cpuinfo):
        environment.setdefault(_VARIABLE, _AVX512)


def _read_cpuinfo() -> str:
    """Read the first processor's lines; the others are like it, and there may be hundreds."""
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open("rb", buffering=0) as file:
        return file.read(_ENOUGH).decode("ascii", "replace")
    return ""
