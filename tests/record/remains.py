"""What is left in a living process's memory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def mapped(pid: int, *, with_stack: bool = True) -> Iterator[bytes]:
    """Give the content of everything that a process has mapped and that can be read."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for mapping in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights, *rest = mapping.split()
            if rights[0] != "r" or rest[-1] in {"[vvar]", "[vsyscall]", "[vvar_vclock]"}:
                continue
            if rest[-1] == "[stack]" and not with_stack:
                continue
            start, end = (int(end, 16) for end in span.split("-"))
            memory.seek(start)
            yield memory.read(end - start)
