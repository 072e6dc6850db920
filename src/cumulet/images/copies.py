"""Which copies of images lie on which hosts, and which of them give way when a host is short of room."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Uuid, bindparam, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from cumulet.db import Row, change_rows, dialect_of, fetch_columns, insert_into

IN_USE: Final = timedelta(hours=1)
"""How exactly it is noted when a copy was last used; one that was so lately does not give way."""


class NotedCopy(Row):
    """A copy on a host, as its last look found it."""

    __tablename__ = "image_copy"

    host_id: Mapped[UUID] = mapped_column(Uuid, ForeignKey("host.id", ondelete="CASCADE"), primary_key=True)
    sha256: Mapped[str] = mapped_column(primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    """Bytes that it takes."""
    last_used: Mapped[datetime]
    """When a VM of the host was last based on it, or it came."""


NOTED: Final = select(NotedCopy.sha256, NotedCopy.last_used).where(NotedCopy.host_id == bindparam("host"))
HOSTS_WITH: Final = (
    select(NotedCopy.host_id)
    .where(NotedCopy.sha256 == bindparam("digest"))
    .order_by(NotedCopy.last_used.desc())
)
FORGET: Final = delete(NotedCopy).where(
    NotedCopy.host_id == bindparam("host"), NotedCopy.sha256 == bindparam("digest")
)


def read_copies(db: Session, host_id: UUID) -> dict[str, datetime]:
    """Say when each copy that was noted on a host was last used, by digest."""
    return {row.sha256: row.last_used for row in fetch_columns(db, NOTED, host=host_id)}


def hosts_with(db: Session, sha256: str) -> list[UUID]:
    """List the hosts on which a copy was noted, the last used first."""
    return [host_id for (host_id,) in fetch_columns(db, HOSTS_WITH, digest=sha256)]


def note_copies(
    db: Session,
    host_id: UUID,
    *,
    found: Mapping[str, int],
    noted: Mapping[str, datetime],
    used: Collection[str],
    now: datetime,
) -> None:
    """Write down what a look at a host found, with sizes, where that differs from what is noted."""
    for gone in noted.keys() - found.keys():
        change_rows(db, FORGET, host=host_id, digest=gone)
    for sha256, size in found.items():
        if sha256 not in noted or (sha256 in used and now - noted[sha256] >= IN_USE):
            row = insert_into(dialect_of(db), NotedCopy).values(
                host_id=host_id, sha256=sha256, size=size, last_used=now
            )
            db.execute(
                row.on_conflict_do_update(
                    index_elements=["host_id", "sha256"], set_={"size": size, "last_used": now}
                )
            )


def differ(
    found: Mapping[str, int], noted: Mapping[str, datetime], used: Collection[str], now: datetime
) -> bool:
    """Whether there is anything to write down."""
    return found.keys() != noted.keys() or any(
        now - noted[sha256] >= IN_USE for sha256 in noted.keys() & used
    )


def give_way(
    found: Mapping[str, int], last_used: Mapping[str, datetime], *, short: int, now: datetime
) -> list[str]:
    """Choose which of these copies go so that so many bytes are free: those first that were not used for longest."""
    chosen = []
    for sha256 in sorted(found, key=lambda sha256: last_used.get(sha256, now)):
        if short <= 0 or now - last_used.get(sha256, now) < IN_USE:
            break
        chosen.append(sha256)
        short -= found[sha256]
    return chosen
