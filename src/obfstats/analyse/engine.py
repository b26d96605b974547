"""SQL on DuckDB, or on a cluster through Spark Connect: the queries are the same text.

Queries are written for DuckDB; sqlglot translates them for Spark. Both engines must give the same rows, so a query
keeps to what they do alike:

- Times are integers: seconds since 1970-01-01 UTC, or numbers of days. `//` and `%` are applied to them, never to
  negative numbers.
- A division has an operand of the type DOUBLE. Spark takes `10.0` for a decimal, so constants in products are integers.
- Nothing is rounded by a cast (DuckDB rounds, Spark truncates); `floor(x + 0.5)` gives whole numbers.
- No percentiles, framed medians, as-of joins, recursive tables, GROUP BY ALL, and no work on text but comparison.
- A sum leaves the engine as it is and is rounded once, in Python.
- The key of a join or a group is an integer where there are many rows.

An engine is used by one thread.
"""

from __future__ import annotations

import socket
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_DEFAULT_PORT = 15_002
_CONNECT_SECONDS = 10
_RETRIES = 5
"""How often a call is tried again when the server is gone: for about 20 s. Spark's own default takes ten minutes."""

_SPARK_TYPES = {
    pa.bool_(): "BOOLEAN",
    pa.int32(): "INT",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.string(): "STRING",
}
"""What the tables of an analysis have as columns."""


class EngineError(Exception):
    """An engine cannot be used. Its text is one sentence for the user: what is wrong and what to do."""


class Engine(Protocol):
    """Runs SQL. Every method may raise EngineError.

    Attributes:
        days_at_once: how many days of an archive a query should join at most. DuckDB needs memory for every day, a
            cluster some time for every query.
    """

    days_at_once: int

    def open_table(self, name: str, files: Sequence[str], schema: pa.Schema) -> None:
        """Give Parquet files a name in queries.

        Args:
            name: of the table; one of the same name is forgotten.
            files: their paths. Spark's machines must find them under the same paths.
            schema: of these files; the table has no rows if there are no files.
        """

    def create_table(self, name: str, rows: str | pa.Table) -> None:
        """Compute or send the rows of a table, and keep them.

        Args:
            name: of the table; one of the same name is forgotten.
            rows: a query, or the rows.
        """

    def query(self, sql: str) -> pa.Table:
        """Run a query, and fetch its rows."""

    def close(self) -> None:
        """Forget all tables. The files stay."""


class DuckDbEngine:
    """DuckDB in this process."""

    days_at_once = 7

    def __init__(self, temporary_folder: Path, *, memory_limit: str = "300MB", threads: int = 2) -> None:
        """Start without a table.

        Args:
            temporary_folder: for what exceeds the limit.
            memory_limit: for DuckDB's tables and joins, like `300MB`. The process needs about 150 MB more.
            threads: how many cores to use.
        """
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": memory_limit,
                "threads": threads,
                "temp_directory": str(temporary_folder),
                "preserve_insertion_order": False,
            },
        )
        self._kinds: dict[str, str] = {}

    def open_table(self, name: str, files: Sequence[str], schema: pa.Schema) -> None:
        """See Engine."""
        if not files:
            self.create_table(name, schema.empty_table())
            return
        with _duckdb_errors():
            self._connection.read_parquet(list(files), hive_partitioning=False).create_view(self._name(name, "VIEW"))

    def create_table(self, name: str, rows: str | pa.Table) -> None:
        """See Engine."""
        with _duckdb_errors():
            self._name(name, "TABLE")
            if isinstance(rows, str):
                self._connection.execute(f"CREATE TABLE {name} AS {rows}")
            else:
                self._connection.from_arrow(rows).create(name)

    def query(self, sql: str) -> pa.Table:
        """See Engine."""
        with _duckdb_errors():
            return self._connection.sql(sql).to_arrow_table()

    def close(self) -> None:
        """See Engine."""
        self._connection.close()

    def _name(self, name: str, kind: str) -> str:
        """Take a name for a table or a view; drop what had it."""
        if (earlier := self._kinds.pop(name, None)) is not None:
            self._connection.execute(f"DROP {earlier} {name}")
        self._kinds[name] = kind
        return name


