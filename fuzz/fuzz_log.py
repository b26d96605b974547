"""Fuzz the log's two readers: formats/logline.py and publish/simple.py take the same lines for good, and never fail.

Run it with libFuzzer's arguments:

    .venv/bin/python -m fuzz.fuzz_log -max_total_time=60 [corpus folder]

Noise alone is never a line. So every input is tried twice: as a log of its own, and as an accident to a good log:

    byte 0      where in the good log it happens
    byte 1      how many bytes of the good log are lost there
    the rest    what stands there instead
"""

from __future__ import annotations

import io

from fuzz.target import run, watched

with watched(__name__, "obfstats.formats", "obfstats.publish"):
    from obfstats.formats.logline import LineError, LogLine, is_cut_short, parse_line, write_line
    from obfstats.publish import simple

GOOD_LOG = b"""\
2012-02-07 14:01:04 de 1234567890123456789012345678901234567890 obfs3 v6
2012-02-07 14:01:04 ?? 1234567890123456789012345678901234567890
2012-02-29 23:59:59 a1 abcdefabcdefabcdefabcdefabcdefabcdefabcd v4
"""


def check(data: bytes) -> None:
    """Hold one input against the invariants.

    Raises:
        AssertionError: the readers differ, or what was read is not what would be written.
    """
    _check_log(data)
    if len(data) >= 2:
        start = data[0] % len(GOOD_LOG)
        _check_log(GOOD_LOG[:start] + data[2:] + GOOD_LOG[start + data[1] :])


def _check_log(log: bytes) -> None:
    """Let both read it, and compare what would be published."""
    good = []
    lines = io.BytesIO(log).readlines()
    for line in lines:
        value = _parse(line)
        if value is not None:
            good.append(value)
    table: simple.Table = {}
    read, damaged, first = simple.read_log(io.BytesIO(log), table)
    assert read == len(lines), "a line was lost or made"
    assert read - damaged == len(good), "one reader takes what the other refuses"
    assert bool(first) == bool(damaged), "damage without a word, or a word without damage"
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
    """Read a line as the rest of the package does; None where it is refused."""
    text = line.removesuffix(b"\n")
    may_be_torn = is_cut_short(text)
    try:
        value = parse_line(line)
    except LineError:
        return None
    assert may_be_torn, "a whole line without its newline is not taken for a torn one"
    assert write_line(value) == text + b"\n", "read and written is not the same"
    return value


if __name__ == "__main__":
    run(check)
