"""Events, append-only: who did what, and what became of it. Written in the transaction of the change they tell.

One table serves a VM's timeline, the event stream and (later) usage; so an event can neither be lost nor
tell of a change that was rolled back. Secrets never enter it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import JSON, BigInteger, Index, Integer, delete, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from cumulet.db import Row, dialect_of, fetch_columns, insert_row
from cumulet.events import BILLABLE, EventData, EventName
from cumulet.wire import Amount

SYSTEM: Final = "cumulet"
"""The actor of what nobody asked for."""
CHANNEL: Final = "cumulet_told"
NOTIFY: Final = select(func.pg_notify(CHANNEL, ""))


class Event(Row):
    """One line of the journal."""

    __tablename__ = "journal"
    __table_args__ = (
        Index("ix_journal_subject", "subject_id", "id"),
        Index("ix_journal_project", "project_id", "id"),
        Index("ix_journal_bills_at", "bills", "at"),
    )

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    at: Mapped[datetime]
    project_id: Mapped[str]
    subject: Mapped[str]
    """What kind of thing it is about: `vm`, `network`…"""
    subject_id: Mapped[UUID]
    event: Mapped[str]
    """A word for programs: `vm.started`."""
    text: Mapped[str]
    """A line for people."""
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
    """`events.EventData`, for programs."""
    actor: Mapped[str]
    """The user who asked, or `SYSTEM`."""
    bills: Mapped[bool]
    """It begins, changes or ends something that has a price, and is not in the usage records yet: it is kept until then."""


def log_event(
    db: Session,
    name: EventName,
    *,
    at: datetime,
    project_id: str,
    subject_id: UUID,
    text: str,
    actor: str = SYSTEM,
    data: EventData | None = None,
) -> None:
    """Add an event to the caller's transaction."""
    insert_row(
        db,
        Event,
        at=at,
        project_id=project_id,
        subject=name.partition(".")[0],
        subject_id=subject_id,
        event=name.value,
        text=text,
        data=_written(data) if data else {},
        actor=actor,
        bills=name in BILLABLE,
    )
    _tell_that_there_are_events(db)


def _written(data: EventData) -> dict[str, Any]:
    """Write the data of an event, amounts as all answers have them: without an exponent."""
    members: dict[str, Any] = msgspec.to_builtins(data, builtin_types=(Decimal,))
    return {name: Amount.of(one).value if isinstance(one, Decimal) else one for name, one in members.items()}


def _tell_that_there_are_events(db: Session) -> None:
    """Have those who follow the journal look at it once this transaction commits, in whatever process they are."""
    if not db.info.get("told") and dialect_of(db) == "postgresql":
        fetch_columns(db, NOTIFY)
    db.info["told"] = True


def events_about(db: Session, subject_id: UUID, *, limit: int = 1000) -> Sequence[Event]:
    """Give the timeline of one resource, oldest first; of a very long one the newest `limit` events."""
    newest = select(Event).where(Event.subject_id == subject_id).order_by(Event.id.desc()).limit(limit)
    return list(reversed(db.scalars(newest).all()))


def forget(db: Session, *, before: datetime, most: int) -> int:
    """Remove the oldest events from before an instant, but none that bills; answers how many went, `most` at the most.

    The newest of all stays, so that no other ever gets its number: SQLite would give it again.
    """
    newest = select(func.max(Event.id)).scalar_subquery()
    old = select(Event.id).where(~Event.bills, Event.at < before, Event.id < newest)
    old = old.order_by(Event.at).limit(most)
    return len(db.scalars(delete(Event).where(Event.id.in_(old)).returning(Event.id)).all())
