"""What `obfstats audit` finds in published documents."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from string import ascii_uppercase
from typing import TYPE_CHECKING, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.formats.document import Document, write_document
from obfstats.publish.audit.findings import Code, finding
from obfstats.publish.making_documents import DocumentOptions
from obfstats.publish.render import OutputFormat
from tests.formats.documents import EXTENDED, TICKETS, documents
from tests.formats.lines import EXAMPLE
from tests.publish.auditing import NOW, alarm_codes, alarms, audited_bytes, noisy, printed, values_of
from tests.publish.converting import made_of
from tests.publish.logs import logs
from tests.publish.test_audit import FILES

if TYPE_CHECKING:
    import random

    from obfstats.publish.audit.findings import FileType

END = "2012-02-10 09:22:04"
IPS = {"DE": 48, "EU": 48, "AU": 32}
ADDRESSES = ("192.0.2.77", "198.51.100.177", "2001:db8::77", "2001:db8:1:2:3:4:5:77", "::ffff:192.0.2.77", "[::1]:443")
HASH = "1234567890abcdef1234567890abcdef12345678"
NOISY = noisy()
FINGERPRINT = "7cb8c8b7a9e2f1d0c3b4a5968778695a4b3c2d1e"


def document(day: int = 10, seconds: int = 86_400, *, hour: int = 9, fingerprint: str | None = None) -> Document:
    """Make a document of February 2012."""
    return Document(f"2012-02-{day:02} {hour:02}:22:04", seconds, fingerprint=fingerprint, ips=IPS)


def written(*several: Document) -> bytes:
    """Write concatenated documents."""
    return b"".join(map(write_document, several))


def lines(*rest: str, end: str = f"(86400 s) {END}") -> bytes:
    """Write a document line by line, unlike write_document."""
    return "\n".join([f"obfsproxy-stats-end {end}", *rest, ""]).encode()


# What is good


def test_the_tickets_document() -> None:
    """Every sentence of the output."""
    assert printed(TICKETS.replace(b"AU=32", b"AU=8")).splitlines() == [
        "These are documents to be published.",
        "  1 interval ends at 2012-02-10 09:22:04.",
        "  1 bridge is named by the fingerprint's hash.",
        "  There are numbers of 3 countries.",
        "  Of 3 numbers of clients by country and interval, 1 is 8: one to eight clients.",
        "Nothing in it has to stay on this machine. Publish each interval once.",
    ]


@given(logs(), st.booleans())
def test_what_convert_makes_by_rounding_never_alarms(log: bytes, with_fingerprint: bool) -> None:  # noqa: FBT001
    """For any log, a rounded document has no alarm."""
    options = DocumentOptions(FINGERPRINT if with_fingerprint else None)
    text = made_of(log, "ticket", options).text.encode()
    if text:
        assert alarms(text) == []


@given(logs(), st.sampled_from([form for form in get_args(OutputFormat) if form in {"ticket", "tor"}]))
def test_with_every_line_only_what_can_be_inferred_exactly_alarms(log: bytes, form: OutputFormat) -> None:
    """Totals next to their parts may undo the rounding; `convert` causes no other alarm."""
    text = made_of(log, form, DocumentOptions(extended=form == "ticket")).text.encode()
    if text:
        assert set(alarm_codes(text)) <= {Code.INFERRED_EXACTLY}


@given(st.lists(documents(unknown=False), min_size=1, max_size=4))
def test_whatever_is_written_is_understood(several: list[Document]) -> None:
    """No line that write_document writes is unexpected."""
    unexpected = {Code.DAMAGED_LINE, Code.UNKNOWN_KEYWORD, Code.ADDRESS, Code.HEX_DIGITS, Code.FINGERPRINT}
    assert not unexpected.intersection(alarm_codes(written(*several)))


# What must not stand there


@given(
    st.sampled_from([file_type for file_type in FILES if file_type != "statistics log"]),
    st.sampled_from(ADDRESSES),
    st.data(),
)
def test_an_address_anywhere_alarms_and_is_never_printed(
    file_type: FileType, address: str, data: st.DataObject
) -> None:
    """At any offset of any line, or on a line of its own."""
    good = EXTENDED + NOISY if file_type == "published documents" else FILES[file_type]
    place = data.draw(st.integers(0, len(good)), label="place")
    apart = data.draw(st.sampled_from((b"", b" ", b"\n", b",")), label="apart")
    text = good[:place] + apart + address.encode() + apart + good[place:]
    assert audited_bytes(text).has_alarm
    assert address not in printed(text)


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_is_called_one(address: str) -> None:
    """With its line number, and not quoted."""
    text = TICKETS + f"last client {address}\n".encode() + TICKETS.replace(b"02-10", b"02-11")
    assert alarms(text) == [finding(Code.ADDRESS, where="line 5"), finding(Code.UNKNOWN_KEYWORD, where="line 5")]


@pytest.mark.parametrize("text", ["12:30:00", "2012-02-10 09:22:04", "1.2.3", "a:b", "99999999"])
def test_a_time_is_no_address(text: str) -> None:
    """A time is not reported as an address."""
    assert Code.ADDRESS not in alarm_codes(TICKETS + f"note {text}\n".encode())


def test_the_fingerprint_itself_is_an_alarm() -> None:
    """The first form of the ticket's script wrote it (comment 1), for each interval."""
    text = b"fingerprint 1234567890123456789012345678901234567890\n" + lines("obfsproxy-ips DE=8")
    assert alarms(text * 2)[0] == finding(Code.FINGERPRINT, where="2 lines, the first is line 1,")
    assert "1234567890" not in printed(text)


