"""Names for the states of a database: another one as soon as something was committed, whichever process did it."""

from __future__ import annotations

import sqlite3
import threading
import typing
from collections.abc import Hashable

from sqlalchemy import Engine, PoolProxiedConnection, exc


class SqliteVersions:
    """A connection that never writes: SQLite counts for it the commits of all others."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._connection: PoolProxiedConnection | None = None

    def current(self) -> Hashable:
        """Name the state that the newest commit left."""
        with self._lock:
            try:
                (count,) = self._opened().execute("PRAGMA data_version").fetchone()
            except sqlite3.OperationalError as problem:
                raise exc.OperationalError("PRAGMA data_version", None, problem) from problem
            return int(count)

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._engine.raw_connection()
        return typing.cast("sqlite3.Connection", self._connection.driver_connection)


class PostgresVersions:
    """The transactions that a snapshot would see: another name as soon as one that writes has ended."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")

    def current(self) -> Hashable:
        """Name the state that the newest commit left."""
        with self._engine.connect() as connection:
            return connection.exec_driver_sql("SELECT pg_current_snapshot()::text").scalar()

    def close(self) -> None:
        """Nothing is held: the connections are the pool's."""
