"""The operator's page: what a person looks for is there, whatever the documents are, and nothing else."""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from obfstats.formats.document import Document, GeoIpSource
from obfstats.formats.interval import format_time
from obfstats.show.operator_page import render_operator_page
from tests.formats.documents import documents
from tests.show.bridges import END, FINGERPRINT, publish, publish_day

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = END + timedelta(hours=1)

VOID = {"meta", "link", "img"}
HTML = "html head title style body header main section div h1 h2 p ul li details summary code span"
TABLES = "table caption thead tbody tr th td"
PICTURES = "svg desc text path rect line circle"
LINKS = {"href", "src"}
PLACES = {"d", "x", "y", "width", "height", "x1", "x2", "y1", "y2", "cx", "cy"}
ELEMENTS = VOID | set(f"{HTML} {TABLES} {PICTURES}".split())


class Page(HTMLParser):
    """What a browser would see in a page.

    Attributes:
        elements: (name, attributes) of each.
        texts: (name of the innermost element, text) of each piece of text.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open an element."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take an element without an end."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Close an element: the innermost one, or the page is broken."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Take text."""
        if data.strip():
            self.texts.append((self._open[-1], " ".join(data.split())))

    def all_of(self, tag: str) -> list[str]:
        """Give the texts of an element."""
        return [text for name, text in self.texts if name == tag]


def check_harmless(html: str) -> Page:
    """Check that a page has only our elements, runs nothing, loads nothing, and is whole."""
    page = Page(html)
    assert {tag for tag, _ in page.elements} <= ELEMENTS
    names = {name for _, attributes in page.elements for name in attributes}
    assert not [name for name in names if name.startswith("on") or name in {"style", "action", "srcset"}]
    addresses = [str(value) for _, attributes in page.elements for name, value in attributes.items() if name in LINKS]
    assert {address[:19] for address in addresses} <= {"data:image/svg+xml,"}
    assert len(page.all_of("style")) == 1
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    numbers = re.compile(r"nan|inf|None|undefined")
    assert not [
        a for _, a in page.elements for v in (a.get("d"), a.get("x"), a.get("width")) if v and numbers.search(v)
    ]
    assert len(html.encode()) < 300_000
    return page


def make(documents: Sequence[Document], now: datetime = NOW) -> Page:
    """Make a page and check it."""
    return check_harmless(render_operator_page(documents, 0, now))


def test_the_page_says_what_an_operator_asks() -> None:
    """How many, from where, by which transport, since when less; every picture has a title and a table."""
    counts = [{"IR": 60, "DE": 9, "HK": 3}] * 40 + [{"IR": 12, "DE": 9, "HK": 3}] * 10
    page = make([replace(document, ip_transports={"obfs3": 40, "obfs2": 16}) for document in publish(counts)])
    (sentence,) = page.all_of("h1")
    assert sentence == (
        "On most days of the last month 67 to 88 addresses from 3 countries used this bridge; most came from Iran."
    )
    assert {"Iran", "Germany", "Hong Kong", "obfs3", "obfs2"} <= set(page.all_of("th"))
    assert any(text.startswith("Iran: less since 19 Nov 2026") for text in page.all_of("p"))
    pictures = [attributes for tag, attributes in page.elements if tag == "svg" and attributes.get("role") == "img"]
    assert [picture["aria-labelledby"] for picture in pictures] == [
        "month-title month-text",
        "world-title world-text",
        "year-title year-text",
    ]
    assert "Iran: 41 to 48" in page.all_of("title")
    assert "France: 0" in page.all_of("title")
    assert "2026-11-29 09:22" in page.all_of("th")
    assert FINGERPRINT in " ".join(page.all_of("p"))


def test_the_sixteenth_country_is_among_the_others() -> None:
    """The first 15, and the others as one row; all of them below."""
    codes = ["IR", "RU", "DE", "US", "FR", "NL", "GB", "CN", "TR", "BY", "EG", "IN", "PK", "BR", "VN", "MM", "ET", "TM"]
    page = make([publish_day({code: 200 - 8 * number for number, code in enumerate(codes)})])
    names = page.all_of("th")
    assert "Others (3)" in names
    assert names.index("Vietnam") < names.index("Others (3)") < names.index("Turkmenistan")


def test_an_empty_folder_says_when_there_will_be_a_page() -> None:
    """The bridge has run for less than a day, or without --publish."""
    assert make([]).all_of("h1") == ["There are no numbers of this bridge yet."]


def test_one_day_is_called_one_day() -> None:
    """And nothing is said about a month or a year."""
    page = make(publish([{"IR": 12}]))
    assert page.all_of("h1")[0].startswith("In the 24 hours until 29 Nov 2026, 09:22 UTC, 9 to 16 addresses")
    assert any("there is no more than the last 30 days" in text for text in page.all_of("p"))
    assert any("Too few days" in text for text in page.all_of("p"))


