"""The database: one typed schema on SQLite (one process) and PostgreSQL (many), and the two ways to enter it.

`reading()` gives a consistent look, `writing()` one transaction that commits when its block ends. SQLite gets WAL
and `BEGIN IMMEDIATE`, so that two writers queue instead of failing half-way through; everything else is the same
code on both.
"""

from __future__ import annotations

import enum
import sqlite3
import threading
import typing
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from copy import copy
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar, TypeVarTuple
from uuid import UUID

import msgspec
from sqlalchemy import (
    Connection,
    DateTime,
    Engine,
    Enum,
    Insert,
    MetaData,
    Select,
    SQLColumnExpression,
    String,
    Table,
    Update,
    bindparam,
    create_engine,
    event,
    exc,
    inspect,
    select,
)
from sqlalchemy import Row as FoundRow
from sqlalchemy.dialects import postgresql, registry, sqlite
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import Dialect, make_url
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.sql.selectable import ReturnsRows, TypedReturnsRows
from sqlalchemy.types import TypeDecorator

from cumulet.statements import Ready, ready
from cumulet.versions import PostgresVersions, SqliteVersions

Columns = TypeVarTuple("Columns")
R = TypeVar("R", bound="Row")
SQLITE_BUSY_MS: Final = 10_000
SQLITE_SYNCHRONOUS: Final = "NORMAL"
"""What is committed outlives this process at once, and the machine from the next checkpoint on."""
SQLITE_CACHE_KIB: Final = 512
"""Of each connection: the pages are in the kernel's cache too, and there are as many connections as threads."""
SQLITE_CHECKPOINT_PAGES: Final = 8000
"""Of its log, 32 MiB, until one who commits has them written to their places and waits for the disk, and everybody for them."""
POOL_SIZE: Final = 40
"""As many connections as the REST edge has threads (anyio's default)."""
MOST_NAMES: Final = 500
"""How many names are looked through for one that is nearest."""
UNREACHABLE: Final = (exc.OperationalError, exc.InterfaceError, exc.TimeoutError)
"""The database is locked for too long or gone, or all connections are taken: it may be better in a moment."""


class Timestamp(TypeDecorator[datetime]):
    """An instant, always with its zone: UTC. SQLite forgets zones, so they are put back when read."""

    impl = DateTime(timezone=True)
    cache_ok = True
    python_type = datetime

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Store UTC; an instant without a zone is a mistake of ours."""
        if value is not None and value.tzinfo is None:
            raise ValueError("an instant needs a time zone")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """Give the instant back with its zone."""
        return (
            None
            if value is None
            else value.replace(tzinfo=UTC)
            if value.tzinfo is None
            else value.astimezone(UTC)
        )


class Money(TypeDecorator[Decimal]):
    """An exact amount; as text, because SQLite would make a float of it."""

    impl = String(40)
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Store the plain decimal text."""
        return None if value is None else format(value, "f")

    def process_result_value(self, value: str | None, dialect: Dialect) -> Decimal | None:  # noqa: ARG002
        """Give the exact amount back."""
        return None if value is None else Decimal(value)


class Row(DeclarativeBase):
    """The base of every table."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        datetime: Timestamp,
        Decimal: Money,
        enum.Enum: Enum(enum.Enum, native_enum=False, length=40),
    }


class Database:
    """The door to the database; one per process, shared by all threads."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        self.engine = _sqlite_engine(url) if self.is_sqlite else _postgres_engine(url)
        self._reading = self._writing = self.engine
        self._turn = _Turn() if self.is_sqlite else nullcontext()
        if self.is_sqlite:
            self._writing = _beginning(self.engine, "IMMEDIATE")
        else:
            self._reading = self.engine.execution_options(isolation_level="REPEATABLE READ")
        self._versions = SqliteVersions(self.engine) if self.is_sqlite else PostgresVersions(self.engine)
        self.hear_commits: set[Callable[[], object]] = set()
        """Called after each commit, in its thread; they return at once."""
        self.bell = threading.Event()
        """Rung after a commit whose session has `info["woken"]`: work became due (see reconcile)."""
        self.hear_events: set[Callable[[], object]] = set()
        """Called after a commit whose session has `info["told"]`: the journal has new events. They return at once."""

    @property
    def libpq_url(self) -> str:
        """The URL as psycopg itself reads it (PostgreSQL only)."""
        return self.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Give a session that sees one state of things and changes nothing."""
        with self._reading.connect() as connection, Session(connection, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Give one transaction: committed when the block ends well, forgotten when it raises."""
        with (
            self._turn,
            self._writing.begin() as connection,
            Session(connection, expire_on_commit=False) as session,
        ):
            yield session
            session.flush()
        for hear in tuple(self.hear_commits):
            hear()
        if session.info.get("woken"):
            self.bell.set()
        if session.info.get("told"):
            for hear in tuple(self.hear_events):
                hear()

    def version(self) -> Hashable:
        """Name the state that the newest commit left, whichever process made it; a name never comes again.

        Where two calls give the same, whatever was read between them was the same. SQLite tells within microseconds,
        PostgreSQL takes a round trip.
        """
        return self._versions.current()

    def close(self) -> None:
        """Let go of all connections; one that a thread still has is closed when it is given back."""
        self._versions.close()
        pool = self.engine.pool
        self.engine.dispose()
        event.listen(pool, "checkin", lambda connection, _record: connection.close())


