"""Databases for tests: SQLite files and a PostgreSQL of our own, each copied from one that is migrated once."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg

SYSTEM_USER = "nobody"
"""PostgreSQL refuses to run as root."""


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


class Postgres:
    """A running cluster that only we can reach, by a socket."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://cumulet@/{name}?host={self._folder}"

    def execute(self, statement: str) -> None:
        dsn = f"host={self._folder} user=cumulet dbname=postgres"
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(statement.encode())

    @contextmanager
    def database(self, *, template: str = "template1") -> Iterator[str]:
        """A new database; gives its URL, and drops it whoever is still in it."""
        name = f"test_{uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield self.url(name)
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def make_template(self, name: str, prepare: Callable[[str], None]) -> None:
        self.execute(f"CREATE DATABASE {name}")
        prepare(self.url(name))


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Make a cluster and run it; its folder has a short name, because a socket's path may not be long."""
    with tempfile.TemporaryDirectory(prefix="cumulet-pg-", dir="/tmp") as name:
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
        settings = {"listen_addresses": "", "unix_socket_directories": name, "shared_buffers": "32MB"}
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
