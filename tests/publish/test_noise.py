"""Exact noise: the sampler's distribution, and the promise of what is published."""

from __future__ import annotations

import ast
import inspect
import math
import random
import secrets
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obfstats.formats.counts import round_up
from obfstats.publish import noise
from obfstats.publish.noise import add_noise, bernoulli_exp, discrete_laplace, parse_epsilon, write_epsilon
from tests.publish.odds import chance, fit, privacy_losses

if TYPE_CHECKING:
    from collections.abc import Callable

HALF = Fraction(1, 2)
SAMPLES = 1_000_000
FEWER_SAMPLES = 100_000
CODES = ("??", *(f"{first}{second}" for first in "abcdefghij" for second in "abcdefghijklmnopqrstuvwxy"))[:250]
CLIENTS = 8
# Chosen before anything is drawn: hardly any number is drawn beyond it.
OUTCOMES = range(CLIENTS - 50, CLIENTS + 51)


def seeded(seed: int = 5047) -> Callable[[int], int]:
    """Give integers below a bound, the same in every run."""
    return random.Random(seed).randrange


def published(clients: int, samples: int, seed: int) -> Counter[int]:
    """Count the published numbers of many countries that all have the same number of clients."""
    below = seeded(seed)
    seen = Counter[int]()
    for _ in range(samples // len(CODES)):
        seen.update(add_noise(dict.fromkeys(CODES, clients), CODES, HALF, below).values())
    return seen


@pytest.fixture(scope="module")
def neighbours() -> tuple[Counter[int], Counter[int]]:
    """A million numbers published of 8 clients, and of 9."""
    return published(CLIENTS, SAMPLES, seed=1), published(CLIENTS + 1, SAMPLES, seed=2)


def exact(epsilon: Fraction, reach: int, about: int = 0) -> dict[int, float]:
    """Give the probabilities of the discrete Laplace distribution up to a distance from its centre."""
    share = math.exp(-epsilon)
    return {about + k: (1 - share) / (1 + share) * share ** abs(k) for k in range(-reach, reach + 1)}


# Epsilon.


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", HALF),
        ("1", Fraction(1)),
        ("1.0", Fraction(1)),
        ("0.1", Fraction(1, 10)),
        ("0.000001", Fraction(1, 1_000_000)),
        ("19.999999", Fraction(19_999_999, 1_000_000)),
        ("20", Fraction(20)),
        ("20.000000", Fraction(20)),
    ],
)
def test_epsilon_is_read_exactly(text: str, value: Fraction) -> None:
    """A tenth is a tenth, which no binary fraction is."""
    assert parse_epsilon(text) == value


REFUSED = (
    "", "0", "0.0", "0.000000", "-1", "-0.5", "+1", "20.000001", "21", "99", "100", "0.0000001", "1.", ".5", "00.5",
    "1e-3", "1E1", "5e-1", "nan", "inf", "1/2", "0x1", "0,5", "1_0", " 1", "1 ", "1\n", "\u0661", "1\0", "0.5.5",
)  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_epsilon_is_refused_in_one_sentence(text: str) -> None:
    """Zero, too large, too fine, exponents, and whatever else Python accepts as a number."""
    with pytest.raises(ValueError, match=r"\Aepsilon is a decimal number above 0, at most 20, [^\n]+ such as 0\.5\Z"):
        parse_epsilon(text)


@given(st.integers(1, 20_000_000))
def test_what_is_written_is_read_again(millionths: int) -> None:
    """Every epsilon there is, as short as it goes."""
    epsilon = Fraction(millionths, 1_000_000)
    text = write_epsilon(epsilon)
    assert parse_epsilon(text) == epsilon
    assert "." not in text or text[-1] in "123456789"