@pytest.mark.parametrize(
    "line",
    [f"router-digest {HASH}", f"obfsproxy-ips DE=8,{HASH}=8", EXAMPLE.decode().strip(), f"hashed-fingerprint {HASH}0"],
    ids=["digest", "among numbers", "line of the log", "41 digits"],
)
def test_a_hash_in_the_wrong_place_is_an_alarm(line: str) -> None:
    """40 hex digits are a client's hash, or a fingerprint."""
    text = TICKETS + lines(line, end="(86400 s) 2012-02-12 09:22:04")
    assert finding(Code.HEX_DIGITS, where="line 6") in alarms(text)
    assert "1234567890" not in printed(text)


def test_a_hash_in_its_place_is_none() -> None:
    """The hashed fingerprint and the GeoIP file's digest are to be published."""
    assert alarms(EXTENDED) == []


def test_a_line_of_a_later_version_is_an_alarm() -> None:
    """It may hold anything."""
    assert alarms(TICKETS + b"obfsproxy-asns AS64496=8\n") == [finding(Code.UNKNOWN_KEYWORD, where="line 5")]


def test_one_fault_hides_no_other() -> None:
    """A damaged line is set aside and the rest of its document is still checked."""
    text = lines("obfsproxy-ips DE=7", "obfsproxy-reqs DE=total", "obfsproxy-ip-versions v4=8,v6=8")
    assert alarms(text) == [
        finding(Code.DAMAGED_LINE, where="line 3", reason="not a number after a name"),
        finding(Code.NOT_ROUNDED, numbers=1),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (TICKETS.replace(b"\n", b"\r\n"), "not a fingerprint of 40 hex digits"),
        (TICKETS + b"obfsproxy-ips DE=8\n", "duplicate line"),
        (b"obfsproxy-ips DE=8\n", "line before the end of an interval"),
        (TICKETS + b"hashed-fingerprint " + FINGERPRINT.encode(), "document without obfsproxy-stats-end"),
        (lines("obfsproxy-ips DE=-8"), "negative number in a document without noise"),
        (lines("obfsproxy-ips D\xc9=8"), "non-ASCII byte"),
    ],
    ids=["CRLF", "twice", "numbers first", "torn", "below 0", "beyond ASCII"],
)
def test_the_reason_is_reported(text: bytes, reason: str) -> None:
    """With the reason that the reader of documents gives."""
    assert [values["reason"] for values in values_of(Code.DAMAGED_LINE, text)] == [reason]


