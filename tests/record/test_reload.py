"""GeoIP files that are replaced under a running program: seen, checked, and used from the next interval on."""

from __future__ import annotations

import hashlib
import os
import sys
from importlib.metadata import version
from pathlib import Path
from socket import AF_INET
from typing import TYPE_CHECKING

import pytest

from obfstats.formats.document import GeoIpSource
from obfstats.record import Countries, RecordError
from obfstats.record.countries import CountrySource, GeoIpChoice
from obfstats.record.geoip import parse_v4, search_v4
from peers.clocks import DAY
from tests.record.surroundings import GEOIP, GEOIP6, Bench, country_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from obfstats.record.geoip import V4Table

# The same networks in other countries; longer, so that a clock of coarse steps hides nothing.
NEW_GEOIP = GEOIP.replace(b"DE", b"FR").replace(b"TR", b"GR") + b"3405803776,3405804031,AU\n"  # 203.0.113.0/24
NEW_GEOIP6 = GEOIP6.replace(b"JP", b"KR") + b"2001:db8:1::,2001:db8:1::ff,CN\n"

V4, V6 = "192.0.2.1", "2001:db8::1"


def by_renaming(path: Path, content: bytes) -> None:
    """Replace a file as dpkg does: a new one takes its name."""
    new = path.with_name("new")
    new.write_bytes(content)
    new.replace(path)


def by_rewriting(path: Path, content: bytes) -> None:
    """Replace a file's content in place, as cp does."""
    path.write_bytes(content)


ways = pytest.mark.parametrize("replace", [by_renaming, by_rewriting])


@pytest.fixture
def geoip(tmp_path: Path) -> Path:
    """A file of tor's form."""
    path = tmp_path / "geoip"
    path.write_bytes(GEOIP)
    return path


@pytest.fixture
def geoip6(tmp_path: Path) -> Path:
    """The same for IPv6."""
    path = tmp_path / "geoip6"
    path.write_bytes(GEOIP6)
    return path


@pytest.fixture(autouse=True)
def defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Places where tor's own files are looked for, empty so far."""
    paths = tmp_path / "tor-geoip", tmp_path / "tor-geoip6"
    for name, path in zip(("TOR_GEOIP", "TOR_GEOIP6"), paths, strict=True):
        monkeypatch.setattr(f"obfstats.record.countries.{name}", path)
    return paths


# Seeing it


def test_untouched_files_have_not_changed(geoip: Path, geoip6: Path) -> None:
    """However often they are checked or read."""
    opened = Countries.open(geoip, geoip6)
    assert [opened.changed() for _ in range(3)] == [False] * 3
    geoip.read_bytes()
    geoip.chmod(0o600)
    assert not opened.changed()


@ways
@pytest.mark.parametrize("which", ["geoip", "geoip6"])
def test_a_file_that_was_replaced_has_changed(
    geoip: Path, geoip6: Path, replace: Callable[[Path, bytes], None], which: str
) -> None:
    """Either of the two, by a new file or in place; what was opened stays as it was."""
    opened = Countries.open(geoip, geoip6)
    path, content = (geoip, NEW_GEOIP) if which == "geoip" else (geoip6, NEW_GEOIP6)
    replace(path, content)
    assert opened.changed()
    assert (country_of(opened, V4), country_of(opened, V6)) == ("de", "jp")


