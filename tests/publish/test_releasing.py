"""Releasing with noise from the command line: each interval once, whatever its log is called by now."""

from __future__ import annotations

import gzip
import os
import subprocess
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from obfstats.formats.document import Document, read_documents
from obfstats.publish.intervals import Selection
from obfstats.publish.making_documents import DocumentOptions, write_within_limit
from obfstats.publish.render import NoiseOptions, Output
from peers.program import OBFSTATS
from tests.publish.converting import NOW, made
from tests.publish.logs import line
from tests.publish.programs import run

if TYPE_CHECKING:
    from collections.abc import Iterator

LOG = b"".join(line("2012-02-09 09:22:04", client=client) for client in range(20))
LEDGER = ".clients.log.ledger"
DAY = "2012-02-09 09:22:04"


@pytest.fixture
def countries(tmp_path: Path) -> list[str]:
    """The options that name the bridge's GeoIP files."""
    folder = tmp_path / "tor"
    folder.mkdir()
    (folder / "geoip").write_text("2130706432,2147483647,DE\n")
    (folder / "geoip6").write_text("2001:db8::,2001:db8::ffff,TR\n")
    return ["--geoip", str(folder / "geoip"), "--geoip6", str(folder / "geoip6")]


def release(countries: list[str], *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Release logs with noise."""
    words = ["--format", "ticket", "--epsilon", "0.5", *countries, *map(str, arguments)]
    return run([OBFSTATS, "convert", *words])


def intervals(result: subprocess.CompletedProcess[bytes]) -> int:
    """How many were released."""
    assert result.returncode == 0
    return len(read_documents(result.stdout))


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of one whole day."""
    path = tmp_path / "clients.log"
    path.write_bytes(LOG)
    (tmp_path / ".clients.log.whole").write_text(f"{DAY} whole 24\n")
    return path


def test_a_second_release_is_refused(countries: list[str], log: Path) -> None:
    """And reported, with the ledger's name."""
    assert intervals(release(countries, log)) == 1
    again = release(countries, log)
    assert intervals(again) == 0
    assert again.stderr.decode() == (
        "obfstats convert: the interval from 2012-02-09 09:22:04 is left out: "
        f"{log.parent / LEDGER} records that it was released before\n"
    )


TICKET, EXTENDED = Output(), Output(options=DocumentOptions(extended=True))
ROUNDED_FORMS = (None, TICKET, EXTENDED, Output("tor"), Output("json"), Output("csv"))
DOCUMENTS = (TICKET, Output("json"), Output("csv"))
TO_LOOK_AT = Selection(NOW, unfinished=True)


def convert(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """Convert logs, rounded."""
    return run([OBFSTATS, "convert", *map(str, arguments)])


@pytest.mark.parametrize("form", ROUNDED_FORMS)
def test_what_was_released_with_noise_is_never_printed_rounded(form: Output | None, log: Path) -> None:
    """In no form, and not to look at either: noise beside the rounded number is no noise."""
    assert "DE=" in made(log, output=Output(noise=NoiseOptions(Fraction(1, 2), ["??", "de"]))).text
    for selection in (None, TO_LOOK_AT):
        result = made(log, selection=selection, output=form)
        assert result.status == 0
        assert "8" not in result.text
        assert "24" not in result.text
        assert result.warnings == [
            f"the interval from {DAY} is left out: {log.parent / LEDGER} records that it was released before"
        ]


@pytest.mark.parametrize("form", ROUNDED_FORMS)
def test_what_was_printed_rounded_is_printed_again_in_the_same_form_only(form: Output | None, log: Path) -> None:
    """Ticket, json and csv have the same numbers; two other forms can be subtracted from each other."""
    first = made(log, output=form)
    assert "24" in first.text
    assert (log.parent / LEDGER).stat().st_mode & 0o777 == 0o600
    for other in ROUNDED_FORMS:
        again = made(log, output=other)
        is_same = other == form or (other in DOCUMENTS and form in DOCUMENTS)
        assert ("24" in again.text) == is_same
        assert any("in another form" in each for each in again.warnings) != is_same
    assert made(log, output=form) == first
    assert "DE=" not in made(log, output=Output(noise=NoiseOptions(Fraction(1, 2), ["??", "de"]))).text


def test_to_look_at_all_forms_writes_nothing_down(log: Path) -> None:
    """An operator may compare forms before one is published."""
    for form in ROUNDED_FORMS:
        assert "24" in made(log, selection=TO_LOOK_AT, output=form).text
    assert not (log.parent / LEDGER).exists()
    assert "24" in made(log, output=Output("tor")).text
    assert "24" in made(log, selection=TO_LOOK_AT).text


def test_two_logs_with_one_start_have_a_ledger_each(log: Path) -> None:
    """Two wraps that tor starts in the same second; either log can be converted in its own form, and both together."""
    other = log.with_name("clients-obfs4.log")
    other.write_bytes(LOG)
    assert "24" in made(log, output=Output("tor")).text
    assert "24" in made(other, output=TICKET).text
    both = made(other, log, output=TICKET)
    assert (both.text, len(both.warnings)) == ("", 1)
    assert f"the interval from {DAY} is left out: {log.parent / LEDGER} records" in both.warnings[0]


@pytest.fixture
def owned_by_another() -> Iterator[Path]:
    """A log in a folder of another user's, if this is root; else of this user's."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        folder = Path(name) / "pt_state"
        folder.mkdir()
        (folder / "clients.log").write_bytes(LOG)
        if os.geteuid() == 0:
            os.chown(folder, 65534, 65534)
        yield folder


def test_a_read_only_folder_is_reported_and_rounded_numbers_are_printed(
    countries: list[str], owned_by_another: Path
) -> None:
    """A backup, for example. With noise a ledger is needed. Root could write, and does as the folder's owner can."""
    folder = owned_by_another
    folder.chmod(0o555)
    result = convert(folder / "clients.log")
    assert (result.returncode, result.stdout.count(b"24")) == (0, 2)
    assert f"{folder} cannot be written, so what is printed is not recorded" in result.stderr.decode()
    noisy = release(countries, folder / "clients.log")
    assert (noisy.returncode, noisy.stdout) == (2, b"")
    assert b"give --ledger FILE" in noisy.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
def test_root_leaves_a_ledger_that_the_folders_owner_can_use(owned_by_another: Path) -> None:
    """As an operator converts a bridge's log: the bridge, which runs as another user, writes to the same ledger."""
    folder = owned_by_another
    assert convert(folder / "clients.log").returncode == 0
    status = (folder / LEDGER).stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (65534, 65534, 0o600)
    assert convert(folder / "clients.log").stderr == b""


def test_nothing_is_printed_where_the_ledger_is_damaged(log: Path) -> None:
    """It cannot be told then what was released."""
    (log.parent / LEDGER).write_text("damaged\n")
    (log.parent / LEDGER).chmod(0o600)
    result = convert(log)
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"line 1 of the ledger" in result.stderr


def test_a_thousand_days_are_written_down_at_once(log: Path) -> None:
    """By one write, in the order of time."""
    starts = [f"2012-02-{1 + number // 1440:02} {number // 60 % 24:02}:{number % 60:02}:00" for number in range(1000)]
    log.write_bytes(b"".join(line(start) for start in starts))
    assert made(log).status == 0
    assert [text.split(" (")[0] for text in (log.parent / LEDGER).read_text().splitlines()] == starts
    assert {text.split(") ")[1] for text in (log.parent / LEDGER).read_text().splitlines()} == {
        "converted rounded tables"
    }


@pytest.mark.parametrize("how", ["rotated", "packed", "copied", "pattern", "linked", "file linked"])
def test_another_name_is_no_other_log(how: str, countries: list[str], log: Path) -> None:
    """A log is rotated, packed, copied, or named by a pattern; its intervals are the same."""
    assert intervals(release(countries, log)) == 1
    other = log.with_name("clients.log.1")
    if how == "rotated":
        log.rename(other)
    elif how == "packed":
        other.write_bytes(gzip.compress(log.read_bytes()))
    elif how == "copied":
        other = log.with_name("clients.log.old")
        other.write_bytes(log.read_bytes())
    elif how == "pattern":
        other = log.with_name("clients.*")
    elif how == "file linked":
        other = log.parent / "elsewhere" / "clients.log"
        other.parent.mkdir()
        other.symlink_to(log)
    else:
        log.parent.with_name("link").symlink_to(log.parent)
        other = log.parent.with_name("link") / log.name
    again = release(countries, other)
    assert intervals(again) == 0
    assert b"released before" in again.stderr


def test_logs_of_several_folders_have_a_ledger_each_or_one_that_is_named(countries: list[str], log: Path) -> None:
    """Each log's is beside it."""
    other = log.parent / "other" / "clients.log"
    other.parent.mkdir()
    other.write_bytes(LOG.replace(b"02-09", b"02-10"))
    assert intervals(release(countries, "--ledger", log.parent / "all", log, other)) == 2
    assert intervals(release(countries, "--ledger", log.parent / "all", other)) == 0
    assert intervals(release(countries, log, other)) == 2
    assert intervals(release(countries, other)) == 0
    assert (other.parent / LEDGER).exists()


def test_noise_for_standard_input_needs_a_ledger_that_is_named(countries: list[str]) -> None:
    """It has no folder to keep one in."""
    command = [OBFSTATS, "convert", "--format", "ticket", "--epsilon", "0.5", *countries, "-"]
    result = subprocess.run(command, input=LOG, capture_output=True, check=False, timeout=60)
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"standard input has no folder, to keep a ledger in: give --ledger FILE\n" in result.stderr


def test_a_name_is_printed_so_that_it_can_be_read(countries: list[str], log: Path) -> None:
    """Colours and line ends in it are for no terminal."""
    ledger = log.with_name("\x1b[31mred\nledger")
    release(countries, "--ledger", ledger, log)
    for result in (
        release(countries, "--ledger", ledger, log),
        run([OBFSTATS, "convert", "--geoip", str(ledger) + "2", "--format", "ticket", "--extended", str(log)]),
        run([OBFSTATS, "convert", "--\x1b[31m\n", str(log)]),
    ):
        assert result.stderr.endswith(b"\n")
        assert result.stderr.decode()[:-1].isprintable()
        assert "\\x1b[31m" in result.stderr.decode()


@pytest.mark.parametrize(("named", "sources"), [((0, 1), ["geoip", "geoip6"]), ((2, 3), ["geoip6"]), ((), [])])
def test_only_files_that_were_named_are_said_to_be_the_countries_source(
    named: tuple[int, ...], sources: list[str], countries: list[str], log: Path
) -> None:
    """This machine's own need not be the bridge's."""
    options = countries if sources == ["geoip", "geoip6"] else [countries[place] for place in named]
    result = run([OBFSTATS, "convert", "--format", "ticket", "--extended", *options, str(log)])
    assert result.returncode == 0
    lines = [one.split()[0] for one in result.stdout.decode().splitlines() if "geoip" in one]
    assert lines == [f"obfsproxy-{name}" for name in sources]


def test_what_is_over_in_the_future_is_not_known_yet(log: Path) -> None:
    """A whole day that ends tomorrow would be made of the half that is there."""
    command = [OBFSTATS, "convert", "--format", "ticket", "--as-of", "2999-01-01 00:00:00", str(log)]
    result = run(command)
    assert (result.returncode, result.stdout) == (2, b"")
    assert b"--as-of is in the future" in result.stderr
    assert run([*command, "--all"]).returncode == 0


@pytest.mark.parametrize("moment", ["0001-01-01 00:00:00", "0500-01-01 00:00:00", "2012-02-10 09:52:03"])
def test_nothing_is_over_before_it_has_begun(moment: str, log: Path) -> None:
    """However early that is."""
    result = run([OBFSTATS, "convert", "--format", "ticket", "--as-of", moment, str(log)])
    assert (result.returncode, result.stdout) == (0, b"")
    assert b"not over yet" in result.stderr


# Documents that are too long


def document(countries: int, transports: int) -> Document:
    """One with a number for every country and transport."""
    names = [f"transport{number}" for number in range(transports)]
    codes = [f"{chr(65 + number // 26)}{chr(65 + number % 26)}" for number in range(countries)]
    return Document(
        end="2012-02-10 09:22:04",
        seconds=86400,
        ips=dict.fromkeys(codes, 8),
        requests=dict.fromkeys(codes, 8),
        ip_transports=dict.fromkeys(names, 8),
        ip_country_transports={(code, name): 8 for code in codes for name in names},
    )


@pytest.mark.parametrize(
    ("countries", "transports", "left_out"),
    [(250, 5, ""), (600, 10, "transports by country"), (2, 4000, "transports")],
)
def test_a_document_that_is_too_long_loses_its_longest_lines(countries: int, transports: int, left_out: str) -> None:
    """Whole lines and no others; what is left can be read, and what is missing is reported."""
    whole = document(countries, transports)
    warnings: list[str] = []
    (read,) = read_documents(write_within_limit(whole, warnings.append))
    assert (read.ips, read.requests) == (whole.ips, whole.requests)
    assert read.ip_country_transports == (None if left_out else whole.ip_country_transports)
    assert read.ip_transports == (None if left_out == "transports" else whole.ip_transports)
    assert warnings == (
        [f"the document that ends 2012-02-10 09:22:04 would be too long: its {left_out} are left out"]
        if left_out
        else []
    )


def test_one_long_document_does_not_take_others_with_it(tmp_path: Path) -> None:
    """From the command line, with a log that names two thousand transports."""
    log = tmp_path / "clients.log"
    many = (line("2012-02-10 09:22:04", client=number % 256, end=f" transport_{number:020}") for number in range(2000))
    log.write_bytes(LOG.replace(b"\n", b" obfs3\n") + b"".join(many))
    result = run([OBFSTATS, "convert", "--format", "ticket", "--extended", str(log)])
    assert result.returncode == 0
    assert [one.ip_transports is None for one in read_documents(result.stdout)] == [False, True]
