"""Debian's PostgreSQL: a server of its own in a temporary folder, on a UNIX socket alone.

    with postgresql.server() as server:
        url = server.create_database()          postgresql:///obfstats_1?host=/tmp/...

It refuses to run as root, so there it runs as nobody, in a folder that nobody can reach.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from peers.child import Child

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "postgresql"
"""Debian's name for it."""

FOLDER = Path("/usr/lib/postgresql")
"""Where Debian installs each version; none of the programs is on the PATH."""

_USER = "obfstats"
_NOBODY = "nobody"
_AS_NOBODY = ("setpriv", "--reuid", _NOBODY, "--regid", "nogroup", "--clear-groups")


class Server:
    """A running server.

    Attributes:
        folder: its files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._databases = 0

    def create_database(self) -> str:
        """Make a new, empty database; give its URL."""
        self._databases += 1
        name = f"obfstats_{self._databases}"
        self._execute(f"CREATE DATABASE {name}")
        return self._url(name)

    def drop_database(self, url: str) -> None:
        """Delete a database, whoever is connected to it; before the kernel has written it to the disk, mostly."""
        name = url.partition("@/")[2].partition("?")[0]
        self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        # Where the server is missing, its library may be, too.
        import psycopg  # noqa: PLC0415

        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _url(self, database: str) -> str:
        return f"postgresql://{_USER}@/{database}?host={self.folder}"


@contextmanager
def server(*, sync: bool = False) -> Iterator[Server]:
    """Run a server as long as the block lasts.

    Args:
        sync: whether it waits for the disk, as it does in production. Killing a client needs no disk.
    """
    programs = max(FOLDER.glob("*/bin"), key=lambda path: float(path.parent.name))
    as_user = _AS_NOBODY if os.geteuid() == 0 else ()
    # Not below pytest's folders, which only their owner may enter; a socket's path is short, too.
    folder = Path(tempfile.mkdtemp(prefix="obfstats-postgresql-"))
    try:
        if as_user:
            shutil.chown(folder, _NOBODY)
        data = str(folder / "data")
        initdb = [*as_user, str(programs / "initdb"), "-D", data, "-U", _USER, "-A", "trust", "-E", "UTF8", "--no-sync"]
        with Child([*initdb, "--locale=C.UTF-8"], folder=folder) as making:
            if making.wait(60.0):
                raise AssertionError(making.stderr)
        settings = {
            "unix_socket_directories": str(folder),
            "listen_addresses": "",
            "fsync": "on" if sync else "off",
            "deadlock_timeout": "100ms",
            "lc_messages": "C",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with Child([*as_user, str(programs / "postgres"), "-D", data, *options], folder=folder) as child:
            child.wait_for_line("stderr", "ready to accept connections")
            try:
                yield Server(folder)
            finally:
                # SIGTERM would wait for its clients, SIGINT for the disk; its files are deleted anyway.
                child.send_signal(signal.SIGQUIT)
                child.wait(30.0)
    finally:
        shutil.rmtree(folder)
