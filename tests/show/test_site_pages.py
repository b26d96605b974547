"""What the public site says: sentences, lists, the monthly report, the feed, and the files beside the pages."""

from __future__ import annotations

import csv
import re
from datetime import date, timedelta
from io import StringIO
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from obfstats.show.results import read_results
from obfstats.show.site_files import parse_url, path_of, write_csv
from obfstats.show.site_pages import TOP, Site
from obfstats.show.site_words import list_months, write_report
from tests.show.tables import COLUMNS, LAST, SIZES, Cell, Tables, add_users, make_tables

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from obfstats.show.results import Results

ATOM = {"atom": "http://www.w3.org/2005/Atom"}


def make_site(folder: Path, tables: Tables, url: str = "") -> dict[str, str]:
    """Make the files of a site."""
    return {path: content.decode() for path, content in Site(read_results(tables.write(folder)), url).files()}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """A site of 120 days in which Iran is blocked for the last 20, with a gap of three days."""
    return make_site(tmp_path_factory.mktemp("results"), make_tables(missing=(50, 51, 52)))


def words(page: str) -> str:
    """A page's text, without tags."""
    return " ".join(re.sub("<[^>]*>", " ", page.partition("<body>")[2]).replace("\u00a0", " ").split())


def test_the_front_page_says_where_usage_falls(site: Mapping[str, str]) -> None:
    """The total, how many countries, and Iran first among them."""
    text = words(site["index.html"])
    assert re.search(
        r"On average 4,\d{3} users reached Tor through bridges in the week until 28 Nov 2026: 1\d % fewer", text
    )
    assert "usage has surely fallen in 1 country and surely risen in no countries" in text
    assert re.search(r"Falling Country 4 weeks before Last week Change Iran 1,[12]\d\d 1\d\d ▼ \u221290 %", text)
    assert "Usage has surely risen by a tenth or more in no country." in text


def test_the_largest_countries_and_the_others_are_small_multiples(site: Mapping[str, str]) -> None:
    """15 countries, the largest first; the others, and what is no country, are one. All lead to their pages."""
    page = site["index.html"]
    linked = re.findall(r'<li class="small"><a href="([^"]+)">', page)
    assert len(linked) == TOP + 1 + 3
    assert linked[:2] == ["country/ru.html", "country/us.html"]
    assert linked[TOP] == "countries.html"
    assert "4 others, and unknown" in page
    assert set(linked) <= set(site)


def test_every_picture_has_its_csv(site: Mapping[str, str]) -> None:
    """Each link of each page leads to a file of the site, and each CSV file has a header and rows."""
    for path, page in site.items():
        for link in re.findall(r'href="([^"#:]+)"', page) if path.endswith(".html") else ():
            folder = path.rpartition("/")[0]
            target = link.removeprefix("../") if link.startswith("../") else f"{folder}/{link}".lstrip("/")
            assert target in site, (path, link)
    tables = [content for path, content in site.items() if path.endswith(".csv")]
    assert len(tables) == 5 + len(SIZES) + 3 + 2
    assert all(table.count("\n") > 1 for table in tables)


def test_a_csv_has_missing_days_and_events(site: Mapping[str, str]) -> None:
    """All days from the first to the last one; a day without numbers has empty cells, not 0."""
    rows = list(csv.DictReader(StringIO(site["country/ir.csv"])))
    assert len(rows) == 120
    assert rows[-51]["users"] == ""
    assert [row["date"] for row in rows if row["event"] == "drop"] == [str(LAST - timedelta(days=18))]
    assert float(rows[-1]["expected_lower"]) < float(rows[-1]["users"]) < float(rows[-1]["expected_upper"])