def test_a_document_longer_than_tor_allows_is_an_alarm() -> None:
    """Readers would refuse it."""
    transports = ",".join(f"t{number:07}=8" for number in range(4_000))
    countries = ",".join(f"{first}{second}=8" for first in ascii_uppercase for second in ascii_uppercase)
    further = f"obfsproxy-ips {countries}", f"obfsproxy-reqs {countries}", f"obfsproxy-ip-transports {transports}"
    assert [values["reason"] for values in values_of(Code.DAMAGED_LINE, lines(*further))] == [
        "document exceeds 50000 bytes"
    ]


# Numbers


@pytest.mark.parametrize("keyword", ["obfsproxy-ips", "obfsproxy-reqs"])
def test_a_number_that_is_not_rounded_is_an_alarm(keyword: str) -> None:
    """In any line; each number is counted."""
    assert alarms(lines(f"{keyword} DE=17,DK=9,EU=8")) == [finding(Code.NOT_ROUNDED, numbers=2)]


@pytest.mark.parametrize(
    "line",
    [
        "obfsproxy-ip-versions v4=9,v6=8",
        "obfsproxy-ip-transports obfs3=9",
        "obfsproxy-ip-country-transports DE/obfs3=9",
    ],
)
def test_further_lines_are_rounded_as_well(line: str) -> None:
    """The extended lines are checked as well."""
    assert alarms(lines(line))[0] == finding(Code.NOT_ROUNDED, numbers=1)


@pytest.mark.parametrize(
    "line",
    [
        "obfsproxy-ips DE=8,EU=16,AU=8",
        "obfsproxy-ips EU=8,DE=8",
        "obfsproxy-reqs DE=8,AU=16",
        "obfsproxy-ip-transports obfs3=8,obfs2=8",
        "obfsproxy-ip-country-transports EU/obfs3=8,DE/obfs3=8,EU/obfs2=8",
    ],
)
def test_an_order_that_is_of_nothing_published_is_an_alarm(line: str) -> None:
    """It may be the order of the exact numbers, or of the first connections."""
    assert alarms(lines(line)) == [finding(Code.UNORDERED, intervals=1)]


@pytest.mark.parametrize(
    "line",
    [
        "obfsproxy-ips EU=16,AU=8,DE=8",
        "obfsproxy-ips DE=8,DK=16,EU=8,JP=8",
        "obfsproxy-ips de=8,dk=16,eu=8",
        "obfsproxy-ip-transports obfs3=16,obfs2=8",
        "obfsproxy-ip-transports obfs2=8,obfs3=16",
        "obfsproxy-ip-country-transports AU/obfs3=8,DE/obfs2=8,DE/obfs3=16",
    ],
)
def test_an_order_by_size_or_by_name_tells_nothing(line: str) -> None:
    """Any reader could make it from the published numbers; the ticket's own example is by name."""
    assert alarms(lines(line)) == []


@given(st.permutations(["DE", "EU", "AU", "??", "DK"]))
def test_any_shuffled_order_is_noticed(codes: list[str]) -> None:
    """Only two orders of countries with different numbers are good."""
    numbers = {"DE": 8, "EU": 40, "AU": 16, "??": 24, "DK": 32}
    by_size = sorted(codes, key=lambda code: -numbers[code])
    text = lines("obfsproxy-ips " + ",".join(f"{code}={numbers[code]}" for code in codes))
    assert bool(alarms(text)) == (codes not in (by_size, sorted(codes)))


def test_small_numbers_are_counted() -> None:
    """8 clients are one to eight."""
    text = lines("obfsproxy-ips DE=48,AU=8,DK=8,EU=8", "obfsproxy-reqs DE=96,AU=16,DK=8,EU=8")
    assert values_of(Code.SMALL_NUMBERS, text) == [{"small": 3, "numbers": 4}]


# Intervals


