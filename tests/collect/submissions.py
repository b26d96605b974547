"""What the ledger gets of documents, for its tests: to the ledger a text is any text."""

from __future__ import annotations

from hashlib import sha256

from obfstats.collect.submission import Submission

KEY = f"RW{'k' * 54}"
BRIDGE = "ab" * 20
NOW = 1_800_000_000
DAY = 86_400


def submission(
    bridge: str = BRIDGE, end: int = NOW - DAY, *, key: str = KEY, instance: str = "", content: str = ""
) -> Submission:
    """Make what the ledger gets of a document."""
    text = f"{bridge} {instance} {end} {content}\n".encode()
    return Submission(
        key=key,
        text=text,
        signature=f"signature by {key}\n".encode(),
        bridge=bridge,
        instance=instance,
        end=end,
        seconds=DAY,
        digest=sha256(text).hexdigest(),
    )
