"""What `obfstats audit` must blame, and what it must not: leaking files of every kind, and what our programs write."""

from __future__ import annotations

import gzip
import io
import random
from contextlib import closing
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from hashlib import sha256
from itertools import product
from typing import TYPE_CHECKING

import pytest

from obfstats.publish.audit.findings import Code, FileType
from peers.program import OBFSTATS
from tests.bridge.published import Bridge
from tests.publish.auditing import CODES, alarm_codes, audited, audited_bytes, noisy, printed
from tests.publish.programs import run
from tests.publish.test_audit import TABLES, TOR
from tests.record.surroundings import GEOIP, GEOIP6, Bench

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from obfstats.record.recorder import Column

START = datetime(2012, 2, 7, 14, 1, 4, tzinfo=UTC)
HOUR = 3600.0


def extended(*lines: str) -> bytes:
    """Make a document of 16 clients of one country, and further lines."""
    return "\n".join(["obfsproxy-stats-end (86400 s) 2012-02-10 09:22:04", "obfsproxy-ips DE=16", *lines, ""]).encode()


def compressed(text: bytes, *, name: str = "", mtime: int = 0) -> bytes:
    """Compress as gzip does, with these fields in the header."""
    out = io.BytesIO()
    with gzip.GzipFile(name, "wb", fileobj=out, mtime=mtime) as file:
        file.write(text)
    return out.getvalue()


def without(document: bytes, *, below: int) -> bytes:
    """Leave the numbers below a bound out of a document with noise."""
    head, ips = document.decode().rstrip("\n").rsplit(" ", 1)
    kept = [cell for cell in ips.split(",") if int(cell.partition("=")[2]) >= below]
    return f"{head} {','.join(kept)}\n".encode()


def clamped(document: bytes) -> bytes:
    """Clamp the negative numbers of a document with noise to 0, in the order that this gives."""
    head, ips = document.decode().rstrip("\n").rsplit(" ", 1)
    cells = sorted((-max(0, int(number)), code) for code, _, number in (cell.partition("=") for cell in ips.split(",")))
    return f"{head} {','.join(f'{code}={-number}' for number, code in cells)}\n".encode()


NUMBER = int.from_bytes(bytes([192, 0, 2, 8]), "big")
MANY = {code: 1 + number % 7 for number, code in enumerate(CODES[:60])}

LEAKING_DOCUMENTS = {
    "noise that is none": (noisy(clients=MANY, drawn=""), Code.TOO_LITTLE_NOISE),
    "noise of epsilon 5 called 0.5": (noisy(clients=MANY, drawn="5"), Code.TOO_LITTLE_NOISE),
    "noise of epsilon 1.5 called 0.5": (noisy(clients=MANY, drawn="1.5"), Code.TOO_LITTLE_NOISE),
    "noise without negative numbers": (clamped(noisy(clients=MANY)), Code.TOO_LITTLE_NOISE),
    "noise, small numbers left out": (without(noisy(clients=MANY), below=1), Code.FEW_COUNTRIES),
    "noise for countries with clients": (without(noisy(clients=MANY), below=3), Code.FEW_COUNTRIES),
    "noise without ??": (noisy(clients={}).replace(b"??=", b"KZ="), Code.FEW_COUNTRIES),
    "the same noise on two days": (noisy(11, seed=1) + noisy(12, MANY, seed=1), Code.SAME_NOISE),
    "an address for a number of clients": (extended().replace(b"16", str(NUMBER).encode()), Code.TOO_LARGE),
    "an address for a number of requests": (extended(f"obfsproxy-reqs DE={NUMBER}"), Code.TOO_LARGE),
    "an address for a transport": (extended("obfsproxy-ip-transports _192_0_2_77=16"), Code.SUSPICIOUS_NAMES),
    "an address in hex for a transport": (extended("obfsproxy-ip-transports c0000207=16"), Code.SUSPICIOUS_NAMES),
    "a hash for a transport": (
        extended(f"obfsproxy-ip-country-transports DE/a{sha256(b'1').hexdigest()[:31]}=16"),
        Code.SUSPICIOUS_NAMES,
    ),
    "a country with 0 clients": (extended().replace(b"DE=16", b"DE=16,TR=0"), Code.ZEROS),
    "a country with 0 requests": (extended("obfsproxy-reqs DE=16,TR=0"), Code.ZEROS),
    "a table's row with 0": (TABLES + b"2012-02-07 14:01:04 dk 0\n", Code.ZEROS),
    "tor's line with 0": (TOR.replace(b"us=8", b"us=0"), Code.ZEROS),
    "gzip with a name": (compressed(extended(), name="bridge-of-alice.txt"), Code.GZIP_HEADER),
    "gzip with a time": (compressed(extended(), mtime=1_328_865_724), Code.GZIP_HEADER),
    "as many transports as requests": (
        # Each of eight transports had a client, with a request: each number is 1.
        extended(
            "obfsproxy-reqs DE=8", f"obfsproxy-ip-country-transports {','.join(f'DE/t{n}=8' for n in range(8))}"
        ).replace(b"DE=16", b"DE=8"),
        Code.INFERRED_EXACTLY,
    ),
    "tables of moments": (
        b"".join(
            title + b"".join(f"{START + timedelta(minutes=7 * n):%Y-%m-%d %H:%M:%S} de 8\n".encode() for n in range(99))
            for title in (TABLES.splitlines(keepends=True)[0], TABLES.splitlines(keepends=True)[2])
        ),
        Code.MOMENTS,
    ),
}


