"""The rows that say what is due, and the statements about them: built once, for they run at every turn of the loop."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Index,
    Integer,
    Select,
    and_,
    bindparam,
    case,
    delete,
    func,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Mapped, Session, mapped_column
from sqlalchemy.sql.dml import ReturningUpdate

from cumulet.db import Row, Timestamp, change_rows, dialect_of, fetch_columns, insert_into, rows_of

CHANNEL: Final = "cumulet_due"


class Kind(enum.StrEnum):
    """What reconcilers look after: resources of projects, and what is looked at again and again."""

    VM = "vm"
    DISK = "disk"
    NETWORK = "network"
    SECURITY_GROUP = "security_group"
    PRIVATE_IMAGE = "private_image"
    GPU = "gpu"
    HOST = "host"
    SAMPLES = "samples"
    EXAMINATION = "examination"
    FABRIC = "fabric"
    BETWEEN = "between"
    GROUPS = "groups"
    JOURNAL = "journal"
    USAGE = "usage"
    ANSWERS = "answers"
    TRIES = "tries"
    AUDIT = "audit"
    WEBHOOK = "webhook"
    QUEUE = "queue"


class Due(Row):
    """One resource that is not settled, or wants a look at a time in the future."""

    __tablename__ = "due"
    __table_args__ = (Index("ix_due_due_at", "due_at"),)

    kind: Mapped[str] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    due_at: Mapped[datetime]
    since: Mapped[datetime | None]
    """Unsettled since then: woken, or looked at in vain; None when it only wants a look at a time in the future."""
    lease: Mapped[UUID | None]
    leased_until: Mapped[datetime | None]
    wakes: Mapped[int] = mapped_column(default=1)
    held_until: Mapped[datetime | None]
    """Nobody's wake brings it forward of that: its last run may have brought down what it works with."""
    attempts: Mapped[int] = mapped_column(default=0)
    """Failures since it last settled: a wait in between does not make up for them."""
    why: Mapped[str] = mapped_column(default="")
    """What it waits for, in words for its owner."""
    error: Mapped[str] = mapped_column(default="")
    """The last failure, in words for its owner."""
    overdue: Mapped[bool] = mapped_column(default=False)


@dataclass(frozen=True, slots=True)
class Claim:
    """A lease on one due resource."""

    kind: str
    id: UUID
    lease: UUID
    wakes: int
    attempts: int


DUE: Final = rows_of(Due)
_AS_CLAIMED: Final = and_(
    DUE.c.kind == bindparam("held_kind"),
    DUE.c.id == bindparam("held_id"),
    DUE.c.lease == bindparam("held_lease"),
)
_UNWOKEN: Final = DUE.c.wakes == bindparam("held_wakes")
HELD: Final = select(DUE.c.id).where(_AS_CLAIMED).with_for_update()
WAKES: Final = select(DUE.c.wakes).where(_AS_CLAIMED)
SETTLE: Final = delete(DUE).where(_AS_CLAIMED, _UNWOKEN).returning(DUE.c.id)
NOTIFY: Final = select(func.pg_notify(CHANNEL, ""))


def _wake_on(dialect: str) -> postgresql.Insert | sqlite.Insert:
    """Insert a due row, or make the one that is there due."""
    insert = insert_into(dialect, Due)
    new = insert.excluded
    at = case((DUE.c.held_until > new.due_at, DUE.c.held_until), else_=new.due_at)
    again = {"due_at": at, "since": func.coalesce(DUE.c.since, new.since), "wakes": DUE.c.wakes + 1}
    return insert.on_conflict_do_update(index_elements=["kind", "id"], set_=again)


WAKE: Final = {dialect: _wake_on(dialect) for dialect in ("sqlite", "postgresql")}


def _put_back_with(**others: ColumnElement[Any] | bool) -> ReturningUpdate[*tuple[Any, ...]]:
    """Let go of a lease; woken meanwhile, it stays due when that said, unless it is held."""
    then, held = bindparam("at", type_=Timestamp), bindparam("is_held", type_=Boolean)
    at, until = case((or_(held, _UNWOKEN), then), else_=DUE.c.due_at), case((held, then))
    outcome = {
        name: bindparam(f"new_{name}", type_=DUE.c[name].type) for name in ("attempts", "why", "error")
    }
    back = update(DUE).where(_AS_CLAIMED)
    freed = {"lease": None, "leased_until": None, "due_at": at, "held_until": until}
    return back.values(**freed, **outcome, **others).returning(*DUE.c)


PUT_BACK: Final = _put_back_with(since=func.coalesce(DUE.c.since, bindparam("now", type_=Timestamp)))
PUT_BACK_SETTLED: Final = _put_back_with(since=case((~_UNWOKEN, DUE.c.due_at)), overdue=False)


def wake(db: Session, kind: Kind, id: UUID, *, now: datetime) -> None:
    """Make the resource due, in the caller's transaction; a reconciler starts on it when that commits."""
    dialect = dialect_of(db)
    change_rows(db, WAKE[dialect], kind=kind, id=id, due_at=now, since=now)
    if dialect == "postgresql":
        fetch_columns(db, NOTIFY)
    db.info["woken"] = True


def forget_leases(db: Session) -> None:
    """Make due again what a process held that was killed at it; only for one that has the database to itself."""
    db.execute(update(Due).where(Due.lease.is_not(None)).values(lease=None, leased_until=None))


def find_due(db: Session, kind: Kind, id: UUID) -> Due | None:
    """Look at a resource's due row: what it waits for and its last error; None when it is settled."""
    return db.get(Due, (kind, id))


def held_by(claim: Claim) -> dict[str, object]:
    """Name a claim's row to the statements that it guards."""
    return {"held_kind": claim.kind, "held_id": claim.id, "held_lease": claim.lease}


def claim_of(kinds: Iterable[str]) -> ReturningUpdate[str, UUID, int, int]:
    """Lease the rows of these kinds that have been due longest."""
    now = bindparam("now", type_=Timestamp)
    ready = (
        select(DUE.c.kind, DUE.c.id)
        .where(
            or_(*(DUE.c.kind == kind for kind in kinds)),
            DUE.c.due_at <= now,
            or_(DUE.c.lease.is_(None), DUE.c.leased_until < now),
        )
        .order_by(DUE.c.due_at)
        .limit(bindparam("most", type_=Integer))
        .with_for_update(skip_locked=True)
        # A subquery PostgreSQL may run more than once, each time with new rows; a CTE that locks only once.
        .cte("ready")
    )
    leased = {
        "lease": bindparam("new_lease", type_=DUE.c.lease.type),
        "leased_until": bindparam("until", type_=Timestamp),
    }
    taken = update(DUE).where(tuple_(DUE.c.kind, DUE.c.id).in_(select(ready))).values(leased)
    return taken.returning(DUE.c.kind, DUE.c.id, DUE.c.wakes, DUE.c.attempts)


def soonest_of(kinds: Iterable[str]) -> Select[datetime]:
    """Read when the next row of these kinds can be claimed."""
    at = case((DUE.c.leased_until > DUE.c.due_at, DUE.c.leased_until), else_=DUE.c.due_at)
    return select(at).where(or_(*(DUE.c.kind == kind for kind in kinds))).order_by(at).limit(1)
