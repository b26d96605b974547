"""The claims about the way from a bridge's log to a public site, each checked against what a run saw."""

from __future__ import annotations

import csv
import re
import tarfile
from datetime import date, timedelta
from typing import TYPE_CHECKING

from demo.claims import FORMS, Claims, find_addresses, write_forms
from demo.journey import BLOCKED, BLOCKED_SHARE, BRIDGES, DAYS, parse, published
from obfstats.collect.signing import SIGNATURE_SUFFIX, SigningError, verify
from obfstats.country_names import country_name

if TYPE_CHECKING:
    from pathlib import Path

    from demo.journey import Journey
    from demo.observed import Observed

STEPS = {
    1: "Each bridge signs its document and submits it",
    2: "The collector keeps and publishes",
    3: "Someone mirrors the archive",
    4: "Analysis, and a site",
}
"""The steps from a log to a site."""

_HEADING = b"@type obfsproxy-stats 1.0\n"
_NOTICED_WITHIN = timedelta(days=3)


def check_journey(seen: Observed, journey: Journey) -> Claims:
    """Check every claim."""
    claims = Claims(STEPS)
    _check_documents(claims, seen, journey)
    _check_traces(claims, seen, journey)
    _check_archive(claims, journey)
    _check_mirror(claims, journey)
    _check_analysis(claims, journey)
    _check_site(claims, journey)
    return claims