@pytest.mark.parametrize("leak", LEAKING_DOCUMENTS)
def test_a_leaking_document_is_blamed_for_what_it_leaks(leak: str) -> None:
    """With its own sentence."""
    content, code = LEAKING_DOCUMENTS[leak]
    assert code in alarm_codes(content)


@pytest.mark.parametrize(
    "name", ["an address for a transport", "an address in hex for a transport", "a hash for a transport"]
)
def test_a_suspicious_name_is_never_printed(name: str) -> None:
    """Transports are named otherwise."""
    content, _ = LEAKING_DOCUMENTS[name]
    suspicious = content.decode().splitlines()[-1].rpartition(" ")[2].partition("=")[0].rpartition("/")[2]
    assert suspicious not in printed(content)


@pytest.mark.parametrize("minutes", [-5, 0, 5, 29])
@pytest.mark.parametrize("content", [extended(), TABLES, TOR], ids=["document", "tables", "tor"])
def test_an_interval_that_may_lack_lines_is_blamed(content: bytes, minutes: int) -> None:
    """Its last lines may be written half an hour after its end, so its numbers may grow."""
    end = START + timedelta(days=1) if content is TABLES else datetime(2012, 2, 10, 9, 22, 4, tzinfo=UTC)
    assert alarm_codes(content, end + timedelta(minutes=minutes)) == [Code.UNFINISHED]
    assert alarm_codes(content, end + timedelta(minutes=30)) == []


# Logs


def log(hashes: Sequence[str], *, start: datetime = START, step: float = 0.0, end: str = "") -> bytes:
    """Make a log; each line's label is later by a step."""
    times = [start + timedelta(seconds=step * number) for number in range(len(hashes))]
    lines = [f"{time:%Y-%m-%d %H:%M:%S} de {one}{end}\n" for time, one in zip(times, hashes, strict=True)]
    return "".join(sorted(lines)).encode()


RANDOM = [random.Random(seed).randbytes(20).hex() for seed in range(300)]
LEAKING_LOGS = {
    "labels that are moments": (log(RANDOM, step=97), Code.MOMENTS),
    "labels that are hours": (log(RANDOM, step=3600), Code.MOMENTS),
    "clients that are counted": (log([f"{number:040x}" for number in range(300)]), Code.REGULAR_HASHES),
    "clients that are counted, in front": (
        log([f"{number:04x}{'0' * 36}" for number in range(9)]),
        Code.REGULAR_HASHES,
    ),
    "hashes of 16 bytes": (log([f"{one[:32]}{'0' * 8}" for one in RANDOM]), Code.REGULAR_HASHES),
    "one secret for all days": (log(RANDOM) + log(RANDOM, start=START + timedelta(days=1)), Code.REUSED_HASHES),
    "an address for a transport": (log(RANDOM, end=" _192_0_2_77"), Code.SUSPICIOUS_NAMES),
    "a hash for a transport": (log(RANDOM, end=f" {RANDOM[0][:8]}f0"), Code.SUSPICIOUS_NAMES),
}


@pytest.mark.parametrize("leak", LEAKING_LOGS)
def test_a_leaking_log_is_blamed_for_what_it_leaks(leak: str) -> None:
    """Beside being a log."""
    content, code = LEAKING_LOGS[leak]
    assert alarm_codes(content) == [Code.HASHES, code]


# What the real programs write


