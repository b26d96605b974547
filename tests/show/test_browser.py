"""The pages in real Chromium, without JavaScript: what a person looks for, at a desk, on a phone, in the dark."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from obfstats.formats.counts import round_up
from obfstats.formats.document import Document
from obfstats.show.operator_page import render_operator_page
from peers.browser import DESK, NARROW_PHONE, PHONE, start_browser, visit
from peers.missing import need_module
from tests.show.bridges import END, publish

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from playwright.sync_api import Browser

MEANS = {"IR": 60, "RU": 14, "CN": 9, "DE": 6, "US": 5, "TR": 4, "BY": 3, "FR": 2, "HK": 2, "SG": 1, "??": 1, "AE": 1,
         "EG": 2, "IN": 2, "VN": 1, "PK": 1, "GB": 1, "MM": 1, "SH": 1}  # fmt: skip


def year() -> Sequence[Document]:
    """A year with gaps, in which Iran loses three quarters on the last ten days."""
    dice = random.Random(1)
    counts = []
    for day in range(365):
        share = (0.25 if day >= 355 else 1) * dice.uniform(0.8, 1.2)
        iran = {"IR": round(60 * share)}
        others = {code: dice.randint(0, 2 * mean) for code, mean in MEANS.items() if code != "IR"}
        counts.append(None if day in {100, 101, 102, 340} else iran | others)
    transports = {"obfs2": 16, "obfs3": 96, "a_transport_with_a_long_name_0123": 8}
    totals = [round_up(sum(countries.values())) for countries in counts if countries is not None]
    return [
        replace(document, ip_versions={"v4": clients, "v6": 0}, ip_transports=transports)
        for document, clients in zip(publish(counts), totals, strict=True)
    ]


def noisy() -> Sequence[Document]:
    """A month with noise."""
    dice = random.Random(2)
    codes = [a + b for a in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" for b in "AEINRSTUZ"]
    return [
        Document(day.end, 86_400, epsilon="0.5", ips={c: MEANS.get(c, 0) + dice.randint(-3, 3) for c in codes})
        for day in publish([{}] * 30)
    ]


BRIDGES = {
    "year": year(),
    "noise": noisy(),
    "gap": publish([*([{"IR": 60}] * 20), *([None] * 31), *([{"IR": 60}] * 3)]),
    "one-country": publish([{"IR": 9}] * 30),
    "one-day": publish([{"IR": 9, "DE": 1}]),
    "quiet": publish([{}] * 5),
    "empty": [],
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    with start_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of each bridge, as a file."""
    folder = tmp_path_factory.mktemp("pages")
    paths = {name: folder / f"{name}.html" for name in BRIDGES}
    for name, documents in BRIDGES.items():
        paths[name].write_text(render_operator_page(documents, 0, END))
    return paths


@pytest.mark.parametrize("name", BRIDGES)
@pytest.mark.parametrize("size", [DESK, NARROW_PHONE], ids=["desk", "phone"])
def test_a_page_is_quiet_and_fits(browser: Browser, pages: dict[str, Path], name: str, size: tuple[int, int]) -> None:
    """It sends no request, breaks no policy, writes nothing to the console, and does not scroll sideways."""
    with visit(browser, pages[name], size) as opened:
        assert opened.page.locator("h1").is_visible()
        assert not opened.scrolls_sideways
        for summary in opened.page.locator("summary").all():
            summary.click()
        assert not opened.scrolls_sideways
        assert opened.messages == []
        assert [url for url in opened.requests if not url.startswith("data:")] == [pages[name].as_uri()]


