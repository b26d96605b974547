"""Lines of the statistics log for tests: good ones from all over the grammar, and what becomes of them by accident."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from obfstats.formats.logline import (
    LINE_LENGTH,
    MAX_TRANSPORT_LENGTH,
    Columns,
    LogLine,
    write_columns,
    write_lines,
)

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

EXAMPLE = b"2012-02-07 14:01:04 de 1234567890123456789012345678901234567890\n"
"""The ticket's own (step 5)."""

TRANSPORTS = ("obfs2", "obfs3", "_", "v", "v40", "v4_", "V4", "<OR>", "<??>", "x" * MAX_TRANSPORT_LENGTH)


def write_line(line: LogLine) -> bytes:
    """Write one line with its newline, as the recorder and the journal do."""
    suffix = write_columns(Columns(line.transport, line.family))
    return write_lines(line.start, [f"{line.country} {line.hash}{suffix}"])


def log_lines() -> SearchStrategy[LogLine]:
    """Give lines as values."""
    return st.builds(
        LogLine,
        start=st.datetimes().map(lambda time: time.isoformat(" ", "seconds")),
        country=st.just("??") | st.from_regex(r"[a-z][a-z0-9]", fullmatch=True),
        hash=st.binary(min_size=20, max_size=20).map(bytes.hex),
        transport=st.none() | st.sampled_from(TRANSPORTS) | st.from_regex(r"[A-Z_][A-Za-z0-9_]{0,31}", fullmatch=True),
        family=st.sampled_from((None, "v4", "v6")),
    )


def written_lines() -> SearchStrategy[bytes]:
    """Give lines as bytes, with their newlines."""
    return log_lines().map(write_line)


PIECES = (b"", b" ", b"\r", b"\t", b"\0", b"0", b"9", b"a", b"A", b"g", b"?", b"_", b"\x1b[31m")
COLUMNS = (b" v4", b" v6", b" obfs3", b" <OR>", b" v", b" v4x", b" ", b"<")


@st.composite
def hit_lines(draw: st.DrawFn) -> bytes:
    """Give what a fault, or an editor, may make of a line; some stay good, or become good another way."""
    line = draw(written_lines())
    if draw(st.booleans()):
        columns = draw(st.lists(st.sampled_from(COLUMNS), max_size=3))
        line = line[: LINE_LENGTH - 1] + b"".join(columns) + draw(st.sampled_from((b"\n", b"", b"\r\n")))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(line)))
        length = draw(st.integers(0, 3) | st.integers(0, 80))
        line = line[:place] + draw(st.sampled_from(PIECES) | st.binary(max_size=3)) + line[place + length :]
    return line
