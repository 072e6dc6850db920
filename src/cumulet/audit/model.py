"""The audit's rows, and what a request can have come to."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Index, Integer, String, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from cumulet.db import Row
from cumulet.wire import ProtoEnum


class Outcome(ProtoEnum):
    """What came of a request: the name of the number that its answer has as `code`."""

    OK = "OK", 0
    CANCELLED = "CANCELLED", 1
    UNKNOWN = "UNKNOWN", 2
    INVALID_ARGUMENT = "INVALID_ARGUMENT", 3
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED", 4
    NOT_FOUND = "NOT_FOUND", 5
    ALREADY_EXISTS = "ALREADY_EXISTS", 6
    PERMISSION_DENIED = "PERMISSION_DENIED", 7
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED", 8
    FAILED_PRECONDITION = "FAILED_PRECONDITION", 9
    ABORTED = "ABORTED", 10
    OUT_OF_RANGE = "OUT_OF_RANGE", 11
    UNIMPLEMENTED = "UNIMPLEMENTED", 12
    INTERNAL = "INTERNAL", 13
    UNAVAILABLE = "UNAVAILABLE", 14
    DATA_LOSS = "DATA_LOSS", 15
    UNAUTHENTICATED = "UNAUTHENTICATED", 16


class AuditRecord(Row):
    """A change that was made, or one refusal together with those like it in the same hour."""

    __tablename__ = "audit"
    __table_args__ = (
        Index("ix_audit_at", "at"),
        Index("ix_audit_project", "project_id", "id"),
        Index("ix_audit_user", "email", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    at: Mapped[datetime]
    last_at: Mapped[datetime]
    """When the last of them was counted."""
    count: Mapped[int]
    """How many there were at least: repetitions are written down when their number has doubled."""
    user_id: Mapped[UUID | None]
    """Whoever's key it was, as far as it was anybody's."""
    email: Mapped[str] = mapped_column(String(254))
    """Theirs at that time; empty for nobody's."""
    key_id: Mapped[str] = mapped_column(String(63))
    """What its user calls the key."""
    address: Mapped[str] = mapped_column(String(45))
    operation: Mapped[str] = mapped_column(String(63))
    project_id: Mapped[str]
    target: Mapped[str]
    """What else the request named: `id=web vmId=db`."""
    outcome: Mapped[Outcome]
    reason: Mapped[str]
    """Which field or precondition it failed by; never what it held."""


def forget(db: Session, *, before: datetime, most: int) -> int:
    """Remove the oldest records from before an instant; answers how many went, `most` at the most."""
    old = select(AuditRecord.id).where(AuditRecord.at < before).order_by(AuditRecord.at).limit(most)
    return len(db.scalars(delete(AuditRecord).where(AuditRecord.id.in_(old)).returning(AuditRecord.id)).all())
