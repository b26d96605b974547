"""Access times: an attacker who takes the disk looks for files that were read when a client came."""

from __future__ import annotations

import contextlib
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.attacks import Row
from bench.report import MissingError
from obfstats.wire.transports import make_transport
from peers import extended, managed, wrapped
from peers.obfuscated import ObfuscatedClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ATTACK = "takes the disk, and looks at access times"
_TIMEOUT = 10.0


def measure(*, quick: bool) -> list[Row]:
    """Let a first client connect some time after the start; look for the file whose access time tells when."""
    rounds = 2 if quick else 5
    return [
        Row(_ATTACK, f"first client of {name}: dated to, ms", _describe([_error(serve) for _ in range(rounds)]))
        for name, serve in (("obfsproxy", _obfsproxy), ("obfstats wrap", _wrap))
    ]


def _describe(errors: list[float | None]) -> str:
    found = [error for error in errors if error is not None]
    return f"{1000 * max(found):.0f} ({len(found)} of {len(errors)})" if found else f"not at all (0 of {len(errors)})"


def _error(serve: Callable[[Path], contextlib.AbstractContextManager[Callable[[], None]]]) -> float | None:
    """Give by how many seconds the best access time misses the client's moment; None if none has changed."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        with serve(folder) as connect:
            control = folder / "control"
            control.write_bytes(b"read")
            before = _access_times(folder)
            time.sleep(1.0)
            moment = time.time()
            connect()
            after = _access_times(folder)
            control.read_bytes()
            if control.stat().st_atime == before[control]:
                raise MissingError("this file system does not keep access times")
    changed = [abs(after[path] - moment) for path in before if after[path] != before[path]]
    return min(changed, default=None)


def _access_times(folder: Path) -> dict[Path, float]:
    return {path: path.stat().st_atime for path in folder.rglob("*") if path.is_file()}


@contextlib.contextmanager
def _obfsproxy(folder: Path) -> Iterator[Callable[[], None]]:
    options = managed.ours(*managed.counting(folder / "log"))
    with (
        extended.orport(folder) as tor,
        managed.server(folder / "state", tor, argv=options, transports=["dummy"]) as bridge,
    ):

        def connect() -> None:
            with ObfuscatedClient(make_transport("dummy"), bridge.methods["dummy"], "127.0.0.1", _TIMEOUT) as client:
                client.sendall(b"hello")
                client.recv()

        yield connect


@contextlib.contextmanager
def _wrap(folder: Path) -> Iterator[Callable[[], None]]:
    with extended.orport(folder) as tor, wrapped.server(folder, tor, *managed.counting(folder / "log")) as bridge:
        yield lambda: bridge.entrance.enter("192.0.2.7:5678").close()
