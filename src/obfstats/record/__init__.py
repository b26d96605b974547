"""Counting connections without remembering who made them. No asyncio: any transport can embed it."""

from obfstats.record.countries import Countries
from obfstats.record.errors import LogInUseError, RecordError
from obfstats.record.recorder import Recorder, Seen

__all__ = ["Countries", "LogInUseError", "RecordError", "Recorder", "Seen"]
