"""What is kept of each interval of a log while it is read: how many lines, in which order, and who was alone."""

from __future__ import annotations

from collections import Counter


class Country:
    """One country in one interval.

    Attributes:
        lines: how many connections there were.
        is_single: whether all of them were one client's.
    """

    __slots__ = ("_client", "is_single", "lines")

    def __init__(self) -> None:
        """Begin without a client."""
        self.lines = 0
        self.is_single = True
        self._client: bytes | None = None

    def take(self, client: bytes) -> None:
        """Take one connection.

        Args:
            client: the hash.
        """
        self.lines += 1
        if self._client is None:
            self._client = client
        elif client != self._client:
            self.is_single = False


class Interval:
    """One interval.

    Attributes:
        countries: those that came.
        lines: how many connections there were.
        runs: how often sorted lines begin anew: a batch is written sorted, so that there are as many batches at least.
    """

    def __init__(self) -> None:
        """Begin without a line."""
        self.countries: list[Country] = []
        self.lines = 0
        self.runs = 0
        self._previous = b""
        self._run = 0
        self._lengths: Counter[int] = Counter()

    @property
    def usual_run(self) -> int:
        """The length that most runs have."""
        lengths = self._lengths + Counter([self._run])
        return max(lengths, key=lambda length: (lengths[length], length))

    def take(self, line: bytes, *, is_next: bool) -> None:
        """Take one line.

        Args:
            line: its bytes.
            is_next: whether the line before it in the file is of this interval, too.
        """
        self.lines += 1
        if not is_next or line < self._previous:
            if self._run:
                self._lengths[self._run] += 1
            self._run = 0
            self.runs += 1
        self._run += 1
        self._previous = line
