"""What a piece of work asks of its database, statement by statement."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from cumulet.db import Database
from cumulet.statements import Ready


@contextmanager
def statements_of(database: Database) -> Iterator[list[str]]:
    """Gather the SQL that is run while the block lasts."""
    seen: list[str] = []
    run = Ready.run

    def note_ready(ready, connection, values):
        seen.append(ready.sql)
        return run(ready, connection, values)

    def note(_connection, _cursor, statement, *_):
        seen.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Ready, "run", note_ready)
            yield seen
    finally:
        event.remove(database.engine, "before_cursor_execute", note)
