"""Facts, append-only: who did what, and what became of it. Written in the transaction of the change they tell.

One table serves the audit, a VM's timeline, the event stream and (later) usage; so a fact can neither be lost nor
tell of a change that was rolled back. Secrets never enter it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, Integer, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from cumulet.db import Row


class Fact(Row):
    """One line of the journal."""

    __tablename__ = "journal"
    __table_args__ = (Index("ix_journal_subject", "subject_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    at: Mapped[datetime]
    project_id: Mapped[str]
    subject: Mapped[str]
    """What kind of thing it is about: `vm`, `network`…"""
    subject_id: Mapped[UUID]
    event: Mapped[str]
    """A word for programs: `vm.started`."""
    text: Mapped[str]
    """A sentence for people."""
    actor: Mapped[str]
    """The user who asked, or `cumulet`."""


def record(
    db: Session,
    event: str,
    *,
    at: datetime,
    project_id: str,
    subject_id: UUID,
    text: str,
    actor: str = "cumulet",
) -> None:
    """Add a fact to the caller's transaction; `event` is `<subject>.<what happened>`."""
    db.add(
        Fact(
            at=at,
            project_id=project_id,
            subject=event.partition(".")[0],
            subject_id=subject_id,
            event=event,
            text=text,
            actor=actor,
        )
    )


def facts_about(db: Session, subject_id: UUID, *, limit: int = 1000) -> Sequence[Fact]:
    """Tell the story of one thing, oldest first; of a very long one the newest `limit` facts."""
    newest = select(Fact).where(Fact.subject_id == subject_id).order_by(Fact.id.desc()).limit(limit)
    return list(reversed(db.scalars(newest).all()))