class _Turn:
    """One writer at a time: SQLite lets no more in, and has those that wait sleep and ask again, however soon it is free."""

    def __init__(self) -> None:
        self._taken = threading.Lock()

    def __enter__(self) -> None:
        if not self._taken.acquire(timeout=SQLITE_BUSY_MS / 1000):
            raise exc.TimeoutError("others write for too long")

    def __exit__(self, *_: object) -> None:
        self._taken.release()


def fetch_columns(
    db: Session, statement: TypedReturnsRows[*Columns], **values: object
) -> Sequence[FoundRow[*Columns]]:
    """Run a constant statement, with a `bindparam` for each of `values`, and read plain columns: no objects.

    Objects at hand do not follow what it changes.
    """
    return typing.cast("Sequence[FoundRow[*Columns]]", _run(db, statement, values)[0])


def fetch_built(db: Session, statement: Select[*Columns], **values: object) -> Sequence[FoundRow[*Columns]]:
    """Read the same by a statement that was built for this one request."""
    return db.execute(statement, values).all()


def fetch_copies(db: Session, of: type[R], statement: Select[*tuple[Any, ...]], **values: object) -> list[R]:
    """Read whole rows (`select(rows_of(of))…`) as objects that belong to no session: nobody follows what is changed of them."""
    keys, copies = _keys_of(of), []
    for found in fetch_columns(db, statement, **values):
        copy = of()
        vars(copy).update(zip(keys, found, strict=True))
        copies.append(copy)
    return copies


def change_rows(db: Session, statement: UpdateBase, **values: object) -> int:
    """Run a constant statement likewise that answers no rows; gives how many it changed."""
    return _run(db, statement, values)[1]


def change_each(db: Session, statement: UpdateBase, each: Sequence[Mapping[str, object]]) -> None:
    """Run the same once with each of these values, which have the same names; not at all for none."""
    if each:
        made, connection = _made_ready(db, statement, each[0])
        made.run_each(connection, each)


def insert_row(db: Session, table: type[Row], **values: object) -> None:
    """Add a row that nobody wants as an object, at a fraction of what the ORM takes for one."""
    change_rows(db, _inserting(table), **values)


def insert_rows(db: Session, table: type[Row], rows: Sequence[Mapping[str, object]]) -> None:
    """Add rows likewise, which name the same columns."""
    change_each(db, _inserting(table), rows)


def add_row(db: Session, row: Row) -> None:
    """Add a row as it stands, likewise: what is changed of the object afterwards is not written."""
    values = vars(row)
    insert_row(db, type(row), **{name: values[key] for key, name in _columns_of(type(row)) if key in values})


def update_row(db: Session, table: type[Row], id: UUID, **values: object) -> None:
    """Write these columns of the row of that id, likewise; NoResultFound when it is gone.

    Objects at hand do not follow.
    """
    if not change_rows(db, _updating(table), row_id=id, **values):
        raise exc.NoResultFound(f"no {table.__tablename__} {id}")


def forget(db: Session) -> None:
    """Leave nothing of what was done in this transaction; nothing more may be done in it."""
    typing.cast("Connection", db.bind).rollback()


def was_forgotten(db: Session) -> bool:
    """Whether that was said."""
    return not typing.cast("Connection", db.bind).in_transaction()


def _run(db: Session, statement: ReturnsRows, values: Mapping[str, object]) -> tuple[list[Any], int]:
    made, connection = _made_ready(db, statement, values)
    return made.run(connection, values)


