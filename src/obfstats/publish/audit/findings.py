"""What an audit can find, and one table of its sentences.

A finding is a code and values. The code has a severity and a sentence; the values are numbers, times of intervals,
country codes and transport names that are of their grammar. Nothing else of a file is ever in a sentence.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class FileType(StrEnum):
    """What a file is."""

    LOG = "statistics log"
    DOCUMENTS = "published documents"
    TABLES = "tables"
    TOR = "tor's bridge-stats lines"


class Severity(StrEnum):
    """How serious a finding is; the value marks its line in the output."""

    ALARM = "! "
    """The file should not leave the machine with this in it."""
    NOTICE = "  "


def _alarm(sentence: str) -> tuple[Severity, str]:
    return Severity.ALARM, sentence


def _notice(sentence: str) -> tuple[Severity, str]:
    return Severity.NOTICE, sentence


class Code(Enum):
    """Everything that an audit can find.

    A sentence is a format string. `{name:line|lines}` is a number with its noun: `1 line`, `2,000 lines`.
    """

    def __init__(self, severity: Severity, sentence: str) -> None:
        self.severity = severity
        self.sentence = sentence

    # In a statistics log.
    HASHES = _alarm("Every line has a client's hash. A log must never leave the machine, whatever is in it.")
    PERMISSIONS = _alarm("Its permissions are {mode}: others on this machine may open it. Run chmod 600 on it.")
    REUSED_HASHES = _alarm(
        "{hashes:hash is|hashes are} in more than one interval: the secret was not changed, and these clients can be "
        "followed from day to day. Delete the log as soon as it is converted."
    )
    REGULAR_HASHES = _alarm(
        "In {intervals:interval|intervals} a byte is the same in every client's hash: they are numbers or padded, not "
        "keyed hashes of 20 bytes. Delete the log."
    )
    DAMAGED_ADDRESSES = _alarm("{lines:damaged line holds|damaged lines hold} what looks like an IP address.")
    LOG_SIZE = _notice(
        "{lines:line|lines} in {intervals:interval|intervals}, {each} in each: these are exact numbers of connections."
    )
    INTERVAL_SIZE = _notice("The interval from {start}: {lines:line|lines} of {countries:country|countries}.")
    DAMAGED_LOG_LINES = _notice("{lines:line is|lines are} damaged; `obfstats convert` leaves such lines out.")
    SINGLE_CLIENTS = _notice(
        "In {singles} of {country_days:country-day|country-days} ({percent} %) there is a single client: how often it "
        "connected is visible, {most:time|times} at most."
    )
    NO_BATCHES = _notice(
        "The order of lines shows no sorted batches: they were shuffled (ticket 5047), or written as clients connected."
    )
    BATCHES = _notice(
        "The interval from {start} was written in {batches:batch|batches} or more, one in {precision} on average: its "
        "batch dates a line, in busy hours more closely. A larger --stats-buffer hides more."
    )
    SORTED_INTERVALS = _notice("Each interval is sorted as a whole: the order of lines dates no client within it.")
    UNFINISHED_LOG = _notice(
        "{intervals:interval is|intervals are} not over yet, the last one began at {start}: `obfstats convert` leaves "
        "it out. Until it ends the secret is in memory, and an attacker who takes the running machine can turn its "
        "hashes back into addresses."
    )
    CUT_SHORT_LOG = _notice(
        "{intervals:interval was|intervals were} cut short by a restart, whose time is visible; documents leave such "
        "a day out."
    )

    # In either.
    MOMENTS = _alarm(
        "More than {most:interval begins|intervals begin} within one day, from {first} on: these times are those of "
        "connections, or the program was restarted again and again. They date clients."
    )
    SUSPICIOUS_NAMES = _alarm(
        "{names:name of a transport or instance looks|names of transports or instances look} like an address or a "
        "hash: names are not printed here."
    )

    # Lines that do not belong in what is published.
    FINGERPRINT = _alarm(
        "In {where} there is the bridge's fingerprint itself, by which the bridge can be found. Publish its hash: "
        "--fingerprint HEX writes that."
    )
    ADDRESS = _alarm("In {where} there is something that looks like an IP address.")
    HEX_DIGITS = _alarm("In {where} there are 40 hex digits where none belong: a hash, or a fingerprint.")
    UNKNOWN_KEYWORD = _alarm("In {where} there is an unknown keyword: what is not understood must not be published.")
    DAMAGED_LINE = _alarm("In {where} something is wrong ({reason}): it may hold anything.")

    GZIP_HEADER = _alarm("The gzip header contains {fields}, which others can read. Compress the file with gzip -n.")

    # Intervals that are published.
    INTERVALS_END = _notice("{intervals:interval ends|intervals end} {when}.")
    INTERVALS_BEGIN = _notice("{intervals:interval begins|intervals begin} {when}.")
    BRIDGES = _notice("{bridges:bridge is|bridges are} named by the fingerprint's hash.")
    INSTANCES = _notice("{instances:instance of a bridge is|instances of bridges are} named.")
    REPEATED_WITH_OTHER_NUMBERS = _alarm(
        "{intervals:interval is|intervals are} in it more than once, with different numbers: subtracting one from the "
        "other reveals the clients in between."
    )
    REPEATED = _alarm(
        "{intervals:interval is|intervals are} in it more than once, with the same numbers: sums count its clients "
        "again. Publish each once."
    )
    OVERLAPPING = _alarm(
        "{intervals:interval begins|intervals begin} before an earlier one ends: subtracting one from the other "
        "reveals the clients in between. Documents of two programs overlap as well: audit them apart."
    )
    UNFINISHED = _alarm(
        "{intervals:interval is|intervals are} not over for half an hour yet, the last is that of {last}: lines may be "
        "missing, and compared with the whole day's numbers, these reveal who connected later. Wait, and make it again."
    )
    PART_OF_A_DAY = _alarm(
        "{intervals:interval is|intervals are} a part of a day, the shortest of {shortest:second|seconds}: that dates "
        "clients to it. Tor does not publish less than 23 hours."
    )
    CUT_SHORT_ROWS = _notice(
        "After {intervals:interval|intervals} another began within 23 hours, {shortest:second|seconds} later at least. "
        "If a restart cut the first short, that dates its clients: `obfstats convert --format ticket` omits it. "
        "If the other is another program's, nothing is revealed."
    )
    ODD_LENGTH = _notice("{intervals:interval is|intervals are} not 24 hours long, but at least 23.")

    # Numbers that are published.
    COUNTRIES = _notice("There are numbers of {countries:country|countries}.")
    TRANSPORTS = _notice("Transports that are named: {names}.")
    NOT_ROUNDED = _alarm(
        "{numbers:number is|numbers are} not rounded up to a multiple of 8: one client more or less is visible."
    )
    ZEROS = _alarm(
        "{numbers:number of a country is|numbers of countries are} 0: rounded numbers do not name countries without a "
        "client, so why these are named is not known."
    )
    TOO_LARGE = _alarm(
        "{numbers:number is|numbers are} too large for a bridge: an IPv4 address, as an integer, is such a number."
    )
    UNORDERED = _alarm(
        "The order of numbers is neither by size nor by name, in {intervals:interval|intervals}: it may reveal what "
        "was rounded away. Sort them after rounding."
    )
    SMALL_NUMBERS = _notice(
        "Of {numbers:number|numbers} of clients by country and interval, {small:is|are} 8: one to eight clients."
    )
    CONTRADICTION = _notice(
        "The numbers of {intervals:interval|intervals} cannot all be true: the same clients add up to different totals "
        "in different lines."
    )
    INFERRED_EXACTLY = _alarm(
        "{numbers:number|numbers} can be inferred exactly, as if not rounded at all, because other lines split up the "
        "same clients. Leave those lines out."
    )
    INFERRED_CLOSELY = _notice(
        "{numbers:number|numbers} of {cells} can be inferred more closely than the eight values that rounding leaves "
        "open, because other lines split up the same clients."
    )
    NOISE_WITH_REQUESTS = _alarm(
        "Documents with noise contain requests, in {intervals:interval|intervals}: one client makes any number of "
        "them, so no amount of noise is enough."
    )
    NOISE_WITH_OTHER_NUMBERS = _alarm(
        "Documents with noise contain other numbers of the same clients, in {intervals:interval|intervals}: they undo "
        "what the noise promises."
    )
    NOISE = _notice(
        "{intervals:interval has|intervals have} noise of epsilon {epsilon}: one release changes the odds that a given "
        "client connected by a factor of {factor} at most."
    )
    TOO_LITTLE_NOISE = _alarm(
        "{intervals:interval has|intervals have} less noise than epsilon promises: numbers of 0 and below are closer "
        "to 0 than chance makes them in one of a billion documents."
    )
    SAME_NOISE = _alarm(
        "{intervals:interval has|intervals have} the same noise as the one before: subtracting one from the other "
        "removes it."
    )
    FEW_COUNTRIES = _alarm(
        "{intervals:interval|intervals} with noise name only {fewest:country|countries}, or leave out ??: unless every "
        "country is named (some 250), being named reveals a client."
    )
    WEAK_NOISE = _alarm("Noise of epsilon {epsilon} is next to none.")
    NOISE_SUM = _notice(
        "For a client that connected in each of these {intervals} intervals they add up to epsilon {epsilon}, a factor "
        "of {factor}."
    )


class _SentenceFormatter(string.Formatter):
    def format_field(self, value: object, format_spec: str) -> str:
        if not isinstance(value, int):
            return str(value)
        one, _, several = format_spec.partition("|")
        return f"{value:,} {one if value == 1 else several}".rstrip()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a file reveals, or does not.

    Attributes:
        code: what was found.
        values: what its sentence needs.
    """

    code: Code
    values: Mapping[str, int | str]

    @property
    def is_alarm(self) -> bool:
        """Whether the file should not leave the machine with this in it."""
        return self.code.severity is Severity.ALARM

    def __str__(self) -> str:
        return _SentenceFormatter().vformat(self.code.sentence, (), self.values)


