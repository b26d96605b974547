"""The database: SQLite in one file, or PostgreSQL for several collectors. One SQL text for both.

    database = open_database("ledger.sqlite")          or "sqlite:PATH", "postgresql://USER@HOST/NAME"
    database.read("SELECT key FROM keys WHERE claim = :bridge", bridge="...")
    database.run(lambda: database.execute("DELETE FROM keys WHERE key = :key", key="..."))

Rules:

- Parameters are `:name`. A list of rows is one parameter as well: `:sent(bridge text, interval_end bigint)` is a table
  of the tuples in `sent`. So a statement has one text whatever the number of rows, and needs one round trip.
- What changes something runs in a transaction, by `run`. What that has returned is on the disk.
- Work may run several times: it is repeated when another collector was in the way (deadlock, serialization failure).
- One `Database` belongs to one thread.
- The tables come from the numbered files in migrations/. They are applied when the database is opened, under a lock.
- An error is one sentence, without the password that a URL may have.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import tempfile
from abc import ABC, abstractmethod
from contextlib import closing, contextmanager, suppress
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import psycopg

LEDGER_NAME = "ledger.sqlite"
"""The database in a collector's folder, unless another one is named."""

Row = tuple[Any, ...]
_Result = TypeVar("_Result")

_ROWS = re.compile(r":(\w+)\(([^()]*)\)")
_NAME = re.compile(r"(?<![:\w]):(\w+)")
_MAX_ATTEMPTS = 100
_BUSY_SECONDS = 60
_WAL = "PRAGMA journal_mode = WAL"
# Whatever the server's own settings: what is answered is on its disk, and statements are planned with their parameters.
# A general plan reads the whole table for a few rows.
_POSTGRESQL_OPTIONS = "-c synchronous_commit=on -c plan_cache_mode=force_custom_plan"
_MIGRATION_LOCK = 0x0BF57A75
_MIGRATIONS = files("obfstats.collect.store") / "migrations"


class DatabaseError(Exception):
    """The database cannot be used, or refused a write. Its text is one sentence for the operator."""


class Conflict(Exception):  # noqa: N818 - it never leaves `run`
    """Another collector was faster: the transaction begins anew."""


def ledger_url(folder: Path, url: str | None) -> str:
    """Give the database of a collector: the one that --database names, or the file in its folder."""
    return str(folder / LEDGER_NAME) if url is None else url


def open_database(url: str) -> Database:
    """Open a database and bring its tables up to date.

    Args:
        url: a path, `sqlite:PATH`, or `postgresql://...`.

    Raises:
        DatabaseError: if it cannot be opened, or if a later version of this program has changed its tables.
    """
    path = find_file(url)
    database: Database = _PostgreSQL(url) if path is None else _SQLite(path)
    try:
        _migrate(database)
    except BaseException:
        database.close()
        raise
    return database


def find_file(url: str) -> str | None:
    """Give the path of a database that is a file; None for one of PostgreSQL's."""
    return None if re.match("postgres(ql)?://", url) else url.removeprefix("sqlite:")


