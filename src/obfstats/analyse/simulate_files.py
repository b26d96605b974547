"""`obfstats simulate`: writes a simulated world as CollecTor's archives and as our documents, with its truth.

    DIR/bridge-extra-infos-2026-03.tar.xz    statistics of bridges, a descriptor a member
    DIR/bridge-statuses-2026-03.tar.xz       which bridges ran, a status a member
    DIR/obfsproxy-stats-2026-03.tar.xz       documents of the bridges that write them (docs/document.md)
    DIR/truth.csv                            date,country,users: the true users; an empty country means all
    DIR/events.csv                           the blockings, with the columns of metrics-timeline

Rules:

- The same settings give the same bytes.
- A bridge's numbers are rounded as tor rounds them, and sorted after rounding.
- Descriptors have what dir-spec and the bridge descriptor sanitiser give them; lines that no estimate reads are there
  too, with made-up values.
- A descriptor belongs to the month in which its interval ended.
- Descriptors are drawn and written a few days at a time. What grows with the days is a few numbers a bridge and day.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import tarfile
from base64 import b64encode
from hashlib import sha1, sha256
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from obfstats.analyse.days import DAY
from obfstats.analyse.simulate import (
    PLAIN,
    REQUESTS_PER_USER,
    STATUS_MINUTE,
    Blocking,
    Forgery,
    Settings,
    World,
    discrete_laplace,
    round_up,
    simulate,
)
from obfstats.commandline import UsageError, fail, print_error
from obfstats.formats.document import Document, GeoIpSource, write_document
from obfstats.progress import show_progress

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    import numpy.typing as npt

    Numbers: TypeAlias = npt.NDArray[np.int64]

_AUTHORITY = "BA44A889E64B93FAA2B114E02C2A279A8555C533"
_SECOND_STATUS_MINUTE = 58
_GEOIP = "B08BFE286DC8F11F29AACEAFB6F7EF0F5C771042"
_GEOIP6 = "FEA33E6F398DF67252F41DDD3D010E69B33D544E"
_BYTES_PER_REQUEST = 41_000
_HISTORY_VALUES = 5
_USERS_PER_BRIDGE = 20
_V6_SHARE = 0.1
_MAX_DELAY = 3 * 3600
# bridge-stats-end comes a little after dirreq-stats-end.
_BRIDGE_STATS_DELAY = 55
_PADDING = (
    "bin-size=10000 write-drop=0 write-pad=10000 write-total=10000 read-drop=0 read-pad=10000 read-total=50000 "
    "enabled-read-pad=10000 enabled-read-total=10000 enabled-write-pad=10000 enabled-write-total=10000 "
    "max-chanpad-timers=1"
)
_RECENT_FOLDERS = {"bridge-extra-infos": "extra-infos", "bridge-statuses": "statuses", "obfsproxy-stats": "documents"}
# Seconds after the hour at which CollecTor names its hourly file.
_RECENT_DELAY = 540
# About the sizes of what is written, for the progress bar.
_DESCRIPTOR_SIZE, _STATUS_ENTRY_SIZE = 2_000, 185


class Report(NamedTuple):
    """What one instance counted in the 24 hours that end on a day: exact numbers.

    Attributes:
        instance: which one.
        end: end of the interval, seconds since 1970-01-01 UTC.
        requests: by country and (main transport, `<OR>`), [C, 2].
        addresses: likewise.
        connections: likewise.
    """

    instance: int
    end: int
    requests: Numbers
    addresses: Numbers
    connections: Numbers


def write_files(world: World, folder: Path, advance: Callable[[int], None], *, is_hourly: bool = False) -> None:
    """Write a world's archives, documents, truth and events.

    Args:
        world: what is written.
        folder: an empty folder.
        advance: is told how many bytes have been written, before compression.
        is_hourly: write descriptors as CollecTor's `recent` folder has them: those of an hour one after the other, and
            a file for each status.

    Raises:
        OSError: if a file cannot be written.
    """
    open_archive = _HourlyFiles if is_hourly else _Tarballs
    generator = np.random.default_rng([world.settings.seed, 18])
    histories = _Histories()
    with (
        open_archive(folder, "bridge-extra-infos", advance) as extra_infos,
        open_archive(folder, "bridge-statuses", advance) as statuses,
        open_archive(folder, "obfsproxy-stats", advance) as documents,
        (folder / "truth.csv").open("w", newline="") as truth_file,
    ):
        truth = csv.writer(truth_file, lineterminator="\n")
        truth.writerow(["date", "country", "users"])
        for day, users, reports in _days(world):
            date = world.settings.first_day + dt.timedelta(days=day)
            for report in reports:
                for published, text in _extra_infos(world, report, histories, generator):
                    digest = _digest(text)
                    extra_infos.write(date, published, f"{digest[0]}/{digest[1]}/{digest}", text)
                if world.documents[report.instance]:
                    text = write_document(_document(world, report, generator))
                    digest = sha1(text, usedforsecurity=False).hexdigest()
                    documents.write(date, report.end, f"{digest[0]}/{digest[1]}/{digest}", text)
            if day < world.settings.days:
                for published, text in _statuses(world, day, generator):
                    statuses.write(date, published, f"{date:%d}/{_time(published, '%Y%m%d-%H%M%S')}-{_AUTHORITY}", text)
                rows = zip(("", *world.countries), (users.sum(), *users), strict=True)
                truth.writerows([date, country, f"{number / REQUESTS_PER_USER:.1f}"] for country, number in rows)
    _write_events(world, folder / "events.csv")


def estimate_size(world: World) -> int:
    """Estimate how many bytes `write_files` writes before compression."""
    reports = int((world.report_end >= 0).sum() * (1 + world.settings.repeats))
    entries = int(world.running.sum() * 24 * (1 + world.settings.second_statuses))
    return reports * _DESCRIPTOR_SIZE + entries * _STATUS_ENTRY_SIZE


def _days(world: World) -> Iterator[tuple[int, Numbers, Iterator[Report]]]:
    """Give each day's number, true requests by country, and reports; the day after the last has its reports only."""
    draws = [world.draw_days(country) for country in world.countries]
    for batch in zip(*draws, strict=True):
        first = batch[0].first
        requests = np.stack([drawn.report_requests for drawn in batch])
        addresses = np.stack([drawn.report_addresses for drawn in batch])
        connections = np.stack([drawn.report_connections for drawn in batch])
        truth = np.stack([drawn.requests.sum(axis=(0, 1), dtype=np.int64) for drawn in batch])
        for number in range(truth.shape[1]):
            # The padding's first day has no whole reports.
            if first + number > 0:
                day = first + number - 1
                numbers = [array[:, :, :, number].transpose(2, 0, 1) for array in (requests, addresses, connections)]
                yield day, truth[:, number], _reports(world, day, numbers)