def test_a_rewrite_of_the_same_length_is_noticed_by_its_time(geoip: Path) -> None:
    """Inode and size are as before."""
    opened = Countries.open(geoip)
    before = geoip.stat()
    geoip.write_bytes(GEOIP.replace(b"DE", b"FR"))
    os.utime(geoip, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert opened.changed()


def test_a_file_that_vanished_has_not_changed(geoip: Path, geoip6: Path) -> None:
    """What is in memory is as good as it was; the same file again is no change either."""
    opened = Countries.open(geoip, geoip6)
    away = geoip.with_name("away")
    geoip.rename(away)
    assert not opened.changed()
    away.rename(geoip)
    assert not opened.changed()


def test_tors_own_file_that_appears_is_a_change(defaults: tuple[Path, Path]) -> None:
    """Tor-geoipdb was installed after the bridge: then tor's file is better than the fallback."""
    opened = Countries.open()
    assert not opened.changed()
    defaults[1].write_bytes(GEOIP6)
    assert opened.changed()
    fresh = opened.reload()
    assert fresh.descriptions[0].startswith("iptocc")
    assert fresh.descriptions[1] == f"{defaults[1]} (1 ranges)"
    assert country_of(fresh, V6) == "jp"


def test_tors_own_file_may_be_the_first_source(defaults: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Tor-geoipdb was installed after the bridge, and nothing else knows a country."""
    monkeypatch.setitem(sys.modules, "iptocc", None)
    opened = Countries.search()
    assert country_of(opened, V4) == "??"
    defaults[0].write_bytes(GEOIP)
    assert opened.changed()
    fresh = opened.reload()
    assert fresh.descriptions == (f"{defaults[0]} (2 ranges)", "no source")
    assert (country_of(fresh, V4), country_of(fresh, V6)) == ("de", "??")
    assert fresh.geoip_sources == (GeoIpSource("tor", hashlib.sha1(GEOIP).hexdigest().upper()), None)


def test_a_broken_file_of_tors_is_read_again_only_when_it_changes(defaults: tuple[Path, Path]) -> None:
    """Not used at the start; once it is valid it is used."""
    defaults[0].write_bytes(b"\0" * 100)
    opened = Countries.open()
    assert not opened.changed()
    by_renaming(defaults[0], GEOIP)
    assert opened.changed()
    assert country_of(opened.reload(), V4) == "de"


def test_countries_without_files_never_change() -> None:
    """Made of functions: there is nothing to read again."""
    made = Countries(lambda _: "de", lambda _: "jp", ("here", "there"))
    assert not made.changed()
    assert country_of(made.reload(), V4) == "de"
    assert made.geoip_sources == (None, None)


# Reading it


@ways
def test_reloading_gives_new_countries_and_leaves_the_old_ones(
    geoip: Path, geoip6: Path, replace: Callable[[Path, bytes], None]
) -> None:
    """Both families; the old tables count as unchanged, the new ones notice the next change."""
    opened = Countries.open(geoip, geoip6)
    replace(geoip, NEW_GEOIP)
    replace(geoip6, NEW_GEOIP6)
    fresh = opened.reload()
    assert (country_of(opened, V4), country_of(opened, V6)) == ("de", "jp")
    assert (country_of(fresh, V4), country_of(fresh, V6)) == ("fr", "kr")
    assert fresh.descriptions == (f"{geoip} (3 ranges)", f"{geoip6} (2 ranges)")
    assert (opened.changed(), fresh.changed()) == (False, False)
    replace(geoip, GEOIP)
    assert (opened.changed(), fresh.changed()) == (True, True)
    assert country_of(fresh.reload(), V4) == "de"


@ways
@pytest.mark.parametrize("spoilt", [b"", b"\0" * 1000, b"<html>503</html>\n"])
def test_a_broken_replacement_is_refused_once(
    geoip: Path, geoip6: Path, replace: Callable[[Path, bytes], None], spoilt: bytes
) -> None:
    """Never used, and not read again at every look; the next change is."""
    opened = Countries.open(geoip, geoip6)
    replace(geoip, spoilt)
    replace(geoip6, NEW_GEOIP6)
    assert opened.changed()
    with pytest.raises(RecordError, match="contains no range"):
        opened.reload()
    assert not opened.changed()
    assert (country_of(opened, V4), country_of(opened, V6)) == ("de", "jp")
    replace(geoip, NEW_GEOIP)
    assert opened.changed()
    fresh = opened.reload()
    assert (country_of(fresh, V4), country_of(fresh, V6)) == ("fr", "kr")


@ways
def test_a_broken_replacement_of_tors_own_file_is_refused(
    defaults: tuple[Path, Path], replace: Callable[[Path, bytes], None]
) -> None:
    """The fallback would be worse than what is in use."""
    defaults[0].write_bytes(GEOIP)
    opened = Countries.open()
    replace(defaults[0], b"\0" * 1000)
    with pytest.raises(RecordError, match="contains no range"):
        opened.reload()
    assert not opened.changed()
    assert country_of(opened, V4) == "de"


def test_a_named_file_that_is_not_there_is_refused(geoip: Path) -> None:
    """As at the start; when it is there again it is a change."""
    opened = Countries.open(geoip)
    geoip.unlink()
    with pytest.raises(RecordError, match="cannot read the GeoIP file"):
        opened.reload()
    assert not opened.changed()
    geoip.write_bytes(NEW_GEOIP)
    assert opened.changed()
    assert country_of(opened.reload(), V4) == "fr"


def test_what_was_read_of_tors_own_file_outlives_it(defaults: tuple[Path, Path]) -> None:
    """Tor-geoipdb was removed: its data is used until the next start, while the other family's is renewed."""
    defaults[0].write_bytes(GEOIP)
    defaults[1].write_bytes(GEOIP6)
    opened = Countries.open()
    defaults[0].unlink()
    by_renaming(defaults[1], NEW_GEOIP6)
    fresh = opened.reload()
    assert (country_of(fresh, V4), country_of(fresh, V6)) == ("de", "kr")
    assert fresh.geoip_sources[0] == opened.geoip_sources[0]
    assert not fresh.changed()
    defaults[0].write_bytes(NEW_GEOIP)
    assert fresh.changed()
    assert country_of(fresh.reload(), V4) == "fr"


def test_a_folder_in_its_place_is_refused(geoip: Path) -> None:
    """One sentence, and no descriptor is left open."""
    opened = Countries.open(geoip)
    geoip.unlink()
    geoip.mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with pytest.raises(RecordError, match="Is a directory"):
            opened.reload()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert not opened.changed()


def test_what_is_written_while_the_file_is_read_is_a_change(geoip: Path) -> None:
    """Perhaps only a part of it was read: it is read again."""

    def parse_slowly(text: bytes) -> V4Table:
        by_rewriting(geoip, NEW_GEOIP)
        return parse_v4(text)

    source = CountrySource.open(GeoIpChoice(geoip, True, geoip, parse_slowly, search_v4, AF_INET))
    assert source.changed()


# Digests


def test_digests_are_those_of_the_files_that_were_read(geoip: Path, geoip6: Path) -> None:
    """SHA-1 in upper-case hex, as tor writes them into its descriptors; none for the fallback."""
    digests = [hashlib.sha1(content).hexdigest().upper() for content in (GEOIP, GEOIP6, NEW_GEOIP)]
    expected = [GeoIpSource("file", digest) for digest in digests]
    opened = Countries.open(geoip, geoip6)
    assert opened.geoip_sources == (expected[0], expected[1])
    by_renaming(geoip, NEW_GEOIP)
    assert opened.reload().geoip_sources == (expected[2], expected[1])
    assert opened.geoip_sources == (expected[0], expected[1])
    only_v4 = Countries.open(geoip)
    registries = GeoIpSource("iptocc", version("iptocc"))
    assert only_v4.geoip_sources == (expected[2], registries)
    assert Countries.open().geoip_sources == (registries, registries)


def test_a_broken_file_of_tors_leaves_no_digest(defaults: tuple[Path, Path]) -> None:
    """What is not used is not named; what is used has its digest."""
    defaults[0].write_bytes(b"\0" * 100)
    defaults[1].write_bytes(GEOIP6)
    digest = hashlib.sha1(GEOIP6).hexdigest().upper()
    registries = GeoIpSource("iptocc", version("iptocc"))
    assert Countries.open().geoip_sources == (registries, GeoIpSource("tor", digest))


# Using it


def test_new_countries_are_used_from_the_next_interval_on(tmp_path: Path, geoip: Path, geoip6: Path) -> None:
    """Within an interval an address has one country."""
    bench = Bench(tmp_path / "log", buffer=1, delay=0, geoip=Countries.open(geoip, geoip6))
    recorder = bench.recorder
    running = recorder.countries
    by_renaming(geoip, NEW_GEOIP)
    by_renaming(geoip6, NEW_GEOIP6)
    fresh = running.reload()
    recorder.record(V4)
    recorder.replace_countries(fresh)
    recorder.record(V4)
    recorder.record(V6)
    bench.clock.pass_time(DAY - 1)
    recorder.tick()
    recorder.record(V4)
    assert recorder.countries is running
    bench.clock.pass_time(1)
    recorder.record(V4)
    assert recorder.countries is fresh
    recorder.record(V6)
    recorder.record(V6)
    recorder.tick()
    assert sorted(line[8:22] for line in bench.lines()) == [
        "07 14:01:04 de",
        "07 14:01:04 de",
        "07 14:01:04 de",
        "07 14:01:04 jp",
        "08 14:01:04 fr",
        "08 14:01:04 kr",
    ]


def test_the_last_replacement_of_an_interval_counts(tmp_path: Path, geoip: Path) -> None:
    """Of two on one day the second is used on the next."""
    bench = Bench(tmp_path / "log", geoip=Countries.open(geoip))
    last = Countries.open(geoip)
    bench.recorder.replace_countries(Countries.open(geoip))
    bench.recorder.replace_countries(last)
    bench.clock.pass_time(DAY)
    bench.recorder.tick()
    assert bench.recorder.countries is last
    bench.clock.pass_time(DAY)
    bench.recorder.tick()
    assert bench.recorder.countries is last


def test_an_interval_that_begins_because_the_clock_was_set_uses_them_too(tmp_path: Path, geoip: Path) -> None:
    """It is a new interval like any other."""
    bench = Bench(tmp_path / "log", geoip=Countries.open(geoip))
    fresh = Countries.open(geoip)
    bench.recorder.replace_countries(fresh)
    bench.clock.set_wall(DAY)
    bench.recorder.tick()
    assert bench.recorder.countries is fresh


def test_after_a_broken_replacement_the_old_countries_stay_for_days(tmp_path: Path, geoip: Path) -> None:
    """As a program does it: check, try, refuse; then there is a valid file."""
    bench = Bench(tmp_path / "log", buffer=1, delay=0, geoip=Countries.open(geoip))
    refused = 0

    def pass_a_day() -> None:
        nonlocal refused
        for hour in range(24):
            bench.clock.pass_time(DAY / 24)
            bench.recorder.tick()
            if bench.recorder.countries.changed():
                try:
                    bench.recorder.replace_countries(bench.recorder.countries.reload())
                except RecordError:
                    refused += 1
            if hour == 12:
                bench.recorder.record(V4)

    by_rewriting(geoip, b"not a GeoIP file\n")
    pass_a_day()
    pass_a_day()
    by_renaming(geoip, NEW_GEOIP)
    pass_a_day()
    pass_a_day()
    bench.recorder.tick()
    assert refused == 1
    assert [line[8:22] for line in bench.lines()] == [
        "07 14:01:04 de",
        "08 14:01:04 de",
        "09 14:01:04 de",
        "10 14:01:04 fr",
    ]
