"""Toy resources to reconcile: what they did is in the journal, so that processes can tell each other."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from tests.waiting import eventually

from cumulet import journal
from cumulet.db import Database
from cumulet.events import EventName
from cumulet.reconcile import Reconciler, Run, wake

KIND = "toy"


class Crash(BaseException):
    """This process dies here: nothing after this line happens."""


def wake_toys(database: Database, *ids: UUID, now: datetime) -> None:
    with database.writing() as db:
        for id in ids:
            wake(db, KIND, id, now=now)


def note(run: Run, text: str = "it ran", actor: str = "cumulet") -> None:
    """Write down that a reconciler ran."""
    with run.writing() as db:
        journal.log_event(
            db, EventName.VM_STARTED, at=run.now, project_id="", subject_id=run.id, text=text, actor=actor
        )


def notes(database: Database, id: UUID) -> list[str]:
    with database.reading() as db:
        return [fact.text for fact in journal.events_about(db, id)]


def work_in_this_process(url: str, others: int) -> None:
    """Be one of several processes that reconcile toys; go on only when the others work too, end with our input."""
    database = Database(url)
    me = str(os.getpid())

    def reconcile(run: Run) -> None:
        note(run, actor=me)
        eventually(lambda: len(workers(database)) == others)

    reconciler = Reconciler(database, {KIND: reconcile})
    reconciler.start()
    print("ready", flush=True)  # noqa: T201 - tells the test that it may begin
    sys.stdin.read()
    reconciler.stop()
    database.close()


def workers(database: Database) -> set[str]:
    """Who has worked so far."""
    with database.reading() as db:
        return set(db.scalars(select(journal.Event.actor).where(journal.Event.event == EventName.VM_STARTED)))


if __name__ == "__main__":
    work_in_this_process(sys.argv[1], int(sys.argv[2]))
