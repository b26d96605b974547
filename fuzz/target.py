"""What every target has in common: what atheris is to watch, and the run itself.

atheris is needed to run a target, not to import one: the tests call its `check` with inputs of their own.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager


def watched(name: str, *packages: str) -> AbstractContextManager[object]:
    """Have atheris watch what is imported under this, where it is atheris that runs the target.

    Args:
        name: the target's `__name__`.
        packages: what to watch.
    """
    if name != "__main__":
        return nullcontext()
    import atheris  # noqa: PLC0415 - see above

    context: AbstractContextManager[object] = atheris.instrument_imports(include=list(packages))
    return context


def run(check: Callable[[bytes], object]) -> None:
    """Fuzz until libFuzzer's limits are reached.

    Args:
        check: takes an input; raises where the invariant does not hold.
    """
    import atheris  # noqa: PLC0415 - see above

    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
