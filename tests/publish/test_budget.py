"""A budget of noise: what the intervals of so many days may spend together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.formats.document import read_documents
from obfstats.publish.budget import EpsilonBudget, make_budget, parse_total
from obfstats.publish.ledger import Ledger
from peers.clocks import DAY
from peers.program import OBFSTATS
from tests.bridge.published import Bridge
from tests.publish.logs import line
from tests.publish.programs import run

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

START = datetime(2012, 2, 7, 14, 1, 4, tzinfo=UTC)
HALF = Fraction(1, 2)
TWO_IN_THREE_DAYS = EpsilonBudget(HALF, Fraction(1), 3)


@given(
    st.lists(st.integers(0, 40), unique=True, max_size=25),
    st.integers(1, 12),
    st.sampled_from([HALF, Fraction(1), Fraction(7, 4)]),
)
def test_no_days_in_a_row_spend_more_than_the_total(order: list[int], days: int, total: Fraction) -> None:
    """In whatever order intervals are released; and none is refused that would have fitted into every window."""
    budget = EpsilonBudget(HALF, total, days)
    spent: dict[datetime, Fraction] = {}

    def spent_from(first: int) -> Fraction:
        window = [START + timedelta(days=day) for day in range(first, first + days)]
        return sum((spent.get(start, Fraction()) for start in window), Fraction())

    for day in order:
        start = START + timedelta(days=day)
        fits = all(spent_from(first) + HALF <= total for first in range(day - days + 1, day + 1))
        assert budget.allows(start, spent) == fits
        if fits:
            spent[start] = HALF
    assert max(map(spent_from, range(-12, 42))) <= total


def test_what_was_spent_with_another_epsilon_counts() -> None:
    """The operator has lowered it since."""
    assert not TWO_IN_THREE_DAYS.allows(START + timedelta(days=2), {START: Fraction(3, 5)})
    assert TWO_IN_THREE_DAYS.allows(START + timedelta(days=3), {START: Fraction(3, 5)})


@pytest.mark.parametrize("text", ["0", "-1", "1e3", "1000000", "0.0000001", "", "many", "1.", "1_0"])
def test_what_is_no_total_is_refused(text: str) -> None:
    """In one sentence."""
    with pytest.raises(ValueError, match="give a decimal number above 0"):
        parse_total(text)


def test_options_that_do_not_go_together() -> None:
    """Each needs the other, and noise."""
    assert make_budget(HALF, None, None) is None
    assert make_budget(HALF, Fraction(15), 30) == EpsilonBudget(HALF, Fraction(15), 30)
    for epsilon, total, days in ((None, Fraction(1), 2), (HALF, None, 2), (HALF, Fraction(1), None)):
        with pytest.raises(ValueError, match="go together, and with --epsilon"):
            make_budget(epsilon, total, days)
    with pytest.raises(ValueError, match="no interval could be released"):
        make_budget(HALF, Fraction(1, 4), 30)


# The programs


def convert(folder: Path, *options: str) -> subprocess.CompletedProcess[bytes]:
    """Release the log with noise."""
    words = ("--format", "ticket", "--epsilon", "0.5", "--geoip", "geoip", "--geoip6", "geoip6", *options)
    return run([OBFSTATS, "convert", *words, "clients.log"], folder=folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A log of five days, and GeoIP files."""
    (tmp_path / "clients.log").write_bytes(b"".join(line(day, client=n) for n, day in enumerate(DAYS)))
    (tmp_path / "geoip").write_text("2130706432,2147483647,DE\n")
    (tmp_path / "geoip6").write_text("2001:db8::,2001:db8::ffff,TR\n")
    return tmp_path


DAYS = [f"2012-02-{day:02} 14:01:04" for day in range(7, 12)]


def starts(result: subprocess.CompletedProcess[bytes]) -> list[str]:
    """Give the starts of the intervals that were released."""
    assert result.returncode == 0
    return [document.interval.label for document in read_documents(result.stdout)]


def test_convert_leaves_out_what_the_budget_refuses(folder: Path) -> None:
    """Two of any three days; the ledger knows what was spent before, and refuses the same day again."""
    bounded, again = (convert(folder, "--epsilon-total", "1", "--days", "3") for _ in range(2))
    assert starts(bounded) == [DAYS[0], DAYS[1], DAYS[3], DAYS[4]]
    refusal = (
        f"the interval from {DAYS[2]} is left out: with it more than --epsilon-total 1 would be spent in --days 3\n"
    )
    assert bounded.stderr.decode().startswith(f"obfstats convert: {refusal}")
    assert starts(again) == []
    assert refusal in again.stderr.decode()
    # Without the budget the day is released.
    assert starts(convert(folder)) == [DAYS[2]]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--epsilon-total", "1"], "--epsilon-total E and --days N go together, and with --epsilon"),
        (["--epsilon-total", "0.1", "--days", "3"], "--epsilon-total is below --epsilon"),
        (["--epsilon-total", "0", "--days", "3"], "give a decimal number above 0"),
        (["--epsilon-total", "1", "--days", "0"], "'0' is not a number from 1"),
    ],
)
def test_convert_refuses_options_that_do_not_go_together(options: list[str], reason: str, folder: Path) -> None:
    """One line, status 2."""
    result = convert(folder, *options)
    assert (result.returncode, result.stdout) == (2, b"")
    assert reason in result.stderr.decode()
    assert result.stderr.count(b"\n") == 1


@pytest.mark.parametrize("aggregate", [False, True])
def test_a_bridge_publishes_no_more_than_the_budget(
    aggregate: bool,  # noqa: FBT001
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Five days, two of any three; what is refused is given up, with one warning, and is not tried again."""
    bridge = Bridge(tmp_path, epsilon=HALF, aggregate=aggregate, budget=TWO_IN_THREE_DAYS)
    for _ in range(5):
        bridge.visit(9)
        bridge.end_day()
    bridge.tick(DAY / 2)
    assert [name[:10] for name in bridge.names()] == ["2012-02-08", "2012-02-09", "2012-02-11", "2012-02-12"]
    refusals = [record.getMessage() for record in caplog.records if "--epsilon-total" in record.getMessage()]
    assert refusals == [
        (
            "the interval from 2012-02-09 14:01:04 is not published: "
            "with it more than --epsilon-total 1 would be spent in --days 3"
        )
    ]
    bridge.stop()
    with Ledger.open(bridge.publisher._folder.ledger.path) as ledger:
        assert len(ledger.spent_epsilon()) == 4
        assert ledger.unreleased() == {}
