"""Programs of other authors: those on the path, and those that script/fetch-peers has unpacked into a cache.

find_program("lyrebird")            its path, or None
version("lyrebird")                 that of the unpacked Debian package
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "obfstats" / "peers"
_PACKAGES = ("lyrebird", "webtunnel", "nginx", "prometheus", "prometheus-node-exporter")


def find_program(name: str) -> str | None:
    """Find a program on the path, where Debian keeps those for root, or in the cache."""
    unpacked = [str(_FOLDER / package / "usr" / folder) for package in _PACKAGES for folder in ("bin", "sbin")]
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", *unpacked]))


def version(package: str) -> str:
    """Give an unpacked package's name and version; only the name where the program is on the path."""
    path = _FOLDER / package / "version"
    return f"{package} {path.read_text().strip()}" if path.exists() else package
