"""What a recorder is made of, opened in an order that leaves nothing behind where something cannot be used."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from obfstats.record.aggregate import Aggregate
from obfstats.record.countries import Countries
from obfstats.record.errors import RecordError
from obfstats.record.journal import Journal, make_folder_of
from obfstats.record.secret import Secret

if TYPE_CHECKING:
    from obfstats.record.store import Store

_log = logging.getLogger(__name__)


class Parts(NamedTuple):
    """What a recorder is made of.

    Attributes:
        store: where batches go.
        countries: who gives an address its country.
        secret: S.
        unsaid: takes what the store has to say, for the next tick.
    """

    store: Store
    countries: Countries
    secret: Secret
    unsaid: list[str]


def open_parts(
    path: str | Path | None, *, buffer: int, geoip: str | Path | None, geoip6: str | Path | None, make_folder: bool
) -> Parts:
    """Open the countries, draw S, open the log.

    Args:
        path: the statistics log; None to count in memory alone.
        buffer: how many lines are held, at least 1.
        geoip: a file in the form of tor's geoip; None for tor's own or the embedded data.
        geoip6: the same for IPv6.
        make_folder: make the log's folder, for its owner alone, if it is not there.

    Raises:
        RecordError: if the log or a named GeoIP file cannot be used; nothing on disk has changed then.
    """
    if buffer < 1:
        raise RecordError(f"a buffer of {buffer} lines holds none; give at least 1, better 100 or more")
    countries = Countries.open(Path(geoip) if geoip else None, Path(geoip6) if geoip6 else None)
    if path is not None and make_folder:
        make_folder_of(Path(path))
    secret = Secret()
    unsaid: list[str] = []
    try:
        store: Store = Aggregate(warn=unsaid.append) if path is None else Journal(Path(path), warn=unsaid.append)
    except RecordError:
        secret.wipe()
        raise
    if not secret.locked:
        _log.warning("the kernel does not lock memory (ulimit -l): the secret could reach a swap file")
    return Parts(store, countries, secret, unsaid)
