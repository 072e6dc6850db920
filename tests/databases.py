"""Databases for tests: SQLite files and a PostgreSQL of our own, each copied from one that is migrated once."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg

SYSTEM_USER = "nobody"
"""PostgreSQL refuses to run as root."""


ON_DISK, IN_MEMORY = Path("/tmp"), Path("/dev/shm")  # noqa: S108 - the folder there has a name of its own
ROOM = 4 * 2**30
"""Bytes that are free where databases are kept in memory: some hundred MiB are needed."""


def find_program(name: str) -> str:
    """A program of PostgreSQL: on the PATH, or where Debian's package has it."""
    beside = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    found = shutil.which(name) or (str(beside[-1]) if beside else None)
    assert found, (
        f"{name} is missing: the tests need PostgreSQL's programs (Debian: apt-get install postgresql)"
    )
    return found


def as_system_user(*command: str) -> list[str]:
    """Run as somebody who is not root, and end with us."""
    dies_with_us = ["setpriv", "--pdeathsig", "QUIT"]
    if os.geteuid() != 0:
        return [*dies_with_us, *command]
    group = "nogroup" if Path("/etc/debian_version").exists() else SYSTEM_USER
    return [*dies_with_us, "--reuid", SYSTEM_USER, "--regid", group, "--clear-groups", *command]


TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
SEQUENCES = "SELECT sequencename FROM pg_sequences WHERE schemaname = 'public'"
WRITTEN = f"{TABLES} AND pg_relation_size(oid) > 0"
SCHEMA = "SELECT count(*), 0 FROM pg_class" + "".join(
    f" UNION ALL SELECT count(*), max(xmin::text::bigint) FROM {catalogue}"
    for catalogue in ("pg_attribute", "pg_constraint", "pg_trigger", "pg_proc")
)
"""How much there is of each, and which transaction changed it last: those of before the copy are the same in each copy."""
SEND_AWAY = """SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"""


@dataclass(frozen=True)
class Template:
    """What databases are copied from, and what is in them at first."""

    name: str
    schema: Sequence[object]
    rows: Mapping[str, bytes]
    """By table, as COPY reads and writes them."""
    sequences: Mapping[str, tuple[int, bool]]

    @classmethod
    def of(cls, name: str, connection: psycopg.Connection) -> Template:
        """Read it all."""
        rows = {table: copied(connection, table) for (table,) in connection.execute(TABLES).fetchall()}
        sequences = {
            sequence: connection.execute(f"SELECT last_value, is_called FROM {quoted(sequence)}").fetchone()
            for (sequence,) in connection.execute(SEQUENCES).fetchall()
        }
        return cls(name, connection.execute(SCHEMA).fetchall(), rows, sequences)

    def renew(self, connection: psycopg.Connection) -> bool:
        """Send all others away, and put what is in a copy back as it was at first; not where its schema is another now."""
        connection.execute(SEND_AWAY)
        if connection.execute(SCHEMA).fetchall() != self.schema:
            return False
        with connection.transaction():
            connection.execute("SET LOCAL session_replication_role = replica")  # no foreign keys, no triggers
            written = [table for (table,) in connection.execute(WRITTEN).fetchall()]
            # Not DELETE: that leaves gaps, in which the next test's rows would lie in another order than they came in.
            connection.execute(f"TRUNCATE {', '.join(map(quoted, written))} CASCADE")
            for table in written:
                with connection.cursor().copy(f"COPY {quoted(table)} FROM STDIN") as into:
                    into.write(self.rows[table])
            for sequence, (value, is_called) in self.sequences.items():
                connection.execute(
                    "SELECT setval(%s::regclass, %s, %s)", (quoted(sequence), value, is_called)
                )
        return True


def copied(connection: psycopg.Connection, table: str) -> bytes:
    with connection.cursor().copy(f"COPY {quoted(table)} TO STDOUT") as out:
        return b"".join(map(bytes, out))


def quoted(name: str) -> str:
    return f'"{name}"'


class Postgres:
    """A running cluster that only we can reach, by a socket."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._renewed: list[str] = []

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://cumulet@/{name}?host={self._folder}"

    @contextmanager
    def connected(self, name: str = "postgres") -> Iterator[psycopg.Connection]:
        with psycopg.connect(
            f"host={self._folder} user=cumulet dbname={name}", autocommit=True
        ) as connection:
            yield connection

    def execute(self, statement: str) -> None:
        with self.connected() as connection:
            connection.execute(statement.encode())

    @contextmanager
    def database(self) -> Iterator[str]:
        """A new and empty database; gives its URL, and drops it whoever is still in it."""
        name = self._create("template1")
        yield self.url(name)
        self._drop(name)

    @contextmanager
    def copy(self, template: Template) -> Iterator[str]:
        """A database as the template is, likewise.

        What a test has left is made so again where its schema is the same still: that takes a fraction of what a new one does.
        """
        name = self._renewed.pop() if self._renewed else self._create(template.name)
        yield self.url(name)
        with self.connected(name) as connection:
            is_as_before = template.renew(connection)
        if is_as_before:
            self._renewed.append(name)
        else:
            self._drop(name)

    def make_template(self, name: str, prepare: Callable[[str], None]) -> Template:
        self.execute(f"CREATE DATABASE {name}")
        prepare(self.url(name))
        with self.connected(name) as connection:
            return Template.of(name, connection)

    def _create(self, template: str) -> str:
        name = f"test_{uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def _drop(self, name: str) -> None:
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")


def where_there_is_room() -> Path:
    """In memory, or on the disk: putting a database back makes some hundred files anew, which takes a third as long in memory."""
    has_room = IN_MEMORY.is_dir() and shutil.disk_usage(IN_MEMORY).free > ROOM
    return IN_MEMORY if has_room else ON_DISK


@contextmanager
def running_postgres(*, within: Path = ON_DISK) -> Iterator[Postgres]:
    """Make a cluster and run it; its folder has a short name, because a socket's path may not be long."""
    with tempfile.TemporaryDirectory(prefix="cumulet-pg-", dir=within) as name:
        folder = Path(name)
        if os.geteuid() == 0:
            shutil.chown(folder, SYSTEM_USER)
        data = str(folder / "data")
        initdb = [
            find_program("initdb"),
            "-D",
            data,
            "-U",
            "cumulet",
            "-A",
            "trust",
            "--no-sync",
            "-E",
            "UTF8",
        ]
        made = subprocess.run(
            as_system_user(*initdb, "--locale=C.UTF-8"), cwd="/", capture_output=True, text=True, check=False
        )
        assert made.returncode == 0, made.stderr
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": name,
            "shared_buffers": "32MB",
            "max_wal_size": "128MB",
            "autovacuum": "off",
        }
        options = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        with (folder / "log").open("w") as log:
            server = subprocess.Popen(
                as_system_user(find_program("postgres"), "-D", data, "-F", *options),
                cwd="/",
                stdout=log,
                stderr=log,
            )
        try:
            yield answering(Postgres(folder), server, folder / "log")
        finally:
            server.terminate()
            server.wait()


def answering(postgres: Postgres, server: subprocess.Popen[bytes], log: Path) -> Postgres:
    deadline = time.monotonic() + 60
    while True:
        try:
            postgres.execute("SELECT 1")
        except psycopg.OperationalError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        else:
            return postgres
