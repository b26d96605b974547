"""The command `obfstats log2stats`: its output, its notes, its exit status."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest

from peers.program import OBFSTATS
from tests.publish.programs import run

if TYPE_CHECKING:
    from pathlib import Path

LOG = b"""\
2012-02-09 09:22:04 [notice] Starting.
2012-02-09 10:22:04 [info] 192.0.2.7:57437 (obfs2): trying to connect to 127.0.0.1:15901
2012-02-09 11:22:04 [info] 198.51.100.9:57438 (obfs2): trying to connect to 127.0.0.1:15901
2012-02-11 10:22:04 [info] 192.0.2.7:57439 (obfs2): trying to connect to 127.0.0.1:15901
2012-02-12 10:22:04 [info] 192.0.2.7:57440 (obfs2): trying to connect to 127.0.0.1:15901
"""
GEOIP = "3221225984,3221226239,DE\n3325256704,3325256959,TR\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a log and GeoIP files that know its addresses."""
    (tmp_path / "obfsproxy.log").write_bytes(LOG)
    (tmp_path / "geoip").write_text(GEOIP)
    (tmp_path / "geoip6").write_text("2001:db8::,2001:db8::ffff,JP\n")
    return tmp_path


def log2stats(folder: Path, *arguments: str) -> tuple[int, list[str], str]:
    """Run it in that folder; give the status, the output and the notes."""
    result = run(
        [OBFSTATS, "log2stats", "--geoip", "geoip", "--geoip6", "geoip6", *arguments, "obfsproxy.log"], folder=folder
    )
    warnings = result.stderr.decode("ascii")
    assert not re.search(r"192\.0\.2|198\.51", warnings + result.stdout.decode("ascii"))
    return result.returncode, result.stdout.decode("ascii").splitlines(), warnings


def test_each_complete_interval_is_a_document(folder: Path) -> None:
    """The day without a client is not; the last is not over when the log ends, and a note says so."""
    names = ("--fingerprint", "1234567890123456789012345678901234567890", "--instance", "old")
    status, lines, warnings = log2stats(folder, *names)
    assert status == 0
    assert lines == [
        "@type obfsproxy-stats 1.2",
        "hashed-fingerprint 8990eeda329b57fbd72ef8f74a50c1929b9b9a31",
        "obfsproxy-stats-end (86400 s) 2012-02-10 09:22:04",
        "instance old",
        "obfsproxy-ips DE=8,TR=8",
        "obfsproxy-reqs DE=8,TR=8",
        "@type obfsproxy-stats 1.2",
        "hashed-fingerprint 8990eeda329b57fbd72ef8f74a50c1929b9b9a31",
        "obfsproxy-stats-end (86400 s) 2012-02-12 09:22:04",
        "instance old",
        "obfsproxy-ips DE=8",
        "obfsproxy-reqs DE=8",
    ]
    assert warnings == (
        "obfstats log2stats: the interval from 2012-02-12 09:22:04 is not over at the end of the logs and is left out\n"
    )


def test_without_a_source_of_countries_documents_name_none(folder: Path) -> None:
    """Neither tor's files nor iptocc is installed: each client is of `??`, and one line says what to install."""
    program = (
        "import pathlib, sys; sys.modules['iptocc'] = None; import obfstats.record.countries as countries; "
        "countries.TOR_GEOIP = countries.TOR_GEOIP6 = pathlib.Path('none'); "
        "from obfstats.cli import main; sys.exit(main(['log2stats', '--extended', *sys.argv[1:]]))"
    )
    result = run([sys.executable, "-c", program, "obfsproxy.log"], folder=folder)
    lines, warnings = result.stdout.decode().splitlines(), result.stderr.decode().splitlines()
    assert result.returncode == 0
    assert warnings[0] == (
        "countries of IPv4 and IPv6 addresses are not known (??): install tor-geoipdb, or obfstats[geoip]"
    )
    assert len(warnings) == 2
    assert lines[:3] == [
        "@type obfsproxy-stats 1.0",
        "obfsproxy-stats-end (86400 s) 2012-02-10 09:22:04",
        "obfsproxy-ips ??=8",
    ]
    assert not any(line.startswith("obfsproxy-geoip") for line in lines)


def test_empty_days_are_printed_on_request(folder: Path) -> None:
    """With nothing after the keyword, as tor writes it."""
    _, lines, _ = log2stats(folder, "--empty")
    assert lines[3:6] == ["obfsproxy-stats-end (86400 s) 2012-02-11 09:22:04", "obfsproxy-ips ", "obfsproxy-reqs "]


@pytest.mark.parametrize(("offset", "end"), [("+02:00", "07:22:04"), ("-05:30", "14:52:04"), ("+00:00", "09:22:04")])
def test_local_time_becomes_utc(offset: str, end: str, folder: Path) -> None:
    """The offset of the machine's clock is subtracted."""
    _, lines, _ = log2stats(folder, "--utc-offset", offset)
    assert lines[0] == f"obfsproxy-stats-end (86400 s) 2012-02-10 {end}"


def test_other_formats(folder: Path) -> None:
    """Tor's lines, and the extended document with the source of the countries."""
    assert log2stats(folder, "--format", "tor")[1][:4] == [
        "bridge-stats-end 2012-02-10 09:22:04 (86400 s)",
        "bridge-ips de=8,tr=8",
        "bridge-ip-versions v4=8,v6=0",
        "bridge-ip-transports obfs2=8",
    ]
    extended = log2stats(folder, "--extended")[1]
    assert extended[0] == "@type obfsproxy-stats 1.0"
    assert re.fullmatch("obfsproxy-geoip file [0-9A-F]{40}", extended[7])
    assert ",ips,DE,,,8," in log2stats(folder, "--format", "csv")[1][1]


def test_a_log_without_times_is_bad_data(folder: Path) -> None:
    """Status 1 and a reason: obfsproxy wrote none before 2012-02-10."""
    (folder / "obfsproxy.log").write_bytes(re.sub(rb"(?m)^[0-9-]+ [0-9:]+ ", b"", LOG))
    status, lines, warnings = log2stats(folder)
    assert (status, lines) == (1, [])
    assert warnings.count("\n") == 1
    assert "no times" in warnings


@pytest.mark.parametrize(
    "arguments",
    [["--utc-offset", "2"], ["--utc-offset", "+25:00"], ["--format", "tables"], ["--geoip", "missing"]],
)
def test_a_usage_error_is_one_line(arguments: list[str], folder: Path) -> None:
    """Status 2, what is wrong, and where the help is."""
    status, lines, warnings = log2stats(folder, *arguments)
    assert (status, lines) == (2, [])
    assert re.fullmatch(r"obfstats log2stats: [^\n]*; see obfstats log2stats --help\n", warnings)


def test_a_missing_log_is_an_error(folder: Path) -> None:
    """As with convert."""
    (folder / "obfsproxy.log").unlink()
    status, lines, warnings = log2stats(folder)
    assert (status, lines) == (2, [])
    assert "No such file" in warnings
