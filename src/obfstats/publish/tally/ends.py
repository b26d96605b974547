"""Numbers for what stands behind the hashes: transport and address family, one number for each different text."""

from __future__ import annotations

import threading

from obfstats.publish.logfiles import LogFileError
from obfstats.publish.tally.fixed_lines import END_BITS


class Ends:
    """Numbers for what stands behind the hashes; several threads may ask for them."""

    def __init__(self) -> None:
        self._numbers = {b"": 0}
        self._lock = threading.Lock()

    def number(self, end: bytes) -> int:
        """Give the number of an end, a new one if it has none yet.

        Args:
            end: the columns, with their blanks and without the line's end.

        Raises:
            LogFileError: if there are more than three words of a line have room for.
        """
        with self._lock:
            number = self._numbers.setdefault(end, len(self._numbers))
        if number >> END_BITS:
            raise LogFileError(f"the logs name more than {1 << END_BITS:,} transports; are they a bridge's?")
        return number

    def all(self) -> list[bytes]:
        """Give every end; its place is its number."""
        with self._lock:
            return list(self._numbers)
