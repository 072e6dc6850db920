"""What the models' many clouds stand on, each of them new."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from tests.conftest import database_url

from cumulet.db import Database

NewDatabase = Callable[[], AbstractContextManager[tuple[Database, Path]]]


@pytest.fixture
def new_database(database_kind, request, tmp_path) -> NewDatabase:
    """Databases with a folder beside each, for one cloud of the many that a test makes; both go with it."""

    @contextmanager
    def new_database() -> Iterator[tuple[Database, Path]]:
        folder = tmp_path / uuid4().hex
        folder.mkdir()
        with database_url(database_kind, request) as url:
            database = Database(url)
            try:
                yield database, folder
            finally:
                database.close()
                shutil.rmtree(folder)

    return new_database
