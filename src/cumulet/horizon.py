"""How far the journal is settled: up to which event nothing will appear any more that is not there yet.

PostgreSQL numbers an event when it is written and shows it when its transaction commits, so a lower number can appear
after a higher one; who asks for "what came after 7" would miss 6. Therefore nobody follows further than to here:

    newest event there is ──▶ who writes events at this moment ──▶ they have all ended: settled up to that event

Whoever got a lower number had begun to write by then, and holds the table's lock until their transaction ends. SQLite
has one writer at a time, so there all that can be seen is settled.
"""

from __future__ import annotations

import threading
from typing import Final, NamedTuple

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from cumulet.db import Database, fetch_columns
from cumulet.journal import Event

NEWEST: Final = select(func.coalesce(func.max(Event.id), 0))
WRITERS: Final = text(
    "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted"
    " AND relation = 'journal'::regclass"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


class Settled(NamedTuple):
    """What is known of the journal's end."""

    upto: int | None
    """Up to here everything is there that ever will be; None when that is not known yet."""
    is_all: bool
    """There was nothing beyond it; else look again in a moment."""


class Horizon:
    """Looks for the journal's settled end; one for each process, used by any thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._upto: int | None = None
        self._candidate = 0
        self._writers: frozenset[str] | None = None
        """Who wrote when the candidate was the newest, and has not ended since; None without a candidate."""

    def look(self) -> Settled:
        """Look once; what is read in a transaction that begins afterwards is whole up to the answer."""
        with self._lock, self._database.reading() as db:
            ((newest,),) = fetch_columns(db, NEWEST)
            if self._database.is_sqlite:
                self._upto = newest
            elif newest != self._upto:
                self._advance(newest, writers(db))
            return Settled(self._upto, self._upto == newest)

    def _advance(self, newest: int, writing: frozenset[str]) -> None:
        if self._writers is not None:
            self._writers &= writing
            if not self._writers:
                self._upto, self._writers = self._candidate, None
        if self._writers is None:
            self._candidate, self._writers = newest, writing
            if not writing:
                self._upto, self._writers = newest, None


def writers(db: Session) -> frozenset[str]:
    """Name the transactions that write events at this moment (PostgreSQL)."""
    return frozenset(db.scalars(WRITERS))
