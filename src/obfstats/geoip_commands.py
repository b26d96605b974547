"""The commands of publish that also need record, for GeoIP files and a secret: the two do not import each other."""

# ruff: noqa: PLC0415 - each command imports only what it needs: loading the rest takes longer than most of its work

from __future__ import annotations

from typing import TYPE_CHECKING

from obfstats.commandline import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from pathlib import Path

    from obfstats.formats.document import GeoIpSource
    from obfstats.record import Countries


def convert_with_geoip(options: argparse.Namespace) -> int:
    """Run `obfstats convert`; give its exit status."""
    from obfstats.publish.convert import run_convert

    return run_convert(options, _open_geoip)


def log2stats_with_geoip(options: argparse.Namespace) -> int:
    """Run `obfstats log2stats`; give its exit status."""
    from obfstats.publish.oldlogs.clients import CountingContext
    from obfstats.publish.oldlogs.log2stats import run_log2stats
    from obfstats.record import RecordError
    from obfstats.record.secret import Secret

    countries = _open_countries(options.geoip, options.geoip6)
    try:
        secret = Secret()
    except RecordError as error:
        raise UsageError(str(error)) from None
    try:
        context = CountingContext(countries.v4, countries.v6, secret.renew, secret.hash_address)
        return run_log2stats(options, context, countries.geoip_sources)
    finally:
        secret.wipe()


def _open_geoip(geoip: Path | None, geoip6: Path | None) -> tuple[Sequence[GeoIpSource | None], Sequence[str] | None]:
    countries = _open_countries(geoip, geoip6)
    return countries.geoip_sources, countries.codes


def _open_countries(geoip: Path | None, geoip6: Path | None) -> Countries:
    from obfstats.record import Countries, RecordError

    try:
        return Countries.open(geoip, geoip6)
    except RecordError as error:
        raise UsageError(str(error)) from None
