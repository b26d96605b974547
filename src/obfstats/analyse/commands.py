"""The commands that make numbers of descriptors and documents: `analyse`, `summary`, `explain`, `simulate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from obfstats.commandline import Command

COMMANDS: tuple[Command, ...] = ()
"""Each needs `extra="analyse"`. What it runs is imported when it runs: this module stays cheap to import."""