def test_a_country_page_says_what_happened(site: Mapping[str, str]) -> None:
    """The sentence, the peak, the event with what was reported, missing days and the break, each explained."""
    text = words(site["country/ir.html"])
    assert re.search(
        r"On average 1\d\d users from Iran reached Tor .* until 28 Nov 2026: 90 % fewer than four weeks", text
    )
    assert re.search(r"The highest estimate of a day is 1,2\d\d on \d+ [A-Z][a-z]+ 2026", text)
    assert "10 Nov 2026 ▼ drop to 120, expected 840 to 1,560 Providers block most bridges." in text
    assert "about 2026-11-09, ongoing: Providers block most bridges. example.org" in text
    assert "Hatched: no numbers, 7 Oct 2026 to 9 Oct 2026" in text
    assert "Dashed, 2026-09-29: from here on most bridges run a tor that counts completed answers only" in text
    assert "Tor's own detector has found 1 event on" in text


def test_addresses_and_users_are_never_in_one_picture(site: Mapping[str, str]) -> None:
    """Two plots, two files, two words."""
    page = site["country/ir.html"]
    plots = re.findall(r'<svg class="plot".*?</svg>\s*</div>', page, re.DOTALL)
    assert len(plots) == 2
    assert ["Addresses" in plot for plot in plots] == [False, True]
    assert "users" not in site["country/ir-addresses.csv"]
    assert "They are not users" in words(page)
    assert "Addresses, not users" not in site["country/ru.html"]


def test_the_monthly_report_is_prose(site: Mapping[str, str]) -> None:
    """What changed, what happened, what was reported, and what is to be known of the numbers."""
    november, october = words(site["month/2026-11.html"]), words(site["month/2026-10.html"])
    assert re.search(
        r"users reached Tor through bridges in November 2026 \(until 28 Nov; the month is not over\)\.", november
    )
    assert re.search(r"That is 1\d % fewer than in October 2026\.", november)
    assert "196" not in november
    assert re.search(r"The estimate of a day was highest on \d Nov, 5,\d+, and lowest on \d+ Nov, 4,\d+\.", november)
    assert "No country changed surely by a tenth or more from September 2026." in october
    assert "200 bridges ran at a time, and 190 of them reported." in november
    assert re.search(r"Compared with October 2026, usage fell in Iran \(from 1,\d{3} to \d{3}, .\d\d %\)\.", november)
    assert "Usage dropped in Iran on 10 Nov: 120 users, where 840 to 1,560 were expected. " in november
    assert "Reported of that time: Providers block most bridges." in november
    assert "About 9 Nov 2026, ongoing, Iran: Providers block most bridges." in november
    assert "There is no sure change from September 2026." in october
    assert "There are no numbers of 3 days (7 Oct to 9 Oct): the archive has no reports of them." in october
    assert "No drop or rise was larger than what the past let expect." in october
    assert "From 29 Sep on most reports are of a tor that counts completed answers only" in words(
        site["month/2026-09.html"]
    )


def report(results: Results, month: str) -> str:
    """The text of a month's report."""
    months = list_months(results)
    place = [month.path for month in months].index(month)
    return " ".join(part.text for part in write_report(results, months[place], months[place - 1] if place else None))


def test_a_month_with_few_days_has_no_report(tmp_path: Path) -> None:
    """One that nothing is known of says so; its neighbours compare with nothing."""
    results = read_results(make_tables(90, missing=range(28, 62)).write(tmp_path))
    assert report(results, "2026-10") == "There are too few numbers of October 2026 for a report."
    assert "October" not in report(results, "2026-11").partition("There are no numbers")[0]


