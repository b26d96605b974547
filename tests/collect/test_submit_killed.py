"""kill -9 at random moments while documents are added to a spool and sent: none is lost, none is torn."""

from __future__ import annotations

import subprocess
import sys
import time
from random import Random
from typing import TYPE_CHECKING

from obfstats.collect.client.keys import KEY_NAME
from obfstats.collect.client.spool import Spool
from obfstats.collect.client.submitter import Submitter
from obfstats.collect.signing import SigningKey
from obfstats.formats.document import read_documents
from tests.collect import stand_in

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 8
DOCUMENTS = 8

# Prints the number of each document that the spool has, and sends them again and again.
PROGRAM = """
import sys
from pathlib import Path
from obfstats.collect.client.keys import read_key
from obfstats.collect.client.route import parse_collector_url
from obfstats.collect.client.spool import Spool
from obfstats.collect.client.submitter import Submitter
from tests.collect import stand_in

folder, url, first = Path(sys.argv[1]), parse_collector_url(sys.argv[2]), int(sys.argv[3])
spool = Spool(folder / "spool")
submitter = Submitter(url, None, read_key(folder), spool)
for number in range(first, first + 8):
    spool.add(stand_in.document(number=8 * number), "2026-11-01 00:00:00")
    print(number, flush=True)
    if number % 2:
        submitter.submit_all()
"""


def test_what_a_spool_has_taken_is_sent_whatever_happens(tmp_path: Path) -> None:
    """Each document that `add` returned for reaches the collector, whole; at most one request is repeated by a kill."""
    random = Random(20)
    SigningKey.create(tmp_path / KEY_NAME)
    added: set[int] = set()
    with stand_in.serve() as collector:
        for kill in range(KILLS):
            words = [sys.executable, "-c", PROGRAM, tmp_path, collector.url_text, kill * DOCUMENTS]
            with subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, text=True) as program:
                assert program.stdout is not None
                lines = [program.stdout.readline() for _ in range(random.randint(1, DOCUMENTS))]
                time.sleep(random.uniform(0, 0.005))
                program.kill()
                lines += program.stdout
                added.update(int(line) for line in lines if line.endswith("\n"))
        spool = Spool(tmp_path / "spool")
        report = Submitter(collector.url, None, SigningKey.read(tmp_path / KEY_NAME), spool).submit_all()
    assert report.problem is None
    assert (spool.names(), list(spool.refused.iterdir())) == ([], [])
    sent = {(document.ips or {})["DE"] // 8 for text in collector.documents for document in read_documents(text)}
    assert added
    assert added <= sent
    assert len(collector.requests) <= KILLS * DOCUMENTS // 2 + KILLS + 1
