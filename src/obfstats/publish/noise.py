"""Exact discrete Laplace noise on the different addresses of an interval (`--epsilon`): noise with a proof.

    published number = true number + k,   the probability of k proportional to exp(-epsilon |k|)

The promise. A client is one address in one interval. It belongs to one country there, so with and without it one number
differs, by one (sensitivity 1). The probability of any published result differs between the two cases by a factor of at
most exp(epsilon): 1.65 at epsilon 0.5. This holds whatever else a reader knows, and whatever is computed from the
published numbers afterwards.

What is not promised:

- Intervals add up. A client that connects every day spends epsilon every day, a client with several addresses spends it
  for each, and an interval that is released twice costs twice; the last must never happen (ledger.py). A
  budget bounds the sum (budget.py).
- A full aggregate (record/aggregate.py) promises half as much: from a million clients of an interval on, one client
  more displaces another, so two numbers differ by one, and the interval costs twice its epsilon.
- Only these numbers are covered: not the interval's start, and not that a document exists. Whether an interval is
  released must not depend on its clients.
- Nothing is promised about time: how long drawing takes depends on what is drawn. Numbers are published much later, and
  only the bridge's machine can observe the run.

Rules:

- Every country of a fixed list gets a number, most of them noise around zero. If only countries with a client were
  listed, being listed would reveal that client. A country that is not on the list counts as `??`.
- Numbers are published as drawn, negative ones too. Clamping them or leaving out small ones would protect no client
  better and would bias sums over many bridges; unchanged, their errors cancel out.
- Such a document has no `obfsproxy-reqs`: one client can make any number of connections, so no amount of noise is
  enough. Any further line would count the same client again, and spend epsilon again.
- No floating-point number is used: rounding of their last bits has broken such proofs.

The sampler is that of Canonne, Kamath and Steinke, "The Discrete Gaussian for Differential Privacy" (2020), algorithms
1 and 2. It needs only uniform integers below a bound, and its distribution is exact.
"""

from __future__ import annotations

import re
from fractions import Fraction
from secrets import randbelow
from typing import TYPE_CHECKING, TypeAlias

from obfstats.formats.logline import UNKNOWN_COUNTRY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Below: TypeAlias = Callable[[int], int]

MAX_EPSILON = 20
"""Above this the noise is nearly always zero and the promise is worthless."""

_DECIMALS, _UNIT = 6, 1_000_000
_EPSILON = re.compile(rf"(?:0|[1-9][0-9]?)(?:\.[0-9]{{1,{_DECIMALS}}})?")


def parse_epsilon(text: str) -> Fraction:
    """Parse epsilon exactly.

    Args:
        text: a decimal number such as `0.5`.

    Raises:
        ValueError: if it is not a decimal number above 0 and at most 20, with at most 6 decimals.
    """
    if _EPSILON.fullmatch(text):
        epsilon = Fraction(text)
        if 0 < epsilon <= MAX_EPSILON:
            return epsilon
    raise ValueError(
        f"epsilon is a decimal number above 0, at most {MAX_EPSILON}, with at most {_DECIMALS} decimals, such as 0.5"
    )


def write_epsilon(epsilon: Fraction) -> str:
    """Write epsilon as the shortest text that `parse_epsilon` reads as the same number.

    Raises:
        ValueError: if there is no such text.
    """
    whole, decimals = divmod((epsilon * _UNIT).numerator, _UNIT)
    text = f"{whole}.{decimals:0{_DECIMALS}}".rstrip("0").rstrip(".")
    if parse_epsilon(text) != epsilon:
        raise ValueError(f"epsilon has at most {_DECIMALS} decimals")
    return text


def add_noise(
    addresses: Mapping[str, int], codes: Sequence[str], epsilon: Fraction, below: Below = randbelow
) -> dict[str, int]:
    """Add noise to the number of every country of a list.

    Args:
        addresses: different addresses by lower-case country code.
        codes: lower-case codes of every country that the GeoIP source has, and `??`; the same list whatever clients
            connected.
        epsilon: bound on what a release reveals of one address.
        below: gives a uniform integer from 0 to below its argument.

    Returns:
        A number for each of the codes, in their order. It may be negative.

    Raises:
        ValueError: if `??` is not among the codes, or epsilon is not above 0.
    """
    exact = dict.fromkeys(codes, 0)
    if UNKNOWN_COUNTRY not in exact:
        raise ValueError("the list of countries lacks the one of unknown addresses")
    for code, number in addresses.items():
        exact[code if code in exact else UNKNOWN_COUNTRY] += number
    return {code: number + discrete_laplace(epsilon, below) for code, number in exact.items()}


def discrete_laplace(epsilon: Fraction, below: Below = randbelow) -> int:
    """Draw k with a probability proportional to exp(-epsilon |k|) (the paper's algorithm 2).

    Args:
        epsilon: above 0.
        below: gives a uniform integer from 0 to below its argument.

    Raises:
        ValueError: if epsilon is not above 0.
    """
    stretch, scale = epsilon.numerator, epsilon.denominator
    if stretch <= 0:
        raise ValueError("epsilon must be above 0")
    while True:
        # Draw a number with a probability proportional to exp(-number / scale): its remainder modulo scale first, then
        # its multiples of scale.
        number = below(scale)
        if not bernoulli_exp(number, scale, below):
            continue
        while bernoulli_exp(1, 1, below):
            number += scale
        size = number // stretch
        is_negative = below(2)
        # Zero has no sign: drawn with both it would come up twice as often as it should.
        if size or not is_negative:
            return -size if is_negative else size


def bernoulli_exp(numerator: int, denominator: int, below: Below = randbelow) -> bool:
    """Give True with a probability of exp(-numerator / denominator) (the paper's algorithm 1, exponents up to 1).

    Trials succeed with the probability of the fraction, then half of it, then a third, and so on. The number of
    successes in a row is even with exactly the wanted probability: this is the series of the exponential function.

    Args:
        numerator: from 0 to the denominator.
        denominator: above 0.
        below: gives a uniform integer from 0 to below its argument.
    """
    bound = denominator
    # A probability of one needs no draw.
    while bound == numerator or below(bound) < numerator:
        bound += denominator
    return bound // denominator % 2 == 1