def record(path: Path, buffer: int = 100, columns: Sequence[Column] = ()) -> Bench:
    """Let the recorder write three days, and a fourth that a restart cuts short after five hours."""
    bench = Bench(path, buffer=buffer, columns=columns)

    def visit() -> None:
        for transport, clients in (("obfs4", range(60)), ("obfs3", range(50, 75)), ("webtunnel", range(20, 40))):
            for number in clients:
                bench.recorder.record(f"192.0.2.{number}", transport)
                bench.recorder.record(f"198.51.100.{number // 3}", transport)
                bench.recorder.record(f"2001:db8::{number // 4}", transport)
            bench.clock.pass_time(2 * HOUR)
            bench.recorder.tick()

    with closing(bench.recorder):
        for _ in range(3):
            visit()
            bench.clock.pass_time(18 * HOUR)
            bench.recorder.tick()
        bench.clock.pass_time(HOUR)
        bench.recorder.tick()
        visit()
    bench.journal.close()
    return bench


@pytest.mark.parametrize(
    ("buffer", "columns"), [*product([1, 100, 10_000], [(), ("transport",), ("family",), ("transport", "family")])]
)
def test_a_log_of_the_recorder_is_blamed_for_being_one_alone(
    buffer: int, columns: Sequence[Column], tmp_path: Path
) -> None:
    """Whatever the buffer and the columns are, and although a restart cut a day short."""
    path = tmp_path / "clients.log"
    record(path, buffer, columns)
    result = audited(path)
    assert result.file_type is FileType.LOG
    assert [one.code for one in result.findings if one.is_alarm] == [Code.HASHES]


FORMS = [
    [],
    *(["--format", form] for form in ("tables", "ticket", "tor")),
    ["--format", "ticket", "--extended"],
    ["--format", "ticket", "--fingerprint", "1" * 40],
    ["--format", "ticket", "--ipv6-prefix", "64"],
    ["--format", "ticket", "--extended", "--geoip", "geoip", "--geoip6", "geoip6", "--fingerprint", "1" * 40],
    *(["--format", "ticket", "--epsilon", epsilon, "--geoip", "geoip"] for epsilon in ("0.1", "0.5", "1", "20")),
    ["--format", "ticket", "--epsilon", "0.5", "--geoip", "geoip", "--extended"],
]


@pytest.fixture(scope="module", params=[(), ("transport", "family")], ids=["bare", "all columns"])
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A log of the recorder."""
    path = tmp_path_factory.mktemp("recorded") / "clients.log"
    record(path, columns=request.param)
    return path.read_bytes()


@pytest.mark.parametrize("form", FORMS, ids=" ".join)
def test_what_convert_writes_is_never_blamed(form: list[str], recorded: bytes, tmp_path: Path) -> None:
    """Every form with every option, of logs with and without further columns, by the program itself."""
    path = tmp_path / "clients.log"
    path.write_bytes(recorded)
    path.chmod(0o600)
    networks = "".join(f"{n << 16},{(n << 16) + 65_535},{code.upper()}\n" for n, code in enumerate(CODES[:-1], 1))
    (tmp_path / "geoip").write_bytes(networks.encode() + GEOIP)
    (tmp_path / "geoip6").write_bytes(GEOIP6)
    result = run([OBFSTATS, "convert", *form, "clients.log"], folder=tmp_path)
    assert result.stdout
    assert alarm_codes(result.stdout) == []


@pytest.mark.parametrize("aggregate", [False, True])
@pytest.mark.parametrize("epsilon", [None, Fraction(1, 2)])
def test_what_a_bridge_publishes_is_never_blamed(epsilon: Fraction | None, aggregate: bool, tmp_path: Path) -> None:  # noqa: FBT001
    """`--publish`, from the log and from memory, a day without a client among them."""
    bridge = Bridge(tmp_path, epsilon=epsilon, aggregate=aggregate)
    bridge.recorder.countries.codes = CODES
    for clients in (40, 0, 9):
        bridge.visit(clients)
        bridge.end_day()
    documents = b"".join(path.read_bytes() for path in sorted(bridge.folder.glob("2*")))
    assert alarm_codes(documents) == []


def test_the_promise_of_noise_is_checked_at_every_epsilon() -> None:
    """Documents as they are drawn, of bridges of any size: none is blamed."""
    for seed, epsilon in product(range(12), ("0.01", "0.1", "0.5", "2", "20")):
        clients = {code: random.Random(f"{seed} {code}").randrange(1 + seed**2) for code in CODES}
        assert alarm_codes(noisy(clients=clients, epsilon=epsilon, seed=seed)) == []


def test_a_second_document_of_other_noise_is_not_blamed() -> None:
    """Two hundred days of a bridge that always has the same clients."""
    days = b"".join(
        noisy(1, MANY, seed=day).replace(b"2012-02-01", f"{START + timedelta(days=day):%Y-%m-%d}".encode())
        for day in range(200)
    )
    assert audited_bytes(days).has_alarm is False