def test_days_in_a_row_are_good() -> None:
    """Each begins where the previous one ended; a gap is a restart and reveals nothing of clients."""
    text = written(document(10), document(11), document(12), document(13, hour=11))
    assert alarms(text) == []
    assert values_of(Code.INTERVALS_END, text) == [
        {"intervals": 4, "when": "from 2012-02-10 09:22:04 to 2012-02-13 11:22:04"}
    ]


def test_an_interval_published_twice_with_other_numbers_is_an_alarm() -> None:
    """Its first half, and then the whole."""
    other = Document(END, 86_400, ips={"DE": 56})
    assert alarms(written(document(), other)) == [finding(Code.REPEATED_WITH_OTHER_NUMBERS, intervals=1)]


def test_an_interval_published_twice_with_the_same_numbers_is_an_alarm() -> None:
    """A file was concatenated with itself."""
    assert alarms(written(document(), document(11), document())) == [finding(Code.REPEATED, intervals=1)]


@pytest.mark.parametrize("seconds", [1, 3600, 86_399])
def test_intervals_that_overlap_are_an_alarm(seconds: int) -> None:
    """By a second or by nearly a day, in any order."""
    end = datetime.fromisoformat(END) + timedelta(seconds=86_400 - seconds)
    pair = [document(), Document(str(end), 86_400, ips=IPS)]
    for several in (pair, pair[::-1]):
        assert alarms(written(*several)) == [finding(Code.OVERLAPPING, intervals=1)]


def test_a_long_interval_overlaps_with_all_that_are_in_it() -> None:
    """With all of them, not only the next."""
    text = written(document(14, 5 * 86_400), document(11), document(12), document(13))
    assert alarms(text)[0] == finding(Code.OVERLAPPING, intervals=3)


def test_two_bridges_may_have_the_same_day() -> None:
    """They have different clients."""
    text = written(document(fingerprint="aa" * 20), document(fingerprint="bb" * 20))
    assert alarms(text) == []
    assert values_of(Code.BRIDGES, text) == [{"bridges": 2}]


def test_two_instances_of_a_bridge_may_have_the_same_day() -> None:
    """They have different clients as well; one instance may not."""
    one, other = (replace(document(fingerprint="aa" * 20), instance=name, minor=2) for name in ("one", "other"))
    assert alarms(written(one, other)) == []
    assert values_of(Code.INSTANCES, written(one, other)) == [{"instances": 2}]
    assert alarms(written(one, other, one)) == [finding(Code.REPEATED, intervals=1)]


@pytest.mark.parametrize("name", ["192-0-2-7", "deadbeef01"])
def test_an_instance_with_the_name_of_an_address_or_a_hash_is_an_alarm(name: str) -> None:
    """It is not printed."""
    text = written(replace(document(), instance=name))
    assert alarms(text) == [finding(Code.SUSPICIOUS_NAMES, names=1)]
    assert name not in printed(text)


def test_a_document_without_a_fingerprint_may_be_the_same_bridges() -> None:
    """The same interval with and without a fingerprint is a repetition."""
    assert alarms(written(document(fingerprint="aa" * 20), document())) == [finding(Code.REPEATED, intervals=1)]


def test_an_interval_that_is_not_over_is_an_alarm() -> None:
    """Its last lines may be written half an hour after its end: before, `convert --all` made it, or a wrong clock."""
    over = datetime.fromisoformat(END).replace(tzinfo=UTC) + timedelta(minutes=30)
    assert alarms(TICKETS, over) == []
    assert alarms(TICKETS, over - timedelta(seconds=1)) == [finding(Code.UNFINISHED, intervals=1, last=END)]


@pytest.mark.parametrize(("seconds", "is_alarm"), [(1, True), (82_799, True), (82_800, False), (86_420, False)])
def test_a_part_of_a_day_is_an_alarm(seconds: int, is_alarm: bool) -> None:  # noqa: FBT001
    """Tor publishes no less than 23 hours; other lengths than 24 hours are a notice."""
    text = written(document(seconds=seconds))
    assert alarms(text) == ([finding(Code.PART_OF_A_DAY, intervals=1, shortest=seconds)] if is_alarm else [])
    assert values_of(Code.ODD_LENGTH, text) == ([] if is_alarm else [{"intervals": 1}])


