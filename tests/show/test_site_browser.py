"""The public site in real Chromium, without JavaScript: quiet, on a phone too, and safe whatever the tables hold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from obfstats.show.results import read_results
from obfstats.show.site_pages import Site
from peers.browser import DESK, NARROW_PHONE, PHONE, start_browser, visit
from peers.missing import need_module
from tests.show.tables import LAST, Tables, add_users, make_tables
from tests.show.test_browser import SVG_OFF

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

HOSTILE = (
    '"><script>alert(1)</script>',
    "'><img src=x onerror=alert(1)>",
    "{{7777*7}}",
    "]]><x/>",
    "../../../etc/passwd",
    '=HYPERLINK("http://x.org")',
    "@SUM(1)",
    "\u202egpj.exe",
    "x" * 5000,
)


def hostile() -> Tables:
    """Tables with such text in every field that can have text."""
    tables = make_tables(60)
    for number, text in enumerate(HOSTILE):
        for key in ((text, ""), ("", text), (text, text)):
            add_users(tables, LAST, key, 100 + number, 100)
            tables.add("obfstats-clients", str(LAST), *key, 5, 1, 9)
            tables.add("obfstats-events", str(LAST), *key, "obfstats", "drop", 1, 2, 3, text)
        tables.add("obfstats-events", str(LAST), "ir", "", text, "rise", 1, 2, 3, text)
        tables.add("obfstats-events", str(LAST), "ir", "", "obfstats", "rise", 1, 2, 3, text)
        tables.add("obfstats-annotations", str(LAST), None, "false", "", "", text, f"{text} https://x.org/{text}")
        tables.add("obfstats-annotations", str(LAST), None, text, text, text, text, "javascript:alert(1) data:,x")
    return tables


WORLDS = {
    "blocked": make_tables(100, missing=(*range(50, 80), 5)),
    "day": make_tables(1),
    "empty": Tables(),
    "hostile": hostile(),
}

PAGES = {
    "blocked": ["index.html", "countries.html", "events.html", "country/ir.html", "month/2026-11.html"],
    "day": ["index.html", "country/ir.html", "month/2026-11.html"],
    "empty": ["index.html"],
    "hostile": ["index.html", "countries.html", "events.html", "country/ir.html", "month/2026-11.html"],
}
VISITS = [(world, page) for world, pages in PAGES.items() for page in pages]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    with start_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a site of each world."""
    folder = tmp_path_factory.mktemp("sites")
    for world, tables in WORLDS.items():
        for path, content in Site(read_results(tables.write(folder / f"{world}-results"))).files():
            (folder / world / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / world / path).write_bytes(content)
    return folder


@pytest.mark.parametrize(("world", "page"), VISITS)
def test_a_page_is_quiet_and_fits(browser: Browser, sites: Path, world: str, page: str) -> None:
    """No request, no console message, no sideways scrolling on a phone; under 300 kB."""
    path = sites / world / page
    assert path.stat().st_size < 300_000
    for size in (DESK, NARROW_PHONE):
        with visit(browser, path, size) as opened:
            assert opened.page.locator("h1").is_visible()
            for summary in opened.page.locator("summary").all():
                summary.click()
            assert not opened.scrolls_sideways
            assert opened.messages == []
            assert [url for url in opened.requests if not url.startswith("data:")] == [path.as_uri()]


@pytest.mark.parametrize(
    ("world", "page", "dark"),
    [
        ("blocked", "index.html", False),
        ("blocked", "index.html", True),
        ("blocked", "country/ir.html", False),
        ("blocked", "month/2026-11.html", False),
        ("blocked", "countries.html", True),
        ("hostile", "events.html", False),
        ("empty", "index.html", False),
    ],
)
def test_axe_finds_nothing(browser: Browser, sites: Path, world: str, page: str, *, dark: bool) -> None:
    """Names of pictures, headers of tables, contrast: what a program can check."""
    need_module("axe_playwright_python")
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415 - not installed for Python 3.15

    with visit(browser, sites / world / page, PHONE, dark=dark, scripts=True) as opened:
        for summary in opened.page.locator("summary").all():
            summary.click()
        results = Axe().run(opened.page)
        assert results.response["passes"]
        assert results.violations_count == 0, results.generate_report()


def test_one_screen_shows_where_usage_falls(browser: Browser, sites: Path) -> None:
    """The sentence, the map and the first falls are seen without scrolling, and lead to the country."""
    with visit(browser, sites / "blocked" / "index.html") as opened:
        page = opened.page
        assert page.locator("h1").inner_text().startswith("On average")
        link = page.get_by_role("table").first.get_by_role("link", name="Iran")
        for part in (page.get_by_role("img", name="Change of users by country"), link):
            box = part.bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= DESK[1]
        link.click()
        assert page.url == (sites / "blocked" / "country" / "ir.html").as_uri()
        assert "users from Iran reached Tor" in page.locator("h1").inner_text()
        assert page.get_by_role("img", name="Users a day, Iran").is_visible()


def test_falls_and_no_change_have_colours_of_their_own(browser: Browser, sites: Path) -> None:
    """Iran fell, Germany did not change, Brazil has a number, Chad has none."""
    with visit(browser, sites / "blocked" / "index.html") as opened:
        world = opened.page.get_by_role("img", name="Change of users by country")
        fills = [
            world.locator(f"path:has(title:text-matches('^{country}:'))").evaluate("e => getComputedStyle(e).fill")
            for country in ("Iran", "Germany", "Chad", "Brazil")
        ]
        assert fills[1] == fills[3]
        assert len(set(fills)) == 3


def test_hostile_text_is_only_text(browser: Browser, sites: Path) -> None:
    """No element of it in any page, no formula in any CSV, no damage to the feed, no file elsewhere."""
    for path in (sites / "hostile").rglob("*"):
        content = path.read_text() if path.is_file() else ""
        assert "\u202e" not in content
        if path.suffix == ".html":
            assert path.stat().st_size < 300_000
            assert not re.search("<script|<img src=x|onerror=alert\\(1\\)>|54439|<x/>| style=", content)
            assert not re.search('href="(?!https?:|\\.\\./|[a-z0-9_-]+[./]|data:image/svg)', content)
        elif path.suffix == ".csv":
            assert not re.search('(^|,)"?[=+\\-@\t\r]', content, re.MULTILINE)
        elif path.suffix == ".atom":
            assert len(ET.fromstring(content)) > 10
    with visit(browser, sites / "hostile" / "events.html") as opened:
        assert opened.page.get_by_text("<script>alert(1)</script>").first.is_visible()


def test_without_svg_the_page_is_whole(browser: Browser, sites: Path) -> None:
    """Tor Browser's safest level draws no SVG: no stray labels; a sentence says so, and tables and CSV are left."""
    for page in ("index.html", "country/ir.html"):
        with visit(browser, sites / "blocked" / page, scripts=True) as opened:
            opened.page.evaluate(SVG_OFF)
            text = opened.page.locator("body").inner_text()
            assert "Afghanistan" not in text
            assert "where 840 to 1,560 were expected" not in text
            heights = opened.page.evaluate(
                "[...document.querySelectorAll('svg')].map(e => e.getBoundingClientRect().height)"
            )
            assert max(heights) < 30
            assert not opened.scrolls_sideways
            assert opened.page.locator("header img").is_visible()