def _reports(world: World, day: int, numbers: Sequence[npt.NDArray[np.int32]]) -> Iterator[Report]:
    ends = world.padded_report_end[:, day + 1]
    for instance in np.flatnonzero(ends >= 0).tolist():
        counted = [array[instance].astype(np.int64) for array in numbers]
        yield Report(instance, (world.first_day + day) * DAY + int(ends[instance]), *counted)


class _Histories:
    """The last bytes that each instance has written for directory requests."""

    def __init__(self) -> None:
        self._of: dict[int, tuple[int, list[int]]] = {}

    def extend(self, report: Report) -> str:
        """Add a report's bytes; give the values of all intervals that follow each other, the newest last."""
        end, values = self._of.get(report.instance, (0, []))
        if end != report.end - DAY:
            values = []
        values = [*values, int(report.requests.sum()) * _BYTES_PER_REQUEST // 1024 * 1024][-_HISTORY_VALUES:]
        self._of[report.instance] = report.end, values
        return ",".join(map(str, values))


def _extra_infos(
    world: World, report: Report, histories: _Histories, generator: np.random.Generator
) -> Iterator[tuple[int, bytes]]:
    """Write a report's descriptor, and perhaps the one that repeats it half a day later."""
    settings = world.settings
    requests, addresses = report.requests.sum(axis=1), report.addresses.sum(axis=1)
    total = int(requests.sum())
    responses = f"ok={round_up(total)}"
    day = report.end // DAY - world.first_day
    if world.served[report.instance, min(day, settings.days - 1)]:
        complete = generator.binomial(total, 1 - settings.incomplete)
        responses = f"served={round_up(total)},ok={round_up(complete)}"
    v6 = int(generator.binomial(addresses.sum(), _V6_SHARE))
    families = {"v4": int(addresses.sum()) - v6, "v6": v6}
    main = world.transports[world.transport[report.instance]]
    by_transport = report.addresses.sum(axis=0)
    transports = {PLAIN: int(by_transport[1]), main: int(by_transport[0])}
    history = histories.extend(report)
    fingerprint = world.fingerprints[world.bridge[report.instance]]
    end, bridge_end = _time(report.end), _time(report.end + _BRIDGE_STATS_DELAY)
    key = _base64(sha256(f"{fingerprint} {report.instance}".encode()).digest())
    delays = [int(generator.integers(60, _MAX_DELAY))]
    if generator.random() < settings.repeats:
        delays.append(delays[0] + int(generator.integers(DAY // 4, DAY // 2)))
    for delay in delays:
        published = report.end + delay
        digests = sha256(f"{key} {published}".encode())
        lines = [
            "@type bridge-extra-info 1.3",
            f"extra-info {world.nicknames[report.instance]} {fingerprint}",
            f"master-key-ed25519 {key}",
            f"published {_time(published)}",
            f"write-history {end} (86400 s) {history}",
            f"read-history {end} (86400 s) {history}",
            f"dirreq-write-history {end} (86400 s) {history}",
            f"dirreq-read-history {end} (86400 s) {history}",
            f"geoip-db-digest {_GEOIP}",
            f"geoip6-db-digest {_GEOIP6}",
            f"dirreq-stats-end {end} (86400 s)",
            f"dirreq-v3-ips {_by_country(world, addresses)}",
            f"dirreq-v3-reqs {_by_country(world, requests)}",
            f"dirreq-v3-resp {responses},not-enough-sigs=0,unavailable=0,not-found=0,not-modified=0,busy=0",
            "dirreq-v3-direct-dl complete=0,timeout=0,running=0",
            f"dirreq-v3-tunneled-dl complete={total // 4 * 4},timeout=0,running=0",
            f"hidserv-stats-end {end} (86400 s)",
            "hidserv-rend-relayed-cells -1266 delta_f=2048 epsilon=0.30 bin_size=1024",
            "hidserv-dir-onions-seen 27 delta_f=8 epsilon=0.30 bin_size=8",
            f"padding-counts {end} (86400 s) {_PADDING}",
            *([] if main == PLAIN else [f"transport {main}"]),
            f"bridge-stats-end {bridge_end} (86400 s)",
            f"bridge-ips {_by_country(world, addresses)}",
            f"bridge-ip-versions {_join({family: int(round_up(number)) for family, number in families.items()})}",
            f"bridge-ip-transports {_join(_rounded(transports))}",
            f"router-digest-sha256 {_base64(digests.digest())}",
            f"router-digest {digests.hexdigest()[:40].upper()}",
        ]
        yield published, "".join(f"{line}\n" for line in lines).encode()


def _document(world: World, report: Report, generator: np.random.Generator) -> Document:
    """Make a report's document: the main transport alone."""
    epsilon = world.epsilon[report.instance]
    codes = [country.upper() for country in world.countries]
    addresses = report.addresses[:, 0]
    bridge = world.bridge[report.instance]
    end, fingerprint = _time(report.end), world.fingerprints[bridge].lower()
    is_one_of_several = np.count_nonzero(world.bridge == bridge) > 1
    instance, minor = (world.nicknames[report.instance], 2) if is_one_of_several else (None, 0)
    geoip, geoip6 = GeoIpSource("tor", _GEOIP), GeoIpSource("tor", _GEOIP6)
    if epsilon > 0:
        noisy = addresses + discrete_laplace(generator, epsilon, len(codes))
        ips = dict(zip(codes, noisy.tolist(), strict=True))
        return Document(
            end,
            DAY,
            fingerprint=fingerprint,
            instance=instance,
            epsilon=f"{epsilon:g}",
            ips=ips,
            geoip=geoip,
            geoip6=geoip6,
            minor=minor,
        )
    transport = world.transports[world.transport[report.instance]]
    ips = _rounded(dict(zip(codes, addresses.tolist(), strict=True)))
    v6 = int(generator.binomial(addresses.sum(), _V6_SHARE))
    return Document(
        end,
        DAY,
        fingerprint=fingerprint,
        instance=instance,
        ips=ips,
        requests=_rounded(dict(zip(codes, report.connections[:, 0].tolist(), strict=True))),
        ip_versions={"v4": int(round_up(addresses.sum() - v6)), "v6": int(round_up(v6))},
        ip_transports=_rounded({transport: int(addresses.sum())}),
        ip_country_transports={(code, transport): number for code, number in ips.items()},
        geoip=geoip,
        geoip6=geoip6,
        minor=minor,
    )


def _statuses(world: World, day: int, generator: np.random.Generator) -> Iterator[tuple[int, bytes]]:
    """Write the statuses of a day. One entry a bridge, which runs if one of its instances does."""
    date = _time((world.first_day + day) * DAY, "%Y-%m-%d")
    entries: list[tuple[bytes, bytes]] = []
    hours: list[int] = []
    bridges: dict[int, int] = {}
    for instance in np.flatnonzero(world.running[:, day]).tolist():
        bridge = int(world.bridge[instance])
        if bridge in bridges:
            hours[bridges[bridge]] |= int(world.hours[instance, day])
            continue
        bridges[bridge] = len(hours)
        hours.append(int(world.hours[instance, day]))
        identity = bytes.fromhex(world.fingerprints[bridge])
        router = (
            f"r {world.nicknames[instance]} {_base64(identity)} {_base64(identity[::-1])} {date} 00:00:00 "
            f"10.{identity[0]}.{identity[1]}.{identity[2]} {1024 + 256 * (identity[3] % 250) + identity[4]} 0\n"
        )
        rest = f"w Bandwidth={identity[5]}\np reject 1-65535\n"
        absent, running = (f"{router}s Fast {flag}V2Dir Valid\n{rest}".encode() for flag in ("", "Running "))
        entries.append((absent, running))
    for hour in range(24):
        flags = [of_bridge >> hour & 1 for of_bridge in hours]
        if not any(flags):
            continue
        minutes = [STATUS_MINUTE]
        if generator.random() < world.settings.second_statuses:
            minutes.append(_SECOND_STATUS_MINUTE)
        for minute in minutes:
            published = (world.first_day + day) * DAY + hour * 3600 + minute * 60 + 57
            head = (
                f"@type bridge-network-status 1.2\npublished {_time(published)}\n"
                "flag-thresholds stable-uptime=1494383 stable-mtbf=2228983 fast-speed=54000 guard-wfu=98.000% "
                "guard-tk=691200 guard-bw-inc-exits=909000 guard-bw-exc-exits=909000 enough-mtbf=1 "
                f"ignoring-advertised-bws=0\nfingerprint {_AUTHORITY}\n"
            )
            yield published, head.encode() + b"".join(entry[flag] for entry, flag in zip(entries, flags, strict=True))


def _write_events(world: World, path: Path) -> None:
    """Write the blockings as annotations."""
    first = world.settings.first_day
    with path.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["start", "end", "places", "protocols", "description", "links"])
        for event in world.settings.blockings:
            start, end = (first + dt.timedelta(days=day) for day in (event.start, event.start + event.days - 1))
            change = "loss" if event.strength > 0 else "rise"
            text = f"simulated {change} of {abs(event.strength):.0%} of the requests"
            rows.writerow([start, end, event.country, event.transport or "bridge", text, ""])


class _Tarballs:
    """A month's descriptors of one type in a .tar.xz."""

    def __init__(self, folder: Path, name: str, advance: Callable[[int], None]) -> None:
        self._folder, self._name, self._advance = folder, name, advance
        self._month = ""
        self._tar: tarfile.TarFile | None = None

    def __enter__(self) -> _Tarballs:
        return self

    def __exit__(self, *_: object) -> None:
        if self._tar is not None:
            self._tar.close()

    def write(self, date: dt.date, published: int, name: str, text: bytes) -> None:
        """Add a descriptor to its month's tarball; months come one after the other."""
        month = f"{self._name}-{date:%Y-%m}"
        if self._tar is None or month != self._month:
            self.__exit__()
            self._month = month
            self._tar = tarfile.open(self._folder / f"{month}.tar.xz", "w:xz", preset=1)  # noqa: SIM115 - closed in __exit__
        member = tarfile.TarInfo(f"{month}/{name}")
        member.size, member.mtime = len(text), published
        self._tar.addfile(member, io.BytesIO(text))
        self._advance(len(text))


class _HourlyFiles:
    """Descriptors as CollecTor's folder `recent` has them."""

    def __init__(self, folder: Path, name: str, advance: Callable[[int], None]) -> None:
        self._folder, self._name, self._advance = folder / _RECENT_FOLDERS[name], name, advance

    def __enter__(self) -> _HourlyFiles:
        self._folder.mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, date: dt.date, published: int, name: str, text: bytes) -> None:  # noqa: ARG002 - as _Tarballs
        """Append a descriptor to its hour's file; a status has its own."""
        if self._name == "bridge-statuses":
            path = self._folder / name.rpartition("/")[2]
        else:
            written = (published // 3600 + 1) * 3600 + _RECENT_DELAY
            path = self._folder / f"{_time(written, '%Y-%m-%d-%H-%M-%S')}-{self._folder.name}"
        with path.open("ab") as file:
            file.write(text)
        self._advance(len(text))


def _by_country(world: World, numbers: Numbers) -> str:
    """Write numbers by country as tor does: rounded up, the largest first, then by code."""
    present = np.flatnonzero(numbers)
    rounded = round_up(numbers[present]).tolist()
    cells = sorted((-number, world.countries[index]) for index, number in zip(present.tolist(), rounded, strict=True))
    return ",".join(f"{code}={-number}" for number, code in cells)


def _rounded(numbers: dict[str, int]) -> dict[str, int]:
    """Round up, without zeros."""
    return {name: int(round_up(number)) for name, number in numbers.items() if number}


def _join(numbers: dict[str, int]) -> str:
    return ",".join(f"{name}={number}" for name, number in sorted(numbers.items()))


def _digest(text: bytes) -> str:
    """Give the name of a descriptor's file: its router-digest in lower case, the last line."""
    return text.rsplit(b" ", 1)[1].strip().decode().lower()


def _base64(value: bytes) -> str:
    return b64encode(value).decode().rstrip("=")


def _time(seconds: int, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime(form)


def run_simulate(options: argparse.Namespace) -> int:
    """Run `obfstats simulate`.

    Args:
        options: those of commands.py.

    Returns:
        The exit status.

    Raises:
        UsageError: if options do not go together.
    """
    first_day: dt.date = options.first_day
    settings = Settings(
        bridges=options.bridges,
        days=options.days,
        first_day=first_day,
        seed=options.seed,
        users=options.users or _USERS_PER_BRIDGE * options.bridges,
        noise=options.noise,
        served_last=options.served,
        blockings=tuple(Blocking(cc, (start - first_day).days, *rest) for cc, start, *rest in options.block),
        forgeries=tuple(Forgery(n, cc, (start - first_day).days, *rest) for n, cc, start, *rest in options.forge),
    )
    try:
        world = simulate(settings)
    except ValueError as error:
        raise UsageError(str(error)) from None
    try:
        options.to.mkdir(parents=True, exist_ok=True)
        if any(options.to.iterdir()):
            return fail(options.parser.prog, f"{options.to} is not empty; give a new folder")
        with show_progress(estimate_size(world)) as advance:
            write_files(world, options.to, advance, is_hourly=options.hourly)
    except OSError as error:
        return fail(options.parser.prog, f"cannot write to {options.to}: {error.strerror}; the folder is not whole")
    sizes = f"{options.bridges:,} bridges in {options.days:,} days"
    print_error(options.parser.prog, f"wrote {sizes} to {options.to}; the true users are in truth.csv")
    return 0
