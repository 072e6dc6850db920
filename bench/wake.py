"""From a wake to the first line of its reconciler: how long accepted work waits before anybody looks at it.

The clock starts before the transaction that wakes and stops in the worker's thread, so it holds the commit, the bell
(between servers: PostgreSQL's notification) and the claim. Each wake waits until the one before it is settled.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final
from uuid import UUID, uuid4

from bench.figure import Figure, at_most, percentile, say
from bench.stage import Stage
from tests.databases import running_postgres

from cumulet.db import Database
from cumulet.migrations import migrate
from cumulet.reconcile import Reconciler, Run, find_due, wake

RUNS: Final = 300
PROMISED_MS: Final = 5


def measure(stage: Stage) -> list[Figure]:
    """Wake on both databases, and on one server what another works on."""
    stage.folder.mkdir(exist_ok=True)
    figures = [figure("on SQLite", f"sqlite:///{stage.folder}/wake.db", servers=1)]
    with running_postgres() as postgres, postgres.database() as url:
        figures += [figure("on PostgreSQL", url, servers=1), figure("from another server", url, servers=2)]
    return figures


def figure(where: str, url: str, *, servers: int) -> Figure:
    """Measure one way to wake."""
    say(f"wake {where}")
    with opened(url) as working, opened(url) as other:
        waits = [seconds * 1000 for seconds in wakes(working, working if servers == 1 else other)]
    detail = f"p99 {percentile(waits, 99):.1f} ms, {RUNS} wakes"
    return at_most(f"wake {where}: p50", percentile(waits, 50), PROMISED_MS, unit="ms", detail=detail)


def wakes(working: Database, waking: Database) -> list[float]:
    """Wake again and again; give the seconds until each reconciler began."""
    begun: queue.SimpleQueue[float] = queue.SimpleQueue()

    def reconcile(_: Run) -> None:
        begun.put(time.perf_counter())

    reconciler = Reconciler(working, {"probe": reconcile})
    reconciler.start()
    try:
        return [wake_once(waking, begun) for _ in range(RUNS + 1)][1:]
    finally:
        reconciler.stop()


def wake_once(database: Database, begun: queue.SimpleQueue[float]) -> float:
    """Wake one resource; give the seconds until its reconciler began, and return when it is settled."""
    id, asked = uuid4(), time.perf_counter()
    with database.writing() as db:
        wake(db, "probe", id, now=datetime.now(UTC))
    waited = begun.get(timeout=60) - asked
    while is_due(database, id):
        time.sleep(0.005)
    return waited


def is_due(database: Database, id: UUID) -> bool:
    """Whether the resource is not settled yet."""
    with database.reading() as db:
        return find_due(db, "probe", id) is not None


@contextmanager
def opened(url: str) -> Iterator[Database]:
    """Open a migrated database."""
    database = Database(url)
    migrate(database)
    yield database
    database.close()
