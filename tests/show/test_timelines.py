"""A plot of one number a day: paths, gaps, marks."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from obfstats.show.results import ALL, read_results
from obfstats.show.timelines import HEIGHT, draw_timeline
from tests.show.tables import LAST, make_tables

if TYPE_CHECKING:
    from pathlib import Path

    from obfstats.show.results import Key
    from obfstats.show.timelines import Timeline


def draw(folder: Path, key: Key = ALL, days: int = 120, missing: tuple[int, ...] = (), **options: object) -> Timeline:
    """Draw a series of the made-up world."""
    results = read_results(make_tables(days, missing=missing).write(folder))
    words = {"name": "plot", "title": "Users", "unit": "users", **options}
    return draw_timeline(results, results.users[key], key, **words)  # type: ignore[arg-type]


def follow(path: str) -> list[tuple[float, float]]:
    """Follow a path, and give its points."""
    x, y = 0.0, 0.0
    points: list[tuple[float, float]] = []
    commands = re.findall("([MlhVz])([^MlhVz]*)", path)
    assert "".join(command + numbers for command, numbers in commands) == path
    for command, text in commands:
        numbers: list[float] = [float(number) for number in re.findall(r"-?\.?[0-9]+", text)]
        if command == "M":
            x, y = numbers
        elif command == "h":
            x += numbers[0]
        elif command == "V":
            y = numbers[0]
        if command == "l":
            for across, down in zip(numbers[::2], numbers[1::2], strict=True):
                x, y = x + across, y + down
                points.append((x, y))
        points.append((x, y))
    return points


def test_a_line_goes_through_every_day(tmp_path: Path) -> None:
    """Its points are the days' middles, from the first day's start to the last day's end, as high as their numbers."""
    plot = draw(tmp_path, ("ir", ""))
    (line,) = plot.lines
    points = follow(line)
    assert plot.days == 120
    assert (points[0][0], points[-1][0]) == (0.0, 120.0)
    heights = {x: y for x, y in points if x % 1}
    assert len(heights) == 120
    assert heights[50.5] < HEIGHT / 2 < heights[110.5] < HEIGHT
    assert len(line) < 120 * 6


def test_bands_are_closed_and_around_the_line(tmp_path: Path) -> None:
    """The interval of 90 % is within the expected range here, and both end where they begin."""
    plot = draw(tmp_path, ("ru", ""))
    for path in (*plot.bands, *plot.expected):
        assert path.endswith("z")
        points = follow(path.removesuffix("z"))
        assert points[-1][0] == points[0][0]
        assert abs(points[-1][1] - max(y for x, y in points if x == points[0][0])) < 1
    assert len(plot.expected) == len(plot.bands) == 1


def test_missing_days_interrupt_the_line(tmp_path: Path) -> None:
    """A gap of 31 days is drawn and dated; a single missing day too."""
    plot = draw(tmp_path, missing=(*range(40, 71), 5))
    assert len(plot.lines) == 3
    first, second = LAST - timedelta(days=70), LAST - timedelta(days=5)
    assert [gap.text for gap in plot.missing] == [f"{first.day} Sep 2026 to 19 Oct 2026", f"{second.day} Nov 2026"]
    assert plot.missing[0].width == pytest.approx(100 * 31 / 120, abs=0.02)


def test_a_single_day_is_seen(tmp_path: Path) -> None:
    """A line one day long, at the right edge of four weeks."""
    plot = draw(tmp_path, days=1)
    (line,) = plot.lines
    assert plot.days == 28
    assert [x for x, _ in follow(line)] == [27, 27.5, 27.5, 27.5, 28]
    assert not plot.missing


def test_events_annotations_and_breaks_are_where_they_happened(tmp_path: Path) -> None:
    """Only those of the series, and of the time that the plot shows."""
    plot = draw(tmp_path, ("ir", ""))
    ((x, y, is_drop, text),) = plot.marks
    assert x == round(100 * (120 - 18.5) / 120, 2)
    assert y > 80
    assert is_drop
    assert text == "10 Nov 2026, drop: 120 where 840 to 1,560 were expected"
    (note,) = plot.notes
    assert (note.x, note.width) == (round(100 * 100 / 120, 2), round(100 * 20 / 120, 2))
    assert [line.day for line in plot.breaks] == [LAST - timedelta(days=60)]
    other = draw(tmp_path, ("ru", ""))
    assert (other.marks, other.notes) == ([], [])
    october = draw(tmp_path, ("ir", ""), end=LAST.replace(month=10, day=31), length=31)
    assert (october.marks, october.notes) == ([], [])
    assert len(october.breaks) == 0


def test_the_peak_has_its_date(tmp_path: Path) -> None:
    """The label is written towards the middle where it is near an edge."""
    plot = draw(tmp_path, ("sh", ""))
    assert plot.peak is not None
    assert re.fullmatch(r"1\.0 on [0-9]+ [A-Z][a-z]{2} 2026", plot.peak.text)
    assert plot.description.startswith(f"The most users: {plot.peak.text}")
