from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from cumulet.db import Database, Row
from cumulet.operation import Caller
from cumulet.projects import authenticate, bootstrap

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/cumulet.db")
    Row.metadata.create_all(database.engine)
    yield database
    database.close()


@pytest.fixture
def admin_key(database: Database, tmp_path: Path, now: datetime) -> str:
    bootstrap(database, tmp_path, now)
    return (tmp_path / "admin.key").read_text().strip()


@pytest.fixture
def db(database: Database, admin_key: str) -> Iterator[Session]:
    with database.writing() as db:
        yield db


@pytest.fixture
def owner(db: Session, admin_key: str) -> Caller:
    return authenticate(db, admin_key, now=NOW)