@given(st.text("0123456789.e-+ n\n/_\u0661", max_size=9) | st.text(max_size=9))
def test_any_text_is_an_epsilon_or_refused(text: str) -> None:
    """What is accepted is read exactly."""
    try:
        epsilon = parse_epsilon(text)
    except ValueError as error:
        assert str(error).startswith("epsilon is a decimal number")  # noqa: PT017 - the other way is as good
    else:
        assert epsilon == Fraction(text)
        assert Fraction(write_epsilon(epsilon)) == epsilon


@pytest.mark.parametrize("epsilon", [Fraction(1, 3), Fraction(1, 10_000_000), Fraction(21), Fraction(0), Fraction(-1)])
def test_an_epsilon_without_a_text_is_not_written(epsilon: Fraction) -> None:
    """Nothing is recorded but what was used."""
    with pytest.raises(ValueError, match="epsilon"):
        write_epsilon(epsilon)


# The sampler, looked at along every way that its draws can go.


class _UsedUpError(Exception):
    """No more draws are left.

    Attributes:
        bound: of the one that was asked for.
    """

    def __init__(self, bound: int) -> None:
        super().__init__()
        self.bound = bound


def given_draws(numbers: tuple[int, ...]) -> Callable[[int], int]:
    """Give these numbers in order."""
    left = iter(numbers)

    def below(bound: int) -> int:
        for number in left:
            return number
        raise _UsedUpError(bound)

    return below


def chances(draw: Callable[[Callable[[int], int]], int], least: Fraction) -> tuple[dict[int, Fraction], Fraction]:
    """Give the exact probability of each outcome as far as known, and that of the paths not followed.

    Args:
        draw: takes a source of draws, and gives an outcome.
        least: ways with a smaller chance are not followed.
    """
    known: dict[int, Fraction] = {}
    unknown = Fraction(0)
    ways: list[tuple[tuple[int, ...], Fraction]] = [((), Fraction(1))]
    while ways:
        way, weight = ways.pop()
        try:
            outcome = draw(given_draws(way))
        except _UsedUpError as more:
            if weight / more.bound < least:
                unknown += weight
            else:
                ways += [((*way, number), weight / more.bound) for number in range(more.bound)]
        else:
            known[outcome] = known.get(outcome, Fraction(0)) + weight
    return known, unknown


@pytest.mark.parametrize(("numerator", "denominator"), [(0, 1), (0, 3), (1, 1), (1, 2), (2, 3), (1, 10)])
def test_the_chance_of_an_exponential_is_exact(numerator: int, denominator: int) -> None:
    """Summed over all paths of draws, the probability is within what is certain and what is open."""
    known, unknown = chances(lambda below: bernoulli_exp(numerator, denominator, below), Fraction(1, 50_000))
    truth = math.exp(-numerator / denominator)
    assert unknown < Fraction(1, 50)
    assert known[True] - Fraction(1, 10**12) <= truth <= known[True] + unknown + Fraction(1, 10**12)


@pytest.mark.parametrize("epsilon", [HALF, Fraction(1), Fraction(3, 2), Fraction(2, 3), Fraction(3)])
def test_the_chance_of_each_noise_is_exact(epsilon: Fraction) -> None:
    """The same for the noise; its symmetry is exact."""
    known, unknown = chances(lambda below: discrete_laplace(epsilon, below), Fraction(1, 200_000))
    assert unknown < Fraction(1, 4)
    for k, truth in exact(epsilon, 3).items():
        assert known.get(k, 0) <= truth + 1e-12
        assert truth <= known.get(k, 0) + unknown + Fraction(1, 10**12)
        assert known.get(k, 0) == known.get(-k, 0)


# The sampler, by what it draws.


def test_a_million_numbers_fit_the_distribution(neighbours: tuple[Counter[int], Counter[int]]) -> None:
    """Chi-square against the exact probabilities; an epsilon that is 1 % larger does not fit."""
    for about, seen in zip((CLIENTS, CLIENTS + 1), neighbours, strict=True):
        assert seen.total() == SAMPLES
        assert fit(seen, exact(HALF, 15, about)) > 0.01
        assert fit(seen, exact(HALF * Fraction(101, 100), 15, about)) < 1e-6


