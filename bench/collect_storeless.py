"""The collector with its store switched off: documents are verified, judged and answered, and kept nowhere.

python -m bench.collect_storeless collect serve ...      everything else is `obfstats collect serve`
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from obfstats import cli
from obfstats.collect.server import committing
from obfstats.collect.store.admission import Decision, Outcome
from obfstats.collect.store.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from obfstats.collect.submission import Submission


class StorelessLedger(Ledger):
    """A ledger that takes everything and writes nothing; its admitted keys are those of the database."""

    def accept(self, batch: Sequence[Submission], now: int) -> list[Decision]:  # noqa: ARG002
        """Say that documents are accepted."""
        return [Decision(Outcome.PUBLISHED, "accepted") for _ in batch]


if __name__ == "__main__":
    # The only thing in the collector's process that is not the product's.
    setattr(committing, "Ledger", StorelessLedger)  # noqa: B010 - for mypy it is not that module's
    sys.exit(cli.main())
