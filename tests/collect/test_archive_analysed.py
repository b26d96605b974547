"""`obfstats analyse` reads a collector's public folder as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from obfstats.cli import main
from tests.collect.collectors import DAY, NOW, document, open_collector

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

BRIDGES = 12


def analyse(inputs: Path, results: Path) -> dict[str, bytes]:
    """Analyse a folder; give the tables."""
    assert main(["analyse", str(inputs), "--to", str(results), "--as-of", "2026-12-10", "--workers", "1"]) == 0
    return {path.name: path.read_bytes() for path in results.glob("*.csv")}


def test_analyse_counts_each_document_of_an_archive_once_and_warns_of_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Documents in recent files and in months, with signatures, index and withdrawn ones beside them."""
    with open_collector(tmp_path / "collector", str(tmp_path / "ledger.sqlite")) as collector:
        for day in range(3):
            now = NOW + day * DAY
            accepted = collector.accept(*(document(number, now - DAY, clients=80) for number in range(BRIDGES)))
            collector.publisher.publish(now)
        collector.ledger.withdraw(accepted[0].digest)
        collector.publisher.publish(NOW + 2 * DAY + 3600)
        (tmp_path / "plain").mkdir()
        (tmp_path / "plain" / "documents").write_bytes(b"".join(collector.documents()))
    expected = analyse(tmp_path / "plain", tmp_path / "expected")
    capsys.readouterr()
    assert analyse(collector.public, tmp_path / "results") == expected
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1, said
    assert said[0].startswith("obfstats analyse: read ")
    assert b"2026-11-30" in expected["obfstats-clients.csv"]