@pytest.mark.parametrize(
    ("epsilon", "reach"), [("0.01", 200), ("0.1", 60), ("0.123457", 40), ("1", 6), ("2.75", 2), ("8", 0)]
)
def test_every_epsilon_fits_its_distribution(epsilon: str, reach: int) -> None:
    """Small and large ones, and one that is not a simple fraction."""
    below, value = seeded(), parse_epsilon(epsilon)
    seen = Counter(discrete_laplace(value, below) for _ in range(FEWER_SAMPLES))
    if reach:
        assert fit(seen, exact(value, reach)) > 0.01
    else:
        # So few numbers are drawn that there is not enough to compare: some 67 in 100,000.
        least, most = chance(FEWER_SAMPLES - seen[0], FEWER_SAMPLES, doubt=0.005)
        assert least <= 1 - math.tanh(value / 2) <= most


# What is promised.


def test_neighbouring_numbers_lose_no_more_than_epsilon(neighbours: tuple[Counter[int], Counter[int]]) -> None:
    """One client more changes the probability of every outcome by exactly a factor of exp(epsilon), up or down."""
    losses = dict(zip(OUTCOMES, privacy_losses(*neighbours, OUTCOMES), strict=True))
    assert all(loss.least <= HALF for loss in losses.values())
    assert all(loss.most >= -HALF for loss in losses.values())
    often = [outcome for outcome in OUTCOMES if min(seen[outcome] for seen in neighbours) >= 5_000]
    assert len(often) >= 12
    for outcome in often:
        sign = 1 if outcome <= CLIENTS else -1
        assert losses[outcome].least <= sign * HALF <= losses[outcome].most
        # This is what makes it a measurement: how far the bounds are from each other.
        assert losses[outcome].most - losses[outcome].least < 0.3


def _too_little_noise(clients: int, below: Callable[[int], int]) -> int:
    return clients + discrete_laplace(2 * HALF, below)


def _a_fifth_too_little_noise(clients: int, below: Callable[[int], int]) -> int:
    return clients + discrete_laplace(HALF * Fraction(6, 5), below)


def _cut_off(clients: int, below: Callable[[int], int]) -> int:
    return clients + max(-6, min(6, discrete_laplace(HALF, below)))


def _zero_with_both_signs(clients: int, below: Callable[[int], int]) -> int:
    """What the sampler would draw if it did not draw again for a negative zero."""
    return clients + (discrete_laplace(HALF, below) if below(1245) > 244 else 0)


def _rounded(clients: int, below: Callable[[int], int]) -> int:  # noqa: ARG001 - rounding draws nothing
    return round_up(clients)


@pytest.mark.parametrize(
    "publish", [_too_little_noise, _a_fifth_too_little_noise, _cut_off, _zero_with_both_signs, _rounded]
)
def test_the_measurement_finds_out_who_loses_more(publish: Callable[[int, Callable[[int], int]], int]) -> None:
    """A larger epsilon, clamped noise, a known mistake, and rounding: each loses more."""
    below = seeded()
    first, second = (
        Counter(publish(clients, below) for _ in range(FEWER_SAMPLES)) for clients in (CLIENTS, CLIENTS + 1)
    )
    losses = privacy_losses(first, second, OUTCOMES)
    assert any(loss.least > HALF or loss.most < -HALF for loss in losses)


ADDRESSES = st.dictionaries(st.sampled_from(["??", "de", "jp", "tr", "zz", "a1"]), st.integers(0, 50))


@given(ADDRESSES, st.sampled_from(["??", "de", "jp", "tr", "zz", "a1"]), st.integers(0, 99))
def test_one_client_more_changes_one_number_by_one(addresses: dict[str, int], country: str, seed: int) -> None:
    """Sensitivity 1: with the same draws only one number changes, whether the list has the country or not."""
    codes = ("??", "de", "jp", "tr")
    without = add_noise(addresses, codes, HALF, seeded(seed))
    more = add_noise({**addresses, country: addresses.get(country, 0) + 1}, codes, HALF, seeded(seed))
    changed = {code: more[code] - without[code] for code in codes if more[code] != without[code]}
    assert changed == {country if country in codes else "??": 1}


