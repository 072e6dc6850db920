"""Constant statements, made ready once for the database's driver and run there with nothing in between.

SQLAlchemy writes the SQL and knows how each value is stored and read; to have it find both out again at every run costs
ten times what SQLite takes for a small statement.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Column, ColumnElement, Connection, Uuid, exc
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.interfaces import DBAPIModule
from sqlalchemy.sql.schema import ScalarElementColumnDefault
from sqlalchemy.sql.selectable import ReturnsRows
from sqlalchemy.types import TypeEngine

Process = Callable[[Any], Any]
MOST_READY: Final = 1000
"""Several times as many as there are."""
KNOWN_IDS: Final = 4096


@lru_cache(MOST_READY)
def ready(statement: ReturnsRows, dialect: Dialect, names: tuple[str, ...]) -> Ready:
    """Give a statement ready to be run with values of these names; made at its first run."""
    return Ready(statement, dialect, names)


class Ready:
    """A statement as the driver takes it."""

    def __init__(self, statement: ReturnsRows, dialect: Dialect, names: Sequence[str]) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=names)
        if compiled.post_compile_params:
            raise ValueError(f"its SQL depends on values: {compiled.string}")
        self.sql = compiled.string
        self._dialect = dialect
        self._order = compiled.positiontup
        self._store = {name: _storing(one.type, dialect) for name, one in compiled.binds.items()}
        constants = {name: one.value for name, one in compiled.binds.items() if not one.required}
        constants |= {column.key: _default_of(column) for column in compiled.insert_prefetch}
        self._constants = {
            name: self._store[name](value) for name, value in constants.items() if name not in names
        }
        columns = list(statement.exported_columns)
        self._has_rows = bool(columns)
        self._read = _reader(columns, dialect)

    def run(self, connection: Connection, values: Mapping[str, Any]) -> tuple[list[Any], int]:
        """Run it in the connection's transaction; gives the rows that it answers, and how many it changed."""
        return self._run(connection, "execute", self._stored(values))

    def run_each(self, connection: Connection, each: Iterable[Mapping[str, Any]]) -> None:
        """Run it likewise once with each of these values; it answers no rows."""
        self._run(connection, "executemany", list(map(self._stored, each)))

    def _stored(self, values: Mapping[str, Any]) -> Sequence[Any] | Mapping[str, Any]:
        store = self._store
        named = self._constants | {name: store[name](value) for name, value in values.items()}
        return [named[name] for name in self._order] if self._order else named

    def _run(self, connection: Connection, how: str, stored: Any) -> tuple[list[Any], int]:  # noqa: ANN401 - as stored
        cursor = connection.connection.cursor()
        try:
            getattr(cursor, how)(self.sql, stored)
            return self._read(cursor.fetchall()) if self._has_rows else [], cursor.rowcount
        except self._dialect.loaded_dbapi.Error as problem:
            raise self._known(problem, connection) from problem
        finally:
            cursor.close()

    def _known(self, problem: DBAPIModule.Error, connection: Connection) -> Exception:
        """Give a driver's error as the one that all databases share, and never use its connection again if that is lost."""
        is_lost = self._dialect.is_disconnect(problem, connection.connection.driver_connection, None)
        if is_lost:
            connection.invalidate(problem)
        return exc.DBAPIError.instance(
            self.sql,
            None,
            problem,
            self._dialect.loaded_dbapi.Error,
            hide_parameters=True,
            connection_invalidated=is_lost,
            dialect=self._dialect,
        )


def _storing(type_: TypeEngine[Any], dialect: Dialect) -> Process:
    return type_.dialect_impl(dialect).bind_processor(dialect) or _as_it_is


def _as_it_is(value: Any) -> Any:  # noqa: ANN401 - whatever the driver takes
    return value


def _default_of(column: Column[Any]) -> Any:  # noqa: ANN401 - a column's value
    if not isinstance(column.default, ScalarElementColumnDefault):
        raise TypeError(f"{column} has no constant for its default")
    return column.default.arg


def _reader(columns: Sequence[ColumnElement[Any]], dialect: Dialect) -> Callable[[Iterable[Any]], list[Any]]:
    """Make rows that are read by name or by place of what the driver gives."""
    row = namedtuple("row", [str(column.key) for column in columns], rename=True)  # type: ignore[misc]  # noqa: PYI024
    made: Process = partial(tuple.__new__, row)
    understood = [
        (place, process)
        for place, column in enumerate(columns)
        if (process := _understanding(column.type.dialect_impl(dialect), dialect)) is not None
    ]

    def understand(found: Iterable[Any]) -> Any:  # noqa: ANN401 - a row
        values = list(found)
        for place, process in understood:
            values[place] = process(values[place])
        return made(values)

    return lambda found: list(map(understand if understood else made, found))


def _understanding(type_: TypeEngine[Any], dialect: Dialect) -> Process | None:
    if isinstance(type_, Uuid) and not dialect.supports_native_uuid:
        return _id_of
    return type_.result_processor(dialect, None)


@lru_cache(KNOWN_IDS)
def _id_of(text: str | None) -> UUID | None:
    """Read an id; to do so takes as long as all else about a row, and the same ones come again and again."""
    return None if text is None else UUID(text)
