"""Noise that carries a proof: exact discrete Laplace noise on the unique addresses of an interval (`--epsilon`).

    published number = true number + k,   the chance of k proportional to exp(-epsilon |k|)

What is promised. A client is one address in one interval. It has one country there, so with it and without it one
number differs, by one (sensitivity 1). Whatever is published, its chance differs between the two by a factor of
exp(epsilon) at most: at epsilon 0.5 by 1.65. This holds whatever else a reader knows, and whatever is done with the
published numbers afterwards.

What is not promised:

- Intervals add up. A client who comes each day spends epsilon each day, one with several addresses spends it for each,
  and an interval that is released twice costs twice; the last must never happen (ledger.py).
- Nothing but these numbers is covered: not when an interval began, not that there is a document at all. Whether an
  interval is released must not depend on whether somebody came.
- Nothing is promised about time: how long drawing takes depends on what is drawn. Numbers are published much later, and
  nobody but the bridge sees the program run.

Rules:

- Every country of a fixed list gets a number, most of them noise around nought. Were only those there that had a
  client, being there would tell of that client. A country that is not on the list is counted as `??`.
- Numbers stay as they are, below nought too. To clamp them, or to leave out the small ones, would hide nobody better
  and would make sums over many bridges wrong, always to the same side; as they are their errors cancel out.
- `obfsproxy-reqs` is left out of such a document: one client can make any number of connections, so that no noise is
  enough. Every further line would count the same client once more, and spend epsilon once more.
- No floating-point number is anywhere on the way: what rounding does to their last bits has broken such proofs.

The sampler is that of Canonne, Kamath and Steinke, "The Discrete Gaussian for Differential Privacy" (2020), algorithms
1 and 2. It uses whole numbers that are uniform below a bound and nothing else, and its distribution is exact.
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
"""Beyond this the noise is nought nearly always, and its promise is none."""

_DECIMALS, _UNIT = 6, 1_000_000
_EPSILON = re.compile(rf"(?:0|[1-9][0-9]?)(?:\.[0-9]{{1,{_DECIMALS}}})?")


def parse_epsilon(text: str) -> Fraction:
    """Read epsilon exactly.

    Args:
        text: a decimal number such as `0.5`.

    Raises:
        ValueError: if it is no such number, or not above 0, or above 20, or has more than 6 decimals.
    """
    if _EPSILON.fullmatch(text):
        epsilon = Fraction(text)
        if 0 < epsilon <= MAX_EPSILON:
            return epsilon
    raise ValueError(
        f"epsilon is a decimal number above 0, at most {MAX_EPSILON}, with at most {_DECIMALS} decimals, such as 0.5"
    )


def write_epsilon(epsilon: Fraction) -> str:
    """Write epsilon as short as it goes, so that `parse_epsilon` gives it again.

    Raises:
        ValueError: if there is no such text.
    """
    whole, decimals = divmod((epsilon * _UNIT).numerator, _UNIT)
    text = f"{whole}.{decimals:0{_DECIMALS}}".rstrip("0").rstrip(".")
    if parse_epsilon(text) != epsilon:
        raise ValueError(f"epsilon has at most {_DECIMALS} decimals")
    return text


def noisy(
    addresses: Mapping[str, int], codes: Sequence[str], epsilon: Fraction, below: Below = randbelow
) -> dict[str, int]:
    """Add noise to the number of every country that can be told.

    Args:
        addresses: different addresses by lower-case country code.
        codes: lower-case codes of every country that could have been there, `??` among them; the same list whoever
            came.
        epsilon: how much a release may tell of one address.
        below: gives a uniform whole number from 0 to below its argument.

    Returns:
        A number for each of the codes, in their order. It may be below nought.

    Raises:
        ValueError: if `??` is not among the codes, or epsilon is not above 0.
    """
    true = dict.fromkeys(codes, 0)
    if UNKNOWN_COUNTRY not in true:
        raise ValueError("the list of countries lacks the one of unknown addresses")
    for code, number in addresses.items():
        true[code if code in true else UNKNOWN_COUNTRY] += number
    return {code: number + discrete_laplace(epsilon, below) for code, number in true.items()}


def discrete_laplace(epsilon: Fraction, below: Below = randbelow) -> int:
    """Draw k with a chance proportional to exp(-epsilon |k|) (the paper's algorithm 2).

    Args:
        epsilon: above 0.
        below: gives a uniform whole number from 0 to below its argument.

    Raises:
        ValueError: if epsilon is not above 0.
    """
    stretch, scale = epsilon.numerator, epsilon.denominator
    if stretch <= 0:
        raise ValueError("epsilon is above 0")
    while True:
        # A number with a chance proportional to exp(-number / scale): its rest below scale, then its multiples of it.
        number = below(scale)
        if not bernoulli_exp(number, scale, below):
            continue
        while bernoulli_exp(1, 1, below):
            number += scale
        size = number // stretch
        is_negative = below(2)
        # Nought has no sign: drawn with both it would come twice as often as it should.
        if size or not is_negative:
            return -size if is_negative else size


def bernoulli_exp(numerator: int, denominator: int, below: Below = randbelow) -> bool:
    """Give true with a chance of exp(-numerator / denominator) (the paper's algorithm 1, up to an exponent of 1).

    Tries succeed with a chance of the fraction, then a half of it, then a third and so on. How many succeed in a row
    is even with exactly the chance that is asked for: it is the exponential's own series.

    Args:
        numerator: from 0 to the denominator.
        denominator: above 0.
        below: gives a uniform whole number from 0 to below its argument.
    """
    bound = denominator
    # A chance of one needs no draw.
    while bound == numerator or below(bound) < numerator:
        bound += denominator
    return bound // denominator % 2 == 1