def test_every_country_of_the_list_gets_a_number_and_no_other() -> None:
    """A country without clients gets noise as well, in the list's order."""
    numbers = add_noise({"de": 7, "zz": 3}, ("jp", "??", "de"), Fraction(20), seeded())
    assert list(numbers.items()) == [("jp", 0), ("??", 3), ("de", 7)]


def test_negative_numbers_stay() -> None:
    """Nothing is clamped, so errors cancel out in sums: half of the nonzero numbers are negative."""
    numbers = add_noise({}, CODES, HALF, seeded()).values()
    assert 80 < sum(number < 0 for number in numbers) < 120
    assert abs(sum(numbers)) < 4 * 2.8 * len(CODES) ** 0.5


def test_a_list_without_unknown_countries_is_refused() -> None:
    """Otherwise clients of unknown countries would be dropped."""
    with pytest.raises(ValueError, match="unknown"):
        add_noise({"de": 1}, ("de", "jp"), HALF)


@pytest.mark.parametrize("epsilon", [Fraction(0), Fraction(-1, 2)])
def test_no_noise_is_drawn_for_no_epsilon(epsilon: Fraction) -> None:
    """Drawing would never end."""
    with pytest.raises(ValueError, match="above 0"):
        discrete_laplace(epsilon)


# Nothing but whole numbers and fractions, from the kernel.


def test_the_kernel_draws_where_nothing_else_is_given() -> None:
    """Seeds are for tests."""
    for function in (add_noise, discrete_laplace, bernoulli_exp):
        assert inspect.signature(function).parameters["below"].default is secrets.randbelow
    assert add_noise({}, CODES, HALF) != add_noise({}, CODES, HALF)


@given(st.integers(1, 20_000_000), st.integers(0, 1000), st.integers(0, 999))
def test_only_whole_numbers_are_on_the_way(millionths: int, clients: int, seed: int) -> None:
    """Every bound of a draw, and every published number, is an int."""
    bounds: list[object] = []
    draws = seeded(seed)

    def below(bound: int) -> int:
        bounds.append(bound)
        return draws(bound)

    numbers = add_noise({"de": clients}, ("??", "de"), Fraction(millionths, 1_000_000), below)
    assert bounds
    assert {type(value) for value in (*bounds, *numbers.values())} == {int}


def floating(source: str) -> set[str]:
    """Name whatever could bring floating-point numbers or weak randomness into a module."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Constant(value=float() | complex()):
                found.add("a floating-point number")
            case ast.Div() | ast.Pow():
                found.add("a division")
            case ast.Name(id="float" | "complex" | "round" | "pow" | "sum" as name):
                found.add(name)
            case ast.Import(names=names):
                found.update(alias.name for alias in names)
            case ast.ImportFrom(module=str(module)):
                found.add(module)
            case _:
                pass
    return found - ALLOWED_IMPORTS


ALLOWED_IMPORTS = {
    "__future__", "collections.abc", "fractions", "obfstats.formats.logline", "re", "secrets", "typing",
}  # fmt: skip


def test_the_module_has_no_floating_point_number() -> None:
    """No such constant, no division that gives one, and no import that could."""
    assert floating(Path(noise.__file__).read_text("utf-8")) == set()


@pytest.mark.parametrize(
    "source",
    ["x = 0.5", "x = 1 / 2", "x /= 2", "x = 10 ** -1", "x = float(y)", "import math", "import random as r",
     "from numpy import exp", "def f():\n    from random import random", "x = 1e3"],
)  # fmt: skip
def test_floating_point_numbers_would_be_found(source: str) -> None:
    """The search above finds each of these."""
    assert floating(source)
