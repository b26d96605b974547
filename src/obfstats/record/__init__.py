"""Counting connections without remembering who made them. No asyncio: any transport can embed it."""

from obfstats.record.errors import RecordError
from obfstats.record.recorder import Recorder

__all__ = ["RecordError", "Recorder"]