def test_the_feed_has_the_events_of_our_detector(tmp_path: Path) -> None:
    """Well-formed Atom; the same event has the same id tomorrow; links are absolute where the address is known."""
    tables = make_tables(40)
    first = ET.fromstring(make_site(tmp_path, tables)["events.atom"])
    (entry,) = first.findall("atom:entry", ATOM)
    assert entry.findtext("atom:title", "", ATOM) == "Iran: drop of bridge users on 10 Nov 2026"
    assert entry.findtext("atom:updated", "", ATOM) == "2026-11-10T00:00:00Z"
    assert "840 to 1,560 were expected. Reported of that time: Providers" in entry.findtext("atom:content", "", ATOM)
    tables.add("obfstats-events", str(LAST), "", "", "obfstats", "rise", 9, 1, 2, "")
    second = ET.fromstring(make_site(tmp_path, tables, "https://example.org/b/")["events.atom"])
    again = ET.fromstring(make_site(tmp_path, tables)["events.atom"])
    assert len(second.findall("atom:entry", ATOM)) == 2
    ids = [
        [entry.findtext("atom:id", "", ATOM) for entry in feed.findall("atom:entry", ATOM)] for feed in (first, again)
    ]
    assert ids[0][0] == ids[1][1]
    assert len({*ids[0], *ids[1]}) == 2
    links = [link.get("href") for link in second.iterfind(".//atom:link", ATOM)]
    assert links == [
        "https://example.org/b/events.html",
        "https://example.org/b/events.atom",
        "https://example.org/b/total.html",
        "https://example.org/b/country/ir.html",
    ]


def test_paths_are_safe_and_different() -> None:
    """Only ordinary names are used as they are."""
    keys = [("ir", ""), ("??", ""), ("", "obfs4"), ("", "<OR>"), ("", "no_transport"), ("../x", ""),
            ("", "../../etc/x"), ("", "a.b"), ("", "a/b"), ("IR", ""), ("", "\u0430"), ("", "or")]  # fmt: skip
    paths = [path_of(key) for key in keys]
    assert len(set(paths)) == len(keys)
    assert paths[:4] == ["country/ir", "country/unknown", "transport/obfs4", "transport/no-transport"]
    assert all(re.fullmatch("(country|transport)/[A-Za-z0-9_-]+", path) for path in paths)


def test_no_cell_is_a_formula() -> None:
    """An apostrophe in front; commas, quotation marks and line ends are quoted; NaN is empty."""
    text = write_csv(["a", "b"], [["=1+1", float("nan")], ['@x,"y"', -0.25], ["-1\n", 1e6]]).decode()
    assert text == 'a,b\n\'=1+1,\n"\'@x,""y""",-0.25\n"\'-1\n",1000000\n'


def test_an_address_of_a_site_ends_with_a_slash() -> None:
    """What is no address of a folder is refused."""
    assert parse_url("https://example.org/b") == parse_url("https://example.org/b//") == "https://example.org/b/"
    for text in (
        "example.org",
        "javascript:alert(1)",
        "https://x.org/?a",
        "https://x.org/#a",
        "https://x.org/a b",
        "//x",
    ):
        with pytest.raises(ValueError, match="address"):
            parse_url(text)


def test_a_result_without_numbers_is_a_page_that_says_so(tmp_path: Path) -> None:
    """An archive of one day has no estimate."""
    files = make_site(tmp_path, Tables())
    assert set(files) == {"index.html", "events.atom"}
    page = files["index.html"]
    assert "There are no numbers yet." in words(page)
    assert "Numbers until" not in words(page)
    assert "countries.html" not in page


def test_one_day_says_that_it_is_too_few(tmp_path: Path) -> None:
    """Everything is there, and nothing is claimed."""
    files = make_site(tmp_path, make_tables(1))
    assert "There are too few numbers of the last week." in words(files["index.html"])
    assert "no numbers" in words(files["countries.html"])
    assert "There are too few numbers of November 2026 for a report." in words(files["month/2026-11.html"])


