"""Tickets: what lets a browser, which has no API key, at the consoles of one VM for one user.

A ticket is 256 random bits of which the database keeps the SHA-256, so every server process knows it and none can
tell it. It opens consoles for five minutes, as often as asked, so that a reload or a reconnect works; an open console
keeps it good. Its holder's role, and whether the API key stands that it was asked for with, is looked up anew each
time: who leaves the project leaves its consoles too, and so does a key that is revoked.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import ForeignKey, LargeBinary, delete, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from cumulet.db import Row
from cumulet.errors import Exhausted
from cumulet.operation import Caller

GOOD_FOR: Final = timedelta(minutes=5)
MOST_OF_ONE: Final = 200
"""Tickets of one user that are good at once."""


class Ticket(Row):
    """A ticket that was handed out."""

    __tablename__ = "console_ticket"

    digest: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    vm_id: Mapped[UUID]
    user_id: Mapped[UUID] = mapped_column(ForeignKey("user.id", ondelete="CASCADE"))
    key_digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    """Of the API key that it was asked for with."""
    expires_at: Mapped[datetime] = mapped_column(index=True)


def issue_ticket(db: Session, vm_id: UUID, caller: Caller, *, now: datetime) -> str:
    """Make a ticket, and forget those that are good no more; Exhausted when the caller has too many that are."""
    db.execute(delete(Ticket).where(Ticket.expires_at < now))
    theirs = db.scalar(select(func.count()).where(Ticket.user_id == caller.user_id)) or 0
    if theirs >= MOST_OF_ONE:
        raise Exhausted(
            f"you have {theirs} valid console links, the most that one user may have: "
            "use one of them, or try again in five minutes"
        )
    ticket = secrets.token_urlsafe(32)
    db.add(
        Ticket(
            digest=digest_of(ticket),
            vm_id=vm_id,
            user_id=caller.user_id,
            key_digest=caller.key_digest,
            expires_at=now + GOOD_FOR,
        )
    )
    return ticket


def find_good(db: Session, ticket: str, *, now: datetime) -> Ticket | None:
    """Find a ticket that is still good."""
    row = db.get(Ticket, digest_of(ticket))
    return row if row is not None and row.expires_at >= now else None


def digest_of(ticket: str) -> bytes:
    """What is kept of a ticket."""
    return hashlib.sha256(ticket.encode()).digest()