def finding(code: Code, **values: int | str) -> Finding:
    """Make a finding."""
    return Finding(code, values)


@dataclass(frozen=True, slots=True)
class Audit:
    """All that was found in one file.

    Attributes:
        file_type: what the file is.
        findings: in the order of the checks.
    """

    file_type: FileType
    findings: list[Finding]

    @property
    def has_alarm(self) -> bool:
        """Whether the file should not leave the machine."""
        return any(finding.is_alarm for finding in self.findings)


_OPENING = {
    FileType.LOG: "This is a statistics log.",
    FileType.DOCUMENTS: "These are documents to be published.",
    FileType.TABLES: "These are the two tables to be published.",
    FileType.TOR: "These are statistics as tor writes them.",
}


def describe(audit: Audit) -> Iterator[str]:
    """Give the lines that are printed: what the file is, the alarms, the notices, and what to do."""
    yield _OPENING[audit.file_type]
    for severity in Severity:
        yield from (f"{severity}{finding}" for finding in audit.findings if finding.code.severity is severity)
    if audit.file_type is FileType.LOG:
        yield "Keep it here: run `obfstats convert` on it, publish what that prints, then delete the lines."
    elif audit.has_alarm:
        yield "Do not publish it: make it again with `obfstats convert`, of intervals that are over, each once."
    else:
        yield "Nothing in it has to stay on this machine. Publish each interval once."