def _made_ready(db: Session, statement: ReturnsRows, names: Iterable[str]) -> tuple[Ready, Connection]:
    db.flush()
    connection = typing.cast("Connection", db.bind)
    if not connection.in_transaction():
        connection.begin()
    return ready(statement, connection.dialect, tuple(names)), connection


@cache
def _inserting(table: type[Row]) -> Insert:
    return rows_of(table).insert()


@cache
def _keys_of(table: type[Row]) -> Sequence[str]:
    """Name a table's columns, in their order, as its class does."""
    return [inspect(table).get_property_by_column(column).key for column in rows_of(table).columns]


@cache
def _columns_of(table: type[Row]) -> Sequence[tuple[str, str]]:
    """Name a table's columns: in its class, and in the database."""
    return [(one.key, one.columns[0].name) for one in inspect(table).column_attrs]


@cache
def _updating(table: type[Row]) -> Update:
    rows = rows_of(table)
    return rows.update().where(rows.c.id == bindparam("row_id"))


def rows_of(table: type[Row]) -> Table:
    """Give a table without its class."""
    return typing.cast("Table", table.__table__)


def names_there(
    db: Session, column: SQLColumnExpression[str], *which: SQLColumnExpression[bool]
) -> list[str]:
    """Read the names of those for which all this is true, for somebody who asked for one that is not there."""
    return list(db.scalars(select(column).where(*which).order_by(column).limit(MOST_NAMES)))


def dialect_of(db: Session) -> str:
    """Say which database it is: `sqlite` or `postgresql`."""
    return db.get_bind().dialect.name


def insert_into(dialect: str, table: type[Row]) -> postgresql.Insert | sqlite.Insert:
    """Begin an INSERT that can say what to do ON CONFLICT: both databases know it, each by a dialect of its own."""
    rows = rows_of(table)
    return postgresql.insert(rows) if dialect == "postgresql" else sqlite.insert(rows)


class SqliteDialect(SQLiteDialect_pysqlite):
    """Begins transactions itself, and says how: sqlite3's own BEGIN is deferred.

    A listener for that would have every statement look for listeners.
    """

    supports_statement_cache = True
    begins = "DEFERRED"

    def do_begin(self, dbapi_connection: Any) -> None:  # noqa: ANN401
        """Begin one."""
        dbapi_connection.execute(f"BEGIN {self.begins}")


registry.register("sqlite.cumulet", __name__, SqliteDialect.__name__)


def _beginning(engine: Engine, how: str) -> Engine:
    """Give an SQLite engine whose transactions begin so, on the same connections."""
    engine.connect().close()  # the first one completes the dialect
    other = engine.execution_options()
    other.dialect = _dialect_beginning(typing.cast("SqliteDialect", engine.dialect), how)
    return other


@cache
def _dialect_beginning(dialect: SqliteDialect, how: str) -> SqliteDialect:
    """Give one like it whose transactions begin so; always the same, for statements are made ready for a dialect."""
    other = copy(dialect)
    other.begins = how
    return other


def _to_json(value: object) -> str:
    return msgspec.json.encode(value).decode()


JSON_COLUMNS: Final[Mapping[str, Any]] = {
    "json_serializer": _to_json,
    "json_deserializer": msgspec.json.decode,
}
"""How what is kept as JSON is written and read: several times as fast as Python's own."""


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(
        make_url(url).set(drivername="sqlite+cumulet"),
        pool_size=POOL_SIZE,
        pool_use_lifo=True,  # the connection that wrote last has at hand what others must read anew
        hide_parameters=True,
        **JSON_COLUMNS,
        connect_args={"timeout": SQLITE_BUSY_MS / 1000},
    )
    if engine.url.database:
        _keep_from_others(Path(engine.url.database))

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: Any) -> None:  # noqa: ANN401
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={SQLITE_SYNCHRONOUS}",
            f"wal_autocheckpoint={SQLITE_CHECKPOINT_PAGES}",
            "foreign_keys=ON",
            f"busy_timeout={SQLITE_BUSY_MS}",
            f"cache_size=-{SQLITE_CACHE_KIB}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def _keep_from_others(path: Path) -> None:
    """Let only the server's user read the file: start scripts and password hashes are in it.

    The files that SQLite puts beside it get the same mode.
    """
    path.touch(mode=0o600)
    for file in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        with suppress(FileNotFoundError):
            file.chmod(0o600)  # one that another user's habit, or a restored backup, left open


def _postgres_engine(url: str) -> Engine:
    return create_engine(url, pool_size=POOL_SIZE, hide_parameters=True, pool_pre_ping=True, **JSON_COLUMNS)
