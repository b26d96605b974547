"""Counting connections without remembering who made them. No asyncio: any transport can embed it."""

from obfstats.record.countries import Countries
from obfstats.record.errors import LogInUseError, RecordError
from obfstats.record.recorder import IntervalCounters, Recorder

__all__ = ["Countries", "IntervalCounters", "LogInUseError", "RecordError", "Recorder"]
