"""The world map: where each country's number is drawn, and how dark. The shapes are made by packaging/world-map."""

from __future__ import annotations

import json
from bisect import bisect_left
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MAX_CLASS: Final = 5
"""Countries without clients are of class 0, those with the most of this one (style.css: c0 to c5)."""

CLIENTS_A_DAY: Final = (1, 8, 32, 128)
"""The ends of the classes 1 to 4, for clients of one bridge."""


@dataclass(frozen=True, slots=True)
class World:
    """The asset.

    Attributes:
        width: of the map, in units.
        height: of the map, in units.
        shapes: paths by country code.
        dots: places of countries that have no shape, by country code.
    """

    width: int
    height: int
    shapes: Mapping[str, str]
    dots: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Country:
    """A country on the map.

    Attributes:
        path: its shape; empty for a dot.
        x: of the dot.
        y: of the dot.
        darkness: its class.
        text: what is said of it.
    """

    path: str
    x: int
    y: int
    darkness: int
    text: str


@cache
def load_world() -> World:
    """Load the asset."""
    text = files("obfstats.show").joinpath("assets", "world.json").read_text(encoding="ascii")
    asset = json.loads(text)
    dots = {code: (x, y) for code, (x, y) in asset["dots"].items()}
    return World(asset["width"], asset["height"], asset["shapes"], dots)


def darkness_of(number: float, ends: Sequence[float] = CLIENTS_A_DAY) -> int:
    """Give the class of a number."""
    return 0 if number <= 0 else 1 + bisect_left(ends, number)


def draw_world(
    numbers: Mapping[str, float], describe: Callable[[str], str], classify: Callable[[float], int] = darkness_of
) -> list[Country]:
    """Draw the map.

    Args:
        numbers: clients by upper-case country code.
        describe: says in words what a country's number is.
        classify: gives the class of a number.

    Returns:
        Countries in the order to draw: shapes, then dots, those without clients first.
    """
    world = load_world()

    def darkness(code: str) -> int:
        return classify(numbers.get(code, 0))

    shapes = [Country(path, 0, 0, darkness(code), describe(code)) for code, path in world.shapes.items()]
    dots = [Country("", x, y, darkness(code), describe(code)) for code, (x, y) in world.dots.items()]
    return sorted(shapes, key=lambda shape: shape.darkness) + sorted(dots, key=lambda dot: dot.darkness)