def test_the_ends_of_time_are_no_error() -> None:
    """An interval that began before the year 1, and one that ends in the last second of 9999."""
    text = written(Document("0001-01-01 00:00:00", 999_999_999, ips=IPS), Document("9999-12-31 23:59:59", 86_400))
    assert values_of(Code.INTERVALS_END, text) == [
        {"intervals": 2, "when": "from 0001-01-01 00:00:00 to 9999-12-31 23:59:59"}
    ]


# Noise


def test_the_promise_of_noise_is_reported() -> None:
    """As a factor, for one interval and for a client that connects every day."""
    text = NOISY + noisy(12)
    assert alarms(text) == []
    assert values_of(Code.NOISE, text) == [{"intervals": 2, "epsilon": "0.5", "factor": "1.65"}]
    assert values_of(Code.NOISE_SUM, text) == [{"intervals": 2, "epsilon": "1", "factor": "2.72"}]


@pytest.mark.parametrize(("epsilon", "factor"), [("0.000001", "1.00"), ("5", "148"), ("20", "485,165,195")])
def test_the_factor_of_an_epsilon(epsilon: str, factor: str) -> None:
    """Rounded for reading."""
    (values,) = values_of(Code.NOISE, NOISY.replace(b"0.5", epsilon.encode()))
    assert values["factor"] == factor


def test_noise_that_is_next_to_none_is_an_alarm() -> None:
    """With a large epsilon nearly all numbers are exact."""
    text = noisy(epsilon="20").replace(b"=20\n", b"=20.5\n")
    assert alarms(text) == [finding(Code.WEAK_NOISE, epsilon="20.5")]
    assert "which promises nothing" in str(values_of(Code.NOISE, text)[0]["factor"])


def test_a_year_of_noise_promises_nothing_to_a_daily_client() -> None:
    """Epsilons add up."""
    end = datetime(2012, 2, 10, tzinfo=UTC)
    text = b"".join(
        NOISY.replace(b"2012-02-11", f"{end + timedelta(days=day):%Y-%m-%d}".encode()) for day in range(365)
    )
    factor = "more than 400 million, which promises nothing"
    assert values_of(Code.NOISE_SUM, text) == [{"intervals": 365, "epsilon": "182.5", "factor": factor}]


def test_requests_beside_noise_are_an_alarm() -> None:
    """One client makes any number of them."""
    assert alarms(NOISY + b"obfsproxy-reqs DE=48\n") == [finding(Code.NOISE_WITH_REQUESTS, intervals=1)]


@pytest.mark.parametrize("line", [b"obfsproxy-ip-versions v4=73,v6=0\n", b"obfsproxy-ip-transports obfs3=72\n"])
def test_other_numbers_beside_noise_are_an_alarm(line: bytes) -> None:
    """Each counts the same client again."""
    assert alarms(NOISY + line) == [finding(Code.NOISE_WITH_OTHER_NUMBERS, intervals=1)]


def test_noise_released_twice_is_an_alarm() -> None:
    """Two draws for one interval reveal more than one."""
    text = NOISY + noisy(seed=12)
    assert alarms(text) == [finding(Code.REPEATED_WITH_OTHER_NUMBERS, intervals=1)]


# Whole files


def test_many_transports_are_not_named_one_by_one() -> None:
    """A file may name thousands."""
    text = lines("obfsproxy-ip-transports " + ",".join(f"t{number:02}=8" for number in range(12)))
    ten = ", ".join(f"t{number:02}" for number in range(10))
    assert values_of(Code.TRANSPORTS, text) == [{"names": f"{ten} and 2 more"}]


@given(st.lists(documents(unknown=False), min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_the_order_of_documents_does_not_matter(several: list[Document], order: random.Random) -> None:
    """The findings are the same in any order."""
    shuffled = several.copy()
    order.shuffle(shuffled)
    assert audited_bytes(written(*several), NOW) == audited_bytes(written(*shuffled), NOW)
