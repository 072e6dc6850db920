"""What tests of the durable core share: databases of both kinds, a cloud of made-up hosts with a hand-driven clock, a real one."""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import structlog
from argon2 import PasswordHasher
from httpx._config import DEFAULT_TIMEOUT_CONFIG, create_ssl_context
from httpx._transports import default
from sqlalchemy import Engine, create_engine
from tests.databases import Postgres, Template, running_postgres, where_there_is_room
from tests.e2e import world
from tests.e2e.real_cloud import RealCloud, built_images, lab_dir
from tests.fabric.guests import Namespace
from tests.lab.ground import Ground
from tests.made_up import NOON, Cloud, make_cloud
from tests.waiting import PATIENCE_S

from cumulet import db
from cumulet.db import Database
from cumulet.migrations import migrate
from cumulet.projects import bootstrap, passwords

OpenDatabase = Callable[[], Database]
HERE = Path(__file__).parent
BOOTS = 900
"""Seconds in which guests have booted that are emulated on a busy machine: several, one after the other."""


def pytest_configure() -> None:
    """Collect garbage less often: going through all that is imported and collected, again and again, took a tenth of the time."""
    gc.set_threshold(10_000, 20, 100)


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Give each its turn, and mark what needs PostgreSQL, or time for guests that boot."""
    items.sort(key=turn)
    for item in items:
        if item.get_closest_marker("lab") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(BOOTS))
        chosen = item.callspec.params.values() if hasattr(item, "callspec") else ()
        if "postgresql" in chosen or "postgres" in item.fixturenames:
            item.add_marker("postgresql")


def pytest_collection_finish() -> None:
    """Take what was imported and collected for needed until the end: going through all of it again finds no garbage.

    Hypothesis, which the plugin imports at the latest when all is over, looks at that time for who refers to what: before.
    """
    import_module("hypothesis")
    gc.collect()
    gc.freeze()


def turn(item: pytest.Function) -> str:
    """Let what changes the host itself come before what shares one cloud on it, as the browser's tests do.

    A machine that boots for minutes begins first: at the end, others would have nothing to do meanwhile.
    """
    path = item.path.relative_to(HERE)
    if path == Path("nested/test_passthrough.py"):
        return ""
    return path.parts[0].replace("browser", "e2e")


@pytest.fixture(autouse=True, scope="session")
def quiet_log() -> None:
    """Drop the log's lines; a test that is about them captures them."""

    def drop(*_: object) -> str:
        raise structlog.DropEvent

    structlog.configure(processors=[drop])


@pytest.fixture(autouse=True, scope="session")
def nothing_waits_for_the_disk() -> None:
    """Leave it to the kernel when files are written: no test takes the power from the machine that it runs on."""
    os.fsync = lambda _: None
    db.SQLITE_SYNCHRONOUS = "OFF"


@pytest.fixture(autouse=True, scope="session")
def clients_are_patient() -> None:
    """Wait for answers as long as for all else: the five seconds of httpx pass on a machine that does much besides."""
    for part in ("connect", "read", "write", "pool"):
        setattr(DEFAULT_TIMEOUT_CONFIG, part, PATIENCE_S)


@pytest.fixture(autouse=True, scope="session")
def authorities_read_once() -> None:
    """Let clients share what they trust: each read a hundred certificates, most of them to speak no TLS at all."""
    default.create_ssl_context = cache(create_ssl_context)


@pytest.fixture(autouse=True, scope="session")
def passwords_hashed_cheaply() -> None:
    """Hash passwords in no time: the tests that set some, and try ten times at once, took a minute for nothing else."""
    passwords._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    passwords._NOBODYS = passwords.nobodys_hash(passwords._hasher)


@pytest.fixture(autouse=True, scope="session")
def statements_compiled_once() -> None:
    """Share compiled statements between a run's databases: compiling anew for each test took a third of the time."""
    first: dict[str, Engine] = {}

    def create_engine_like_the_first(url: str, **options: object) -> Engine:
        engine = create_engine(url, **options)
        known = first.setdefault(engine.name, engine)
        if known.dialect.server_version_info is not None:  # it has been connected once
            engine.dialect = engine.pool._dialect = known.dialect
            engine._compiled_cache = known._compiled_cache
        return engine

    db.create_engine = create_engine_like_the_first


def prepare(url: str, folder: Path) -> None:
    """Bring a database to where the first start leaves it: schema, default project, owner."""
    database = Database(url)
    migrate(database)
    bootstrap(database, folder, NOON)
    database.close()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sqlite")
    prepare(f"sqlite:///{folder}/template.db", folder)
    return folder / "template.db"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres(within=where_there_is_room()) as postgres:
        yield postgres


@pytest.fixture(scope="session")
def postgres_template(postgres, tmp_path_factory) -> Template:
    folder = tmp_path_factory.mktemp("postgres")
    return postgres.make_template("prepared", lambda url: prepare(url, folder))


@contextmanager
def database_url(kind: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database of that kind just for this test; gives its URL."""
    if kind == "postgresql":
        postgres = request.getfixturevalue("postgres")
        with postgres.copy(request.getfixturevalue("postgres_template")) as url:
            yield url
    else:
        path = request.getfixturevalue("tmp_path") / "cumulet.db"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_kind(request) -> str:
    return request.param


@pytest.fixture
def open_database(database_kind, request) -> Iterator[OpenDatabase]:
    """Open doors to this test's database: each is what one process has."""
    with database_url(database_kind, request) as url, ExitStack() as doors:

        def open_one() -> Database:
            database = Database(url)
            doors.callback(database.close)
            return database

        yield open_one


@pytest.fixture
def database(open_database) -> Database:
    return open_database()


@pytest.fixture(scope="session")
def outside() -> Namespace:
    """The world outside of the private host."""
    lab_dir()
    return world.make_world()


@pytest.fixture(scope="session")
def real_cloud(outside: Namespace) -> Iterator[RealCloud]:
    """The one cloud of real guests on the private host, which find the world outside and its resolver."""
    cloud = RealCloud(lab_dir() / "cloud", built_images(), resolver=world.ADDRESS)
    cloud.start()
    yield cloud
    cloud.stop()
    cloud.api.close()


@pytest.fixture(scope="session")
def ground() -> Iterator[Ground]:
    """Three machines beside the private host, with SSH and nothing else; who switches one off switches it on again."""
    ground = Ground(lab_dir() / "ground")
    yield ground
    ground.close()


@pytest.fixture
def cloud(database, tmp_path) -> Cloud:
    return make_cloud(database, tmp_path)