def _check_documents(claims: Claims, seen: Observed, journey: Journey) -> None:
    """Step 1."""
    right = 0
    for transport, text in journey.documents.items():
        document, day = parse(text), seen.first[transport]
        published_and_true = (
            (document.ips, day.clients_by_country),
            (document.requests, day.connections_by_country),
        )
        right += all(
            numbers == {country.upper(): -(-number // 8) * 8 for country, number in true.items()}
            for numbers, true in published_and_true
        )
    claims.check(
        1,
        "kept",
        "clients and connections by country of the day that is over, rounded up to multiples of 8",
        f"{right} of {len(journey.documents)} documents have exactly what the true numbers give when rounded up",
        holds=right == len(journey.documents) > 0,
    )
    accepted = sum(": accepted; " in answer for answer in journey.answers.values())
    claims.check(
        1,
        "kept",
        "a signature by a key of the bridge's own, which the collector's operators have admitted",
        f"{accepted} of {len(journey.documents)} documents accepted; a key that is not admitted would be in quarantine",
        holds=accepted == len(journey.documents),
    )


def _check_traces(claims: Claims, seen: Observed, journey: Journey) -> None:
    """Step 2: what the collector must not keep."""
    texts = {str(path): path.read_bytes() for path in _files(journey.folder / "collector")}
    texts["its log"] = journey.collector_output.encode()
    senders = [form for text in texts.values() for form in find_addresses(text, {journey.sender})]
    # Signatures and compressed files have any four bytes by chance, so thousands of packed forms are not looked for.
    clients = [
        form for text in texts.values() for form in find_addresses(text, seen.addresses) if not form.endswith("packed")
    ]
    noticed = find_addresses(b"\n".join(write_forms(journey.sender)), {journey.sender})
    claims.check(
        2,
        "forgotten",
        "the address that a bridge submits from, and those of its clients",
        f"{journey.connections} connections came from {journey.sender}. In the collector's {len(texts)} files, its "
        f"database and its log among them, are {len(senders)} forms of it and {len(clients)} of "
        f"{len(seen.addresses)} clients' addresses. The same search finds {len(noticed)} of {len(FORMS)} forms that "
        "are put before it on purpose",
        holds=journey.connections > 0 and not senders and not clients and len(noticed) == len(FORMS),
    )


def _check_archive(claims: Claims, journey: Journey) -> None:
    """Step 2: what it publishes."""
    sent = sorted(_HEADING + text for text in journey.documents.values())
    claims.check(
        2,
        "kept",
        "each document once, byte for byte as it was signed",
        f"{len(published(journey.public))} documents in the recent files, {len(sent)} were submitted",
        holds=sorted(published(journey.public)) == sent,
    )


def _check_mirror(claims: Claims, journey: Journey) -> None:
    """Step 3."""
    paths = [path.relative_to(journey.public) for path in _files(journey.public / "recent")]
    same = sum(
        (journey.mirrored / path).is_file()
        and (journey.mirrored / path).read_bytes() == (journey.public / path).read_bytes()
        for path in paths
    )
    documents = published(journey.mirrored)
    claims.check(
        3,
        "kept",
        "the same files, and each document once",
        f"{same} of {len(paths)} recent files are the same, with {len(documents)} documents",
        holds=same == len(paths) and sorted(documents) == sorted(published(journey.public)),
    )
    # The mirror's own notes are no part of the archive.
    own = journey.mirrored / ".mirror"
    files = [path for path in _files(journey.mirrored) if path.suffix != SIGNATURE_SUFFIX and path.parent != own]
    genuine = sum(_is_signed(path, path.read_bytes(), journey.collector_key) for path in files)
    changed = sum(_is_signed(path, path.read_bytes() + b"\n", journey.collector_key) for path in files)
    claims.check(
        3,
        "kept",
        "a signature of every file, which minisign verifies, too",
        f"{genuine} of {len(files)} files have the collector's signature; with one more byte each, {changed} have",
        holds=genuine == len(files) > 0 and not changed,
    )


def _check_analysis(claims: Claims, journey: Journey) -> None:
    """Step 4: the tables."""
    simulated = 0
    for archive in journey.simulated.glob("obfsproxy-stats-*.tar.xz"):
        with tarfile.open(archive) as tar:
            simulated += sum(member.isfile() for member in tar)
    found = re.search(r"([0-9,]+) obfsproxy-stats", journey.read)
    read = int(found[1].replace(",", "")) if found else 0
    claims.check(
        4,
        "kept",
        "the bridges' documents beside simulated ones, each once",
        f"{read} documents were read; {simulated} of them are of {BRIDGES} simulated bridges and {DAYS} days",
        holds=simulated > 0 and read == simulated + len(journey.documents),
    )
    with (journey.results / "obfstats-events.csv").open(newline="") as file:
        drops = [
            date.fromisoformat(row["date"])
            for row in csv.DictReader(file)
            if (row["country"], row["transport"], row["detector"], row["direction"])
            == (BLOCKED, "", "obfstats", "drop")
        ]
    claims.check(
        4,
        "kept",
        f"that usage falls in {country_name(BLOCKED)}",
        f"it lost {BLOCKED_SHARE:.0%} on {journey.blocked_since}; the detector dates a drop "
        f"{', '.join(map(str, drops)) or 'never'}",
        holds=any(journey.blocked_since <= day <= journey.blocked_since + _NOTICED_WITHIN for day in drops),
    )


def _check_site(claims: Claims, journey: Journey) -> None:
    """Step 4: the pages."""
    pages = [path.read_text() for path in _files(journey.site) if path.suffix == ".html"]
    scripts = sum("<script" in page for page in pages)
    loading = sum(bool(re.search(r"""\ssrc=(?!"data:)|@import|url\(["']?https?:""", page)) for page in pages)
    restricted = sum("default-src &#39;none&#39;" in page for page in pages)
    claims.check(
        4,
        "left out",
        "scripts, and whatever a browser would have to load",
        f"{len(pages)} pages: {scripts} have a script, {loading} load a file, {restricted} tell the browser to load "
        "nothing",
        holds=restricted == len(pages) > 0 and scripts == loading == 0,
    )


def _is_signed(path: Path, text: bytes, key: str) -> bool:
    try:
        verify(text, path.with_name(path.name + SIGNATURE_SUFFIX).read_bytes(), key)
    except (FileNotFoundError, SigningError):
        return False
    return True


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