@contextmanager
def _duckdb_errors() -> Iterator[None]:
    """Turn errors of the machine and of files into EngineError. A wrong query is a bug, and raises as it is."""
    try:
        yield
    except duckdb.OutOfMemoryException:
        raise EngineError(
            "DuckDB needs more memory than its limit; give it more, or another folder for temporary files"
        ) from None
    except (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException):
        raise
    except duckdb.Error as error:
        raise EngineError(f"DuckDB cannot read or write: {_first_line(error)}; check the disk and its files") from None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")


class SparkEngine:
    """A cluster with Spark Connect, or pysail, which speaks the same protocol.

    Needs the extra `obfstats[spark]`.
    """

    days_at_once = 91

    def __init__(self, url: str) -> None:
        """Connect.

        Args:
            url: `sc://HOST:PORT`, with the options of Spark's connection strings.

        Raises:
            ModuleNotFoundError: if the extra is not installed.
            EngineError: if nothing answers at the address.
        """
        import sqlglot  # noqa: PLC0415 - analyses on DuckDB do not need it
        from pyspark.errors import PySparkException  # noqa: PLC0415
        from pyspark.sql.connect.client.retries import DefaultPolicy  # noqa: PLC0415
        from pyspark.sql.connect.session import SparkSession  # noqa: PLC0415

        self._transpile = sqlglot.transpile
        self._error = PySparkException
        self._url = url
        _check_server(url)
        self._tables: dict[str, Any] = {}
        with self._errors():
            self._session: Any = SparkSession.builder.remote(url).create()
            self._session.client.set_retry_policies([DefaultPolicy(max_retries=_RETRIES)])
            # A broadcast join holds one side in the memory of each machine; from some size on that fails.
            self._session.conf.set("spark.sql.autoBroadcastJoinThreshold", "-1")

    def open_table(self, name: str, files: Sequence[str], schema: pa.Schema) -> None:
        """See Engine."""
        with self._errors():
            rows = self._session.read.parquet(*files) if files else self._empty(schema)
            self._keep(name, rows.select(*schema.names))

    def create_table(self, name: str, rows: str | pa.Table) -> None:
        """See Engine."""
        with self._errors():
            if isinstance(rows, str):
                self._keep(name, self._compute(self._session.sql(self._translate(rows))))
            elif rows.num_rows:
                self._keep(name, self._session.createDataFrame(rows))
            else:
                self._keep(name, self._empty(rows.schema))

    def query(self, sql: str) -> pa.Table:
        """See Engine."""
        with self._errors():
            return self._session.sql(self._translate(sql)).toArrow()

    def close(self) -> None:
        """See Engine."""
        with self._errors():
            self._session.stop()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn errors of the cluster into EngineError."""
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", r"\[RETRIES_EXCEEDED\]")
                yield
        except self._error as error:
            # gRPC's error is the dump of an object.
            if str(error).startswith("<_"):
                raise EngineError(f"Spark at {self._url} no longer answers; run this again when it does") from error
            raise EngineError(
                f"Spark at {self._url} says: {_first_line(error)}; its machines must see the store under the same path"
            ) from error

    def _translate(self, sql: str) -> str:
        translated: str = self._transpile(sql, read="duckdb", write="spark")[0]
        return translated

    def _empty(self, schema: pa.Schema) -> Any:
        """Make a table without rows: createDataFrame cannot take an Arrow table without.

        It is computed at once: pysail fails to plan a union with a query that it knows to be empty.
        """
        columns = ", ".join(f"CAST(NULL AS {_SPARK_TYPES[field.type]}) AS {field.name}" for field in schema)
        return self._compute(self._session.sql(f"SELECT {columns} WHERE 1 = 0"))

    def _compute(self, rows: Any) -> Any:
        """Compute rows and forget how: with a cache instead, plans of plans grow until planning takes minutes."""
        try:
            return rows.localCheckpoint()
        except self._error:
            # pysail needs a folder for it (execution.checkpoint.path); without one it computes rows at each use.
            return rows

    def _keep(self, name: str, rows: Any) -> None:
        """Name these rows in queries. The server forgets what it meant when the last reference here is gone."""
        rows.createOrReplaceTempView(name)
        self._tables[name] = rows


def _check_server(url: str) -> None:
    """See whether something answers at an address: Spark's own client would try for ten minutes."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or _DEFAULT_PORT
    except ValueError:
        host = None
    if host is None or parts.scheme != "sc":
        raise EngineError(f"{url!r} is not the address of a Spark Connect server; give it as sc://HOST:PORT")
    try:
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise EngineError(
            f"cannot connect to {host} port {port}: {error.strerror or error}; start a Spark Connect server there"
        ) from None
