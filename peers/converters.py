"""What makes the ticket's tables of a log: our two programs, and the ticket's pipeline, which defines them."""

from __future__ import annotations

import sys
from pathlib import Path

from obfstats.publish import simple
from peers.program import OBFSTATS

SIMPLE = str(Path(simple.__file__).resolve())
PIPELINE = Path(__file__).with_name("ticket_pipeline.sh")
"""Reads the file `data` of the folder it runs in."""

CONVERTERS = {"simple.py": [sys.executable, "-I", "-S", SIMPLE], "obfstats convert": [OBFSTATS, "convert"]}
"""Command lines that take logs and `--all`. The first needs no package."""
