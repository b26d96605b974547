"""The world map has a place for every country, and every code has a name."""

from __future__ import annotations

import re
from pathlib import Path

from obfstats.country_names import country_name
from obfstats.show.usage import NO_COUNTRIES
from obfstats.show.world import MAX_CLASS, darkness_of, draw_world, load_world
from peers.missing import need

GEOIP_FILES = [Path("/usr/share/tor/geoip"), Path("/usr/share/tor/geoip6")]

WITHOUT_PLACE = NO_COUNTRIES | {"AN", "CS", "SU", "UK", "AQ"}
"""Codes that stand in the table alone: of no country, of former ones, of a part of one, and of Antarctica."""


def test_every_code_of_tors_files_has_a_place_and_a_name() -> None:
    """On the map as a shape or a dot, or else in the table. A few codes in these files are registries' mistakes."""
    need("tor-geoipdb", str(GEOIP_FILES[0]))
    codes = {
        line.rsplit(",", 1)[1]
        for path in GEOIP_FILES
        for line in path.read_text().splitlines()
        if line and not line.startswith("#")
    }
    assert len(codes) > 240
    world = load_world()
    placed = world.shapes.keys() | world.dots.keys()
    unassigned = {code for code in codes if country_name(code).startswith("code ")}
    assert codes - placed - WITHOUT_PLACE - unassigned - {"UN"} == set()
    assert len(unassigned) <= 4
    assert unassigned.isdisjoint(placed)


def test_every_place_has_a_name() -> None:
    """No shape or dot without one."""
    world = load_world()
    names = [country_name(code) for code in (*world.shapes, *world.dots)]
    assert len(names) == len(set(names)) > 240
    assert not [name for name in names if name.startswith("code ")]


def test_what_is_too_small_for_a_shape_has_a_dot() -> None:
    """Hong Kong, Singapore, Bahrain: countries that people connect from."""
    world = load_world()
    assert {"HK", "SG", "BH", "MT", "MV", "MU"} <= world.dots.keys()
    assert world.dots.keys().isdisjoint(world.shapes)
    assert all(0 <= x <= world.width and 0 <= y <= world.height for x, y in world.dots.values())


def test_shapes_are_paths_and_nothing_else() -> None:
    """They are written into pages."""
    assert all(re.fullmatch("[Mlz0-9,. -]+", path) for path in load_world().shapes.values())


def test_countries_with_clients_are_drawn_last() -> None:
    """Their borders are above those of the others, and dots above shapes."""
    drawn = draw_world({"IR": 60, "SG": 1}, str)
    assert [country.text for country in drawn if country.darkness] == ["IR", "SG"]
    assert drawn[-1].text == "SG"
    assert drawn[len(load_world().shapes) - 1].text == "IR"


def test_classes() -> None:
    """No client is class 0; the published 8 of every day is in the class that ends with 8."""
    assert [darkness_of(number) for number in (0, 0.3, 1, 1.5, 8, 9, 32, 128, 129)] == [
        0,
        1,
        1,
        2,
        2,
        3,
        3,
        4,
        MAX_CLASS,
    ]