@pytest.mark.parametrize("name", ["noise", "gap", "empty"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing(browser: Browser, pages: dict[str, Path], name: str, *, dark: bool) -> None:
    """Names of pictures, headers of tables, contrast: what a program can check for people who see or hear otherwise."""
    need_module("axe_playwright_python")
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415 - not installed for Python 3.15

    with visit(browser, pages[name], PHONE, dark=dark, scripts=True) as opened:
        for summary in opened.page.locator("summary").all():
            summary.click()
        results = Axe().run(opened.page)
        assert results.response["passes"]
        assert results.violations_count == 0, results.generate_report()


def test_one_screen_answers_the_first_questions(browser: Browser, pages: dict[str, Path]) -> None:
    """The sentence, the last 30 days, less or more, the map and the first countries are seen without scrolling."""
    with visit(browser, pages["year"]) as opened:
        page = opened.page
        assert page.locator("h1").inner_text().startswith("On most days of the last month")
        for text in ("Iran: less since 19 Nov 2026", "obfs3"):
            box = page.get_by_text(text).first.bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= DESK[1]
        for name in ("Addresses a day in the last 30 days", "Addresses a day by country"):
            box = page.get_by_role("img", name=name).bounding_box()
            assert box is not None
            assert box["y"] + box["height"] <= DESK[1]
            assert box["width"] > 400
        row = page.get_by_role("row", name="Iran").first
        assert "to" in row.inner_text()


def test_countries_are_coloured_by_their_number(browser: Browser, pages: dict[str, Path]) -> None:
    """A shape for Iran, a dot for Hong Kong, and grey for Brazil, each with its number as a tooltip."""
    with visit(browser, pages["year"]) as opened:
        world = opened.page.get_by_role("img", name="Addresses a day by country")
        fills = {
            country: world.locator(f"{element}:has(title:text-matches('^{country}:'))").evaluate(
                "shape => getComputedStyle(shape).fill"
            )
            for country, element in (("Iran", "path"), ("Hong Kong", "circle"), ("Brazil", "path"))
        }
        assert len(set(fills.values())) == 3


def test_the_table_behind_a_picture_opens_without_scripts(browser: Browser, pages: dict[str, Path]) -> None:
    """A click shows the numbers of each day; a key does too."""
    with visit(browser, pages["year"], PHONE) as opened:
        table = opened.page.get_by_role("region", name="Table of 29 intervals")
        assert not table.is_visible()
        opened.page.get_by_text("The numbers of these days").focus()
        opened.page.keyboard.press("Enter")
        assert table.is_visible()
        assert table.get_by_role("row").count() == 30


def test_dark_and_print(browser: Browser, pages: dict[str, Path]) -> None:
    """Dark where the person prefers it; paper is always white."""
    background = "getComputedStyle(document.body).backgroundColor"
    with visit(browser, pages["year"], dark=True) as opened:
        assert opened.page.evaluate(background) == "rgb(20, 24, 28)"
        opened.page.emulate_media(media="print", color_scheme="dark")
        assert opened.page.evaluate(background) == "rgb(255, 255, 255)"
        assert opened.page.locator("h1").is_visible()


SVG_OFF = """
for (const drawn of document.querySelectorAll("svg")) {
    if (!drawn.isConnected || drawn.parentElement.closest("svg")) continue;
    const copy = (element) => {
        const plain = document.createElementNS("urn:off", element.localName);
        for (const {name, value} of element.attributes) plain.setAttribute(name, value);
        for (const child of element.childNodes) plain.append(child instanceof Element ? copy(child) : child.data);
        return plain;
    };
    drawn.replaceWith(copy(drawn));
}
for (const image of document.images) image.src = "data:,";
"""
"""What Firefox does where SVG is off (`svg.disabled`): its elements are ordinary ones of an unknown kind."""


def test_without_svg_the_page_is_whole(browser: Browser, pages: dict[str, Path]) -> None:
    """Tor Browser's safest level draws no SVG: no stray labels, no empty space; bars, tables, a sentence are left."""
    with visit(browser, pages["year"], scripts=True) as opened:
        page = opened.page
        page.evaluate(SVG_OFF)
        text = page.locator("body").inner_text()
        assert "Afghanistan" not in text
        assert "30 Oct 2026: " not in text
        heights = page.evaluate("[...document.querySelectorAll('svg')].map(e => e.getBoundingClientRect().height)")
        assert heights
        assert max(heights) < 30
        assert not opened.scrolls_sideways
        labels = page.evaluate("[...document.querySelectorAll('svg text')].map(e => getComputedStyle(e).color)")
        assert set(labels) == {"rgba(0, 0, 0, 0)"}
        message = page.locator("header img").bounding_box()
        assert message is not None
        assert message["width"] > 400
        bar = page.get_by_role("row", name="Iran").first.locator(".sure").bounding_box()
        assert bar is not None
        assert bar["width"] > 100