def test_a_country_that_is_new_or_gone(tmp_path: Path) -> None:
    """From nobody to somebody, and back: words, not an infinite number."""
    tables = Tables()
    for back in reversed(range(40)):
        day = LAST - timedelta(days=back)
        new, gone = (50.0, 0.0) if back < 10 else (0.0, 50.0)
        for key, users in ((("", ""), 50.0), (("de", ""), new), (("fr", ""), gone)):
            add_users(tables, day, key, users, users)
    files = make_site(tmp_path, tables)
    assert (
        "50 users from Germany reached Tor through bridges in the week until 28 Nov 2026: none four weeks before."
        in (words(files["country/de.html"]))
    )
    assert "On average 0 users from France" in words(files["country/fr.html"])
    assert "100 % fewer than four weeks before" in words(files["country/fr.html"])
    assert "new" in words(files["countries.html"])


def test_what_is_not_all_gone_has_not_fallen_by_all(tmp_path: Path) -> None:
    """4 of 1,000 users are 0.4 %, and 100 % fewer would be none."""
    tables = Tables()
    for back in reversed(range(40)):
        for key in (("", ""), ("fr", "")):
            add_users(tables, LAST - timedelta(days=back), key, 4.0 if back < 10 else 1000.0)
        add_users(tables, LAST - timedelta(days=back), ("de", ""), 1.0)
    files = make_site(tmp_path, tables)
    assert "On average 1 user from Germany" in words(files["country/de.html"])
    assert "more than 99 % fewer than four weeks before" in words(files["country/fr.html"])
    assert "\u221299 %" in words(files["countries.html"])
    assert "100 %" not in words(files["countries.html"])


def test_months_are_listed_from_the_first_to_the_last(tmp_path: Path) -> None:
    """Over the end of a year, and the last one is cut."""
    tables = Tables()
    for day in (date(2025, 12, 31), date(2026, 2, 3)):
        add_users(tables, day, ("", ""), 1)
    months = list_months(read_results(tables.write(tmp_path)))
    assert [month.name for month in months] == ["December 2025", "January 2026", "February 2026"]
    assert [month.is_whole for month in months] == [True, True, False]
    assert months[-1].end == date(2026, 2, 3)


def test_days_without_addresses_are_not_those_without_users(tmp_path: Path) -> None:
    """Bridges begin to publish documents some day, and the archive may lack descriptors of a day that has documents."""
    tables = make_tables(40, missing=(10,))
    of_clients = tables.rows["obfstats-clients"]
    gap = str(LAST - timedelta(days=10))
    tables.rows["obfstats-clients"] = [
        [gap, *of_clients[0][1:]],
        *(row for row in of_clients if str(row[0]) > "2026-11"),
    ]
    page = make_site(tmp_path, tables)["total.html"]
    users, addresses = re.findall(r'<svg class="plot".*?</svg>\s*</div>', page, re.DOTALL)
    assert "no numbers" in users
    assert "no numbers" not in addresses


CELLS = st.sampled_from(
    ["", "0", "1", "8", "0.04", "1e12", "-1", "NaN", "=1", "x", "ir", "??", "obfs4", "<OR>", "drop", "rise", "obfstats",
     "tor", "true", "ongoing", str(LAST), str(LAST - timedelta(days=9)), "\u202e", "<b>", "a b"]
)  # fmt: skip


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_tables_give_a_whole_site(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever the cells are: pages with an end, a feed that can be read, and no number that is none."""
    tables = make_tables(12, blocked=5, sizes={"ir": 20}, missing=(3,))
    for name, columns in COLUMNS.items():
        rows = tables.rows[name]
        for _ in range(data.draw(st.integers(0, 3))):
            row: list[Cell] = [data.draw(CELLS) for _ in columns]
            if data.draw(st.booleans()) and rows:
                place = data.draw(st.integers(0, len(columns) - 1))
                row = [*rows[-1][:place], row[place], *rows[-1][place + 1 :]]
            rows.append(row)
    for path, content in make_site(tmp_path, tables).items():
        if path.endswith(".html"):
            assert content.rstrip().endswith("</html>")
            assert not re.search(r"\b(nan|inf|None)\b", words(content))
        elif path.endswith(".atom"):
            ET.fromstring(content)
