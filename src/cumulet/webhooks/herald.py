"""Waking webhooks when there is something to tell them: one thread, which sleeps until this process wrote events."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import structlog
from sqlalchemy import exists, select

from cumulet.db import UNREACHABLE, Database, fetch_columns
from cumulet.journal import Event
from cumulet.reconcile import Kind, wake
from cumulet.webhooks.model import Webhook, WebhookState

log = structlog.get_logger()

PAUSE: Final = 0.1
"""Seconds from a look to the next at least: many commits in a moment are one look."""
BEHIND: Final = (
    select(Webhook.id)
    .where(
        Webhook.state == WebhookState.ACTIVE,
        exists().where(Event.project_id == Webhook.project_id, Event.id > Webhook.place),
    )
    .order_by(Webhook.id)
)
"""One that is failing waits for its own time, whatever happens meanwhile."""


class Herald:
    """Sees to it that webhooks are told soon; what it misses, their regular look finds."""

    def __init__(
        self, database: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._database = database
        self._clock = clock
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="webhooks", daemon=True)

    def start(self) -> None:
        """Begin, with what was written before; returns at once."""
        self._database.hear_events.add(self._bell.set)
        self._bell.set()
        self._thread.start()

    def stop(self) -> None:
        """Wake nobody any more."""
        self._database.hear_events.discard(self._bell.set)
        self._stopping.set()
        self._bell.set()
        self._thread.join()

    def _look_on(self) -> None:
        while self._bell.wait() and not self._stopping.is_set():
            self._bell.clear()
            try:
                wake_those_behind(self._database, now=self._clock())
            except UNREACHABLE as problem:
                log.warning("webhooks are told later", problem=str(problem))
            self._stopping.wait(PAUSE)


def wake_those_behind(database: Database, *, now: datetime) -> None:
    """Wake the webhooks whose projects have events that they have not been told."""
    with database.reading() as db:
        behind = [id for (id,) in fetch_columns(db, BEHIND)]
    if behind:
        with database.writing() as db:
            for id in behind:
                wake(db, Kind.WEBHOOK, id, now=now)
