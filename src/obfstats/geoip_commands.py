"""The commands of publish that also need record, for GeoIP files and a secret: the two do not import each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from obfstats.commandline import UsageError, load

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from obfstats.formats.document import GeoIpSource
    from obfstats.record import Countries
    from obfstats.record.secret import Secret


def run_convert(options: argparse.Namespace) -> int:
    """Run `obfstats convert`; give its exit status."""
    status: int = load("obfstats.publish.convert:run_convert")(options, _open_geoip)
    return status


def run_log2stats(options: argparse.Namespace) -> int:
    """Run `obfstats log2stats`; give its exit status."""
    countries, secret = _open_countries(options.geoip, options.geoip6), _open_secret()
    context = load("obfstats.publish.log2stats:CountingContext")(
        countries.v4, countries.v6, secret.renew, secret.hash_address
    )
    try:
        status: int = load("obfstats.publish.log2stats:run_log2stats")(options, context, countries.geoip_sources)
    finally:
        secret.wipe()
    return status


def _open_geoip(geoip: Path | None, geoip6: Path | None) -> tuple[Sequence[GeoIpSource], Sequence[str] | None]:
    countries = _open_countries(geoip, geoip6)
    return countries.geoip_sources, countries.codes


def _open_countries(geoip: Path | None, geoip6: Path | None) -> Countries:
    from obfstats.record import Countries, RecordError  # noqa: PLC0415 - takes longer than most of what convert does

    try:
        return Countries.open(geoip, geoip6)
    except RecordError as error:
        raise UsageError(str(error)) from None


def _open_secret() -> Secret:
    from obfstats.record import RecordError  # noqa: PLC0415 - as above
    from obfstats.record.secret import Secret  # noqa: PLC0415

    try:
        return Secret()
    except RecordError as error:
        raise UsageError(str(error)) from None
