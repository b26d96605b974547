"""Fuzz the log's two grammars: formats/logline.py and publish/simple.py accept the same lines, and never fail.

Run it with libFuzzer's arguments:

    .venv/bin/python -m fuzz.fuzz_log -max_total_time=60 [corpus folder]

Random bytes are never a line. So every input is tried twice: as a log, and as damage to a good log:

    byte 0      the offset of the damage
    byte 1      how many bytes of the good log are missing there
    the rest    the bytes that replace them
"""

from __future__ import annotations

import io

from fuzz.target import run, watched

with watched(__name__, "obfstats.formats", "obfstats.publish"):
    from obfstats.formats.logline import (
        Columns,
        LineError,
        LogLine,
        find_damage,
        is_torn,
        parse_line,
        write_columns,
        write_lines,
    )
    from obfstats.publish import simple

GOOD_LOG = b"""\
2012-02-07 14:01:04 de 1234567890123456789012345678901234567890 obfs3 v6
2012-02-07 14:01:04 ?? 1234567890123456789012345678901234567890
2012-02-29 23:59:59 a1 abcdefabcdefabcdefabcdefabcdefabcdefabcd v4
"""


def check(data: bytes) -> None:
    """Check the invariants for one input.

    Raises:
        AssertionError: the grammars differ, or a line that was read would be written differently.
    """
    _check_log(data)
    if len(data) >= 2:
        start = data[0] % len(GOOD_LOG)
        _check_log(GOOD_LOG[:start] + data[2:] + GOOD_LOG[start + data[1] :])


def _check_log(log: bytes) -> None:
    """Read it by both grammars, and compare the reasons for damage and the numbers."""
    good = []
    lines = io.BytesIO(log).readlines()
    first_damage = ""
    for number, line in enumerate(lines, start=1):
        value, reason = _parse(line), find_damage(line)
        assert (value is None) == bool(reason), "a damaged line without a reason, or a good line with one"
        if value is not None:
            good.append(value)
        elif not first_damage:
            first_damage = f"line {number}: {reason}"
    table: simple.Table = {}
    read, damaged, first = simple.read_log(io.BytesIO(log), table)
    assert read == len(lines), "the numbers of lines differ"
    assert read - damaged == len(good), "one grammar accepts what the other does not"
    assert first == first_damage, "the first damaged lines, or the reasons, differ"
    requests: dict[bytes, int] = {}
    clients: dict[bytes, set[LogLine]] = {}
    for value in good:
        begin = f"{value.start} {value.country} ".encode()
        requests[begin] = requests.get(begin, 0) + 1
        clients.setdefault(begin, set()).add(value)
    assert {begin: len(came) for begin, came in table.items()} == requests, "requests differ"
    assert {begin: len(set(came)) for begin, came in table.items()} == {
        begin: len(values) for begin, values in clients.items()
    }, "unique clients differ"


def _parse(line: bytes) -> LogLine | None:
    """Parse a line by the package's grammar; None where it is damaged."""
    text = line.removesuffix(b"\n")
    may_be_torn = is_torn(text)
    try:
        value = parse_line(line)
    except LineError:
        return None
    assert may_be_torn, "a whole line without its newline is not recognised as one that may be cut short"
    suffix = write_columns(Columns(value.transport, value.family))
    written = write_lines(value.start, [f"{value.country} {value.hash}{suffix}"])
    assert written == text + b"\n", "a line that was read is written differently"
    return value


if __name__ == "__main__":
    run(check)
