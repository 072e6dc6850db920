"""Facts, append-only: who did what, and what became of it. Written in the transaction of the change they tell.

One table serves the audit, a VM's timeline, the event stream and (later) usage; so a fact can neither be lost nor
tell of a change that was rolled back. Secrets never enter it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import BigInteger, Index, Integer, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from cumulet.db import Row, insert_row

BILLING: Final = frozenset(
    {
        *(
            f"vm.{what}"
            for what in ("create_asked", "started", "stopped", "crashed", "resize_asked", "deleted")
        ),
        *(f"disk.{what}" for what in ("create_asked", "made", "changed", "lost", "deleted")),
        *(f"vm.{what}" for what in ("disk_resize_asked", "snapshot_asked", "disk_lost", "expired")),
        *(f"{kind}.{what}" for kind in ("network", "private_image") for what in ("create_asked", "deleted")),
    }
)
"""Events that a bill is made of. Nothing is billed yet, so these facts stay."""


class Fact(Row):
    """One line of the journal."""

    __tablename__ = "journal"
    __table_args__ = (
        Index("ix_journal_subject", "subject_id", "id"),
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
    """A sentence for people."""
    actor: Mapped[str]
    """The user who asked, or `cumulet`."""
    bills: Mapped[bool]
    """It begins, changes or ends something that has a price: it is kept until that is billed."""


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
    insert_row(
        db,
        Fact,
        at=at,
        project_id=project_id,
        subject=event.partition(".")[0],
        subject_id=subject_id,
        event=event,
        text=text,
        actor=actor,
        bills=event in BILLING,
    )


def facts_about(db: Session, subject_id: UUID, *, limit: int = 1000) -> Sequence[Fact]:
    """Tell the story of one thing, oldest first; of a very long one the newest `limit` facts."""
    newest = select(Fact).where(Fact.subject_id == subject_id).order_by(Fact.id.desc()).limit(limit)
    return list(reversed(db.scalars(newest).all()))


def forget(db: Session, *, before: datetime, most: int) -> int:
    """Remove the oldest facts from before an instant, but none that bills; answers how many went, `most` at the most."""
    old = select(Fact.id).where(~Fact.bills, Fact.at < before).order_by(Fact.at).limit(most)
    return len(db.scalars(delete(Fact).where(Fact.id.in_(old)).returning(Fact.id)).all())