class Database(ABC):
    """One connection."""

    @abstractmethod
    def execute(self, sql: str, **parameters: object) -> list[Row]:
        """Run one statement; return its rows. Only within `run`."""

    def execute_all(self, statements: Sequence[tuple[str, Mapping[str, object]]]) -> list[list[Row]]:
        """Run statements; return the rows of each. PostgreSQL gets them at once. Only within `run`."""
        return [self.execute(sql, **parameters) for sql, parameters in statements]

    @abstractmethod
    def lock_table(self, table: str, mode: str) -> None:
        """Lock a table until the transaction ends.

        Args:
            table: its name.
            mode: a lock mode of PostgreSQL. SQLite has one writer at a time.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""

    @abstractmethod
    @contextmanager
    def _connected(self) -> Iterator[None]:
        """Connect again if that is necessary; turn the library's errors into DatabaseError."""

    @abstractmethod
    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Begin a transaction; commit it at the end, or roll it back. Raises Conflict where a repetition may help."""

    @abstractmethod
    def _lock_schema(self) -> None:
        """Keep other processes from applying migrations at the same time."""

    @staticmethod
    def _translate_definition(sql: str) -> str:
        """Translate a statement of a migration."""
        return sql

    def read(self, sql: str, **parameters: object) -> list[Row]:
        """Run one statement that changes nothing; return its rows. It waits for no writer.

        Raises:
            DatabaseError: if the database fails.
        """
        with self._connected():
            return self.execute(sql, **parameters)

    def run(self, work: Callable[[], _Result]) -> _Result:
        """Run work in a transaction, again if another collector was in the way.

        Raises:
            DatabaseError: if the database fails; nothing of the work is done then.
        """
        for _ in range(_MAX_ATTEMPTS):
            with suppress(Conflict), self._transaction():
                return work()
        raise DatabaseError("the database is too busy: other collectors were in the way every time")


class _SQLite(Database):
    def __init__(self, path: str) -> None:
        self._path = path
        try:
            if not Path(path).exists():
                _create_file(Path(path))
            self._connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise DatabaseError(f"cannot open the ledger {path}: {reason}") from None
        try:
            self._connection.execute(_WAL)
            self._connection.execute("PRAGMA synchronous = FULL")
        except sqlite3.Error as error:
            self._connection.close()
            raise self._failure(error) from None

    def execute(self, sql: str, **parameters: object) -> list[Row]:
        values = {name: json.dumps(value) if isinstance(value, list) else value for name, value in parameters.items()}
        return self._connection.execute(_translate_to_sqlite(sql), values).fetchall()

    def lock_table(self, table: str, mode: str) -> None:
        pass

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _connected(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._failure(error) from None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._connected():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                # After a full disk SQLite has rolled back by itself.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _lock_schema(self) -> None:
        pass

    def _failure(self, error: sqlite3.Error) -> DatabaseError:
        return DatabaseError(f"the ledger {self._path} cannot be used: {error}")


def _create_file(path: Path) -> None:
    """Make an empty database that only its owner may read: it will have documents in quarantine.

    It gets its name when it is complete and closed. To close a file gives up this process's locks on it, those of other
    connections too (sqlite.org, "How To Corrupt An SQLite Database File", 2.2). And a database is switched to WAL only
    while no other connection has it open.
    """
    descriptor, unfinished = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    try:
        with closing(sqlite3.connect(unfinished)) as connection:
            connection.execute(_WAL)
        with suppress(FileExistsError):
            os.link(unfinished, path)
    finally:
        os.unlink(unfinished)  # noqa: PTH108 - mkstemp gives text


class _PostgreSQL(Database):
    def __init__(self, url: str) -> None:
        try:
            # A collector on SQLite does without the library.
            import psycopg  # noqa: PLC0415
        except ImportError:
            raise DatabaseError("the library psycopg cannot be loaded; install obfstats[collect] and libpq") from None

        self._psycopg = psycopg
        self._url = url
        self._connection = self._connect()

    def execute(self, sql: str, **parameters: object) -> list[Row]:
        return self._fetch(self._send(sql, parameters))

    def execute_all(self, statements: Sequence[tuple[str, Mapping[str, object]]]) -> list[list[Row]]:
        with self._connection.pipeline():
            cursors = [self._send(sql, parameters) for sql, parameters in statements]
        return [self._fetch(cursor) for cursor in cursors]

    def _send(self, sql: str, parameters: Mapping[str, object]) -> psycopg.Cursor[Row]:
        translated, tables = _translate_to_postgresql(sql)
        values = dict(parameters)
        for name, columns in tables:
            rows: Any = parameters[name]
            for number, column in enumerate(columns):
                values[f"{name}_{column}"] = [row[number] for row in rows]
        return self._connection.execute(translated.encode(), values)

    @staticmethod
    def _fetch(cursor: psycopg.Cursor[Row]) -> list[Row]:
        return cursor.fetchall() if cursor.description else []

    def lock_table(self, table: str, mode: str) -> None:
        self.execute(f"LOCK TABLE {table} IN {mode} MODE")

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _connected(self) -> Iterator[None]:
        if self._connection.closed:
            self._connection = self._connect()
        try:
            yield
        except self._psycopg.Error as error:
            raise self._failure(error) from None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        errors = self._psycopg.errors
        with self._connected():
            try:
                with self._connection.transaction():
                    yield
            except (errors.SerializationFailure, errors.DeadlockDetected, errors.UniqueViolation):
                raise Conflict from None

    def _connect(self) -> psycopg.Connection[Row]:
        try:
            return self._psycopg.connect(
                self._url, autocommit=True, application_name="obfstats collect", options=_POSTGRESQL_OPTIONS
            )
        except self._psycopg.ProgrammingError:
            # Its text may quote the URL.
            raise DatabaseError("the ledger's database is not named by a URL of PostgreSQL's form") from None
        except self._psycopg.Error as error:
            raise self._failure(error) from None

    def _lock_schema(self) -> None:
        self.execute("SELECT pg_advisory_xact_lock(:lock)", lock=_MIGRATION_LOCK)

    @staticmethod
    def _translate_definition(sql: str) -> str:
        return re.sub(r"\bTEXT\b", 'TEXT COLLATE "C"', re.sub(r"\bINTEGER\b", "BIGINT", sql))

    @staticmethod
    def _failure(error: psycopg.Error) -> DatabaseError:
        return DatabaseError(f"the ledger's database cannot be used: {str(error).strip().partition(chr(10))[0]}")


@cache
def _translate_to_sqlite(sql: str) -> str:
    def write_table(match: re.Match[str]) -> str:
        columns = [column.split()[0] for column in match[2].split(",")]
        values = ", ".join(f"json_extract(value, '$[{number}]') AS {name}" for number, name in enumerate(columns))
        return f"(SELECT {values} FROM json_each(:{match[1]}))"  # noqa: S608 - a constant of this package

    return _ROWS.sub(write_table, sql)


@cache
def _translate_to_postgresql(sql: str) -> tuple[str, tuple[tuple[str, Sequence[str]], ...]]:
    """Translate a statement; give its parameters that are tables as well, with their columns."""
    tables = []

    def write_table(match: re.Match[str]) -> str:
        columns = [column.split() for column in match[2].split(",")]
        names = [name for name, _ in columns]
        tables.append((match[1], names))
        arrays = ", ".join(f"%({match[1]}_{name})s::{kind}[]" for name, kind in columns)
        return f"(SELECT * FROM unnest({arrays}) AS given ({', '.join(names)}))"  # noqa: S608 - as above

    return _NAME.sub(r"%(\1)s", _ROWS.sub(write_table, sql)), tuple(tables)


def _migrate(database: Database) -> None:
    """Apply the migrations that the database has not had."""
    migrations = {
        int(file.name[:4]): file.read_text("ascii") for file in _MIGRATIONS.iterdir() if file.name.endswith(".sql")
    }

    def apply() -> None:
        database._lock_schema()
        database.execute("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)")
        ((version,),) = database.execute("SELECT coalesce(max(version), 0) FROM schema_version")
        if version > max(migrations):
            raise DatabaseError(
                f"the ledger's tables are of version {version}, this program's of {max(migrations)}; "
                "use the version of obfstats that the ledger was last opened with, or a later one"
            )
        for number in range(version + 1, max(migrations) + 1):
            without_comments = re.sub("--.*", "", migrations[number])
            for statement in without_comments.split(";"):
                database.execute(database._translate_definition(statement))
            database.execute("INSERT INTO schema_version VALUES (:number)", number=number)

    database.run(apply)
