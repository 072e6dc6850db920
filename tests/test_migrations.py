import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from cumulet import serve
from cumulet.db import Database, Row
from cumulet.migrations import migrate

assert serve, "brings in every table"


@pytest.fixture
def empty(database_kind, request, tmp_path):
    """A database without a single table."""
    if database_kind == "sqlite":
        yield Database(f"sqlite:///{tmp_path}/empty.db")
        return
    with request.getfixturevalue("postgres").database() as url:
        database = Database(url)
        yield database
        database.close()


def test_the_steps_lead_to_the_schema_that_the_models_describe(empty):
    migrate(empty)
    with empty.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Row.metadata) == []


def test_migrating_again_changes_nothing(empty):
    for _ in range(2):
        migrate(empty)
    assert set(inspect(empty.engine).get_table_names()) == {*Row.metadata.tables, "alembic_version"}


def test_a_step_that_fails_leaves_the_database_as_it_was(empty):
    with empty.writing() as db:
        db.execute(text("CREATE TABLE vm (id INTEGER)"))
    with pytest.raises(Exception, match="already exists"):
        migrate(empty)
    assert inspect(empty.engine).get_table_names() == ["vm"]


@pytest.mark.parametrize("database_kind", ["postgresql"], indirect=True)
def test_of_servers_that_start_together_one_migrates_and_the_others_wait(empty):
    start = "import sys; from cumulet.db import Database; from cumulet.migrations import migrate; "
    command = [sys.executable, "-c", start + "migrate(Database(sys.argv[1]))", empty.url]
    starting = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    assert [process.communicate()[1] for process in starting] == [b""] * 3
    assert "vm" in inspect(empty.engine).get_table_names()