def test_a_gap_of_a_month_is_drawn_and_explained() -> None:
    """It is no drop to zero."""
    counts = [*([{"IR": 60}] * 40), *([None] * 31), *([{"IR": 60}] * 3)]
    page = make(publish(counts))
    assert page.all_of("h1")[0].startswith("On all 3 days with numbers in the last month")
    gaps = [attributes for tag, attributes in page.elements if tag == "rect" and attributes.get("class") == "gap"]
    assert len(gaps) == 2
    assert (gaps[0]["x"], gaps[0]["width"]) == ("0", "900.0")
    assert any("2026-10-26 09:22 to 2026-11-26 09:22" in text for text in page.all_of("p"))
    assert not any("since" in text and "typical day had" in text for text in page.all_of("p"))


def test_a_bridge_with_one_country() -> None:
    """The other countries are drawn as 0."""
    page = make(publish([{"IR": 12}] * 30))
    assert page.all_of("h1")[0].endswith("all came from Iran.")
    drawn = [a["class"] for tag, a in page.elements if tag in {"path", "circle"} and str(a.get("class"))[0] == "c"]
    assert len(drawn) > 240
    assert len([name for name in drawn if name != "c0"]) == 1


def test_a_bridge_without_clients() -> None:
    """Zero is a number."""
    page = make(publish([{}] * 30))
    assert page.all_of("h1") == ["On all days of the last month no client used this bridge."]
    assert any(text == "No country has any." for text in page.all_of("p"))
    assert "The most on one day: 0." in page.all_of("p")


def test_noise_is_named() -> None:
    """Countries that cannot be told apart from 0 are not named."""
    noisy = [
        Document(document.end, 86_400, epsilon="0.5", ips={"IR": 61, "DE": number % 5 - 2, "FR": -1})
        for number, document in enumerate(publish([{}] * 30))
    ]
    page = make(noisy)
    assert any("epsilon 0.5" in text for text in page.all_of("li"))
    names = page.all_of("th")
    assert "Iran" in names
    assert "Others (2)" in names
    assert "Germany" not in names
    assert "Germany: not told apart from 0" in page.all_of("title")


def test_a_bridge_that_has_gone_silent_is_reported() -> None:
    """The page of the same documents changes once, and stays."""
    days = publish([{"IR": 12}] * 30)
    fresh, stale = (render_operator_page(days, 0, END + timedelta(days=age)) for age in (1, 3))
    assert "has published nothing" not in fresh
    assert "The last document is of 29 Nov 2026" in stale
    assert render_operator_page(days, 0, END + timedelta(days=9)) == stale


def test_the_policy_admits_the_style_and_nothing_else() -> None:
    """A browser runs no script and sends no request, even if a page had one."""
    html = render_operator_page(publish([{"IR": 12}]), 0, NOW)
    page = Page(html)
    (policy,) = (a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    style = html.partition("<style>")[2].partition("</style>")[0]
    digest = b64encode(sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    )


ENDS = st.datetimes(datetime(2025, 11, 1), datetime(2026, 11, 29)) | st.integers(0, 40).map(  # noqa: DTZ001
    lambda days: END - timedelta(days=days)
)


@given(st.lists(st.builds(replace, documents(unknown=False), end=ENDS.map(format_time)), max_size=8))
@settings(max_examples=30)
def test_any_documents_give_a_whole_page(days: list[Document]) -> None:
    """Whatever the grammar allows: huge numbers, unknown codes, partial intervals, noise among rounded numbers."""
    make([day for day in days if day.interval.start.year >= 2000])


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onload='alert(1)",
    "</style><script>",
    "</title></svg></table>",
    "{{ 7 * 7 }}{% raw %}",
    "=cmd|' /C calc'!A0",
    "&#60;b&#62;\0\r\n\u202e",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text: str) -> None:
    """The grammar keeps such names out; the templates do not rely on it."""
    document = Document(
        format_time(END),
        86_400,
        fingerprint=text,
        instance=text,
        ips={text: 40, "IR": 8},
        ip_transports={text: 8},
        ip_country_transports={(text, text): 8},
        geoip=GeoIpSource(text, text),
    )
    page = make([document])
    assert text.partition("\0")[0].split()[0].upper() in " ".join(page.all_of("th")).upper()
    assert not [text for text in page.all_of("th") if "49" in text]
    assert len([tag for tag, _ in page.elements if tag == "img"]) == 1


def test_the_band_of_a_day_is_as_high_as_its_numbers() -> None:
    """0 is at the lower edge; 24 of at most 25 clients reach to 4 % below the upper one."""
    page = make(publish([{}, {"IR": 20}]))
    (band,) = (a["d"] for tag, a in page.elements if tag == "path" and a.get("class") == "band" and a["d"])
    assert band is not None
    heights = [float(number) for number in re.findall(r"V([0-9.]+)", band)]
    assert heights == [100, 4, 32, 100]
    edges = [float(number) for number in re.findall(r"H([0-9.]+)", band)]
    assert edges == [966.7, 1000, 966.7, 933.3]
