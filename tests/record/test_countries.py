"""Where countries come from."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from obfstats.record import RecordError
from obfstats.record.countries import Countries
from tests.record.surroundings import GEOIP, GEOIP6, countries, country_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("address", "country"),
    [
        ("192.0.2.0", "de"),
        ("192.0.2.255", "de"),
        ("192.0.3.0", "??"),
        ("::ffff:192.0.2.1", "de"),
        ("2001:db8::1", "jp"),
        ("2001:db8:1::", "??"),
        ("fe80::1%eth0", "??"),
    ],
)
def test_text_is_looked_up_in_its_family(address: str, country: str) -> None:
    """Mapped addresses are IPv4, zones are ignored."""
    assert country_of(countries(), address) == country


def test_named_files_are_used_first(tmp_path: Path) -> None:
    """What the operator names is used and reported."""
    (tmp_path / "geoip").write_bytes(GEOIP)
    (tmp_path / "geoip6").write_bytes(GEOIP6)
    opened = Countries.open(tmp_path / "geoip", tmp_path / "geoip6")
    assert (country_of(opened, "192.0.2.1"), country_of(opened, "2001:db8::1")) == ("de", "jp")
    assert opened.descriptions == (f"{tmp_path}/geoip (2 ranges)", f"{tmp_path}/geoip6 (1 ranges)")


def test_the_list_of_countries_is_empty_until_tables_are_made(tmp_path: Path) -> None:
    """A search finds each address's country and no list of all; None would mean that there never is a list."""
    (tmp_path / "geoip").write_bytes(GEOIP)
    (tmp_path / "geoip6").write_bytes(GEOIP6)
    searched = Countries.search(tmp_path / "geoip", tmp_path / "geoip6")
    assert (country_of(searched, "192.0.2.1"), searched.codes) == ("de", ())
    opened = Countries.open(tmp_path / "geoip", tmp_path / "geoip6")
    assert searched.reload().codes == opened.codes
    assert {"??", "de", "jp"} <= set(opened.codes or ())


def test_without_any_file_the_registries_data_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Iptocc's wheel knows the registries' ranges; private and loopback addresses are of no country."""
    monkeypatch.setattr("obfstats.record.countries.TOR_GEOIP", tmp_path / "none")
    monkeypatch.setattr("obfstats.record.countries.TOR_GEOIP6", tmp_path / "none")
    opened = Countries.open()
    assert [source.split()[0] for source in opened.descriptions] == ["iptocc", "iptocc"]
    assert (country_of(opened, "1.0.16.1"), country_of(opened, "2001:200::1")) == ("jp", "jp")
    assert {country_of(opened, address) for address in ("127.0.0.1", "10.0.0.1", "::1", "fe80::1")} == {"??"}


@pytest.mark.parametrize(
    ("named", "families"), [({}, "IPv4 and IPv6"), ({"geoip": "geoip"}, "IPv6"), ({"geoip6": "geoip6"}, "IPv4")]
)
def test_without_any_source_every_country_is_unknown(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    named: dict[str, str],
    families: str,
) -> None:
    """One warning says what to install; documents name no source, and there is no list of countries for noise."""
    monkeypatch.setattr("obfstats.record.countries.TOR_GEOIP", tmp_path / "none")
    monkeypatch.setattr("obfstats.record.countries.TOR_GEOIP6", tmp_path / "none")
    monkeypatch.setitem(sys.modules, "iptocc", None)
    (tmp_path / "geoip").write_bytes(GEOIP)
    (tmp_path / "geoip6").write_bytes(GEOIP6)
    opened = Countries.open(**{option: tmp_path / name for option, name in named.items()})
    assert caplog.messages == [
        f"countries of {families} addresses are not known (??): install tor-geoipdb, or obfstats[geoip]"
    ]
    found = {"geoip": country_of(opened, "192.0.2.1"), "geoip6": country_of(opened, "2001:db8::1")}
    expected = {"geoip": "de", "geoip6": "jp"}
    assert found == {option: expected[option] if option in named else "??" for option in found}
    assert [source is not None for source in opened.geoip_sources] == ["geoip" in named, "geoip6" in named]
    assert opened.codes is None


def test_a_broken_default_file_is_reported_and_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The operator did not name it, so the bridge starts all the same."""
    (tmp_path / "geoip").write_bytes(b"\x00" * 100)
    monkeypatch.setattr("obfstats.record.countries.TOR_GEOIP", tmp_path / "geoip")
    opened = Countries.open()
    assert opened.descriptions[0].startswith("iptocc")
    assert caplog.messages == [f"{tmp_path}/geoip cannot be used: countries come from another source"]


@pytest.mark.parametrize(
    ("content", "sentence"), [(None, "cannot read"), (b"", "contains no range"), (b"\x00\xff\n\n", "contains no range")]
)
def test_a_named_file_that_is_no_geoip_file_is_refused(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    """Named on purpose, it must be valid: an error that says what to do."""
    path = tmp_path / "geoip"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecordError, match=sentence):
        Countries.open(path)
    with pytest.raises(RecordError, match=sentence):
        Countries.open(None, path)
