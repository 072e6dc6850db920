"""What a VM wrote to its serial console, kept for a while after it is gone: often the only witness of why it had to go.

It moves from the host to the database before its file is removed there, and nothing piles up: each is kept for some
days, of a project the newest alone, compressed; the operator says how many (`Limits`).
"""

from __future__ import annotations

import zlib
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary, bindparam, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from cumulet.db import Row, change_rows, dialect_of, insert_into, rows_of
from cumulet.errors import NotFound
from cumulet.hypervisor import Hypervisor as Host
from cumulet.limits import Limits
from cumulet.reconcile import Run
from cumulet.vm_record.model import Vm

CONSOLE_LOG_BYTES: Final = 256 * 1024
"""The newest of a log; what is older is neither shown nor kept."""


class KeptLog(Row):
    """The console log of a VM that is gone."""

    __tablename__ = "kept_console_log"
    __table_args__ = (Index("ix_kept_console_log_project", "project_id", "kept_at"),)

    vm_id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    name: Mapped[str]
    kept_at: Mapped[datetime] = mapped_column(index=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)
    """Compressed by zlib."""


FORGET_OLD: Final = delete(rows_of(KeptLog)).where(KeptLog.kept_at < bindparam("before"))


def keep_log(run: Run, vm: Vm, host: Host, limits: Limits) -> None:
    """Keep the log of a VM that is torn down; one whose log was taken off the host before has been kept already."""
    log = host.consoles.log(vm.id, max_bytes=CONSOLE_LOG_BYTES)
    if not log:
        return
    kept = {"kept_at": run.now, "content": zlib.compress(log)}
    with run.writing() as db:
        row = insert_into(dialect_of(db), KeptLog).values(
            vm_id=vm.id, project_id=vm.project_id, name=vm.name, **kept
        )
        db.execute(row.on_conflict_do_update(index_elements=["vm_id"], set_=kept))
        newest = select(KeptLog.vm_id).where(KeptLog.project_id == vm.project_id)
        too_many = newest.order_by(KeptLog.kept_at.desc(), KeptLog.vm_id).offset(
            limits.console_logs_per_project
        )
        db.execute(delete(KeptLog).where(KeptLog.vm_id.in_(db.scalars(too_many).all())))


def find_kept(db: Session, project_id: str, name: str) -> bytes:
    """Give the log of the newest VM of that name that is gone; NotFound."""
    named = select(KeptLog.content).where(KeptLog.project_id == project_id, KeptLog.name == name)
    content = db.scalar(named.order_by(KeptLog.kept_at.desc()).limit(1))
    if content is None:
        raise NotFound.named("VM", name)
    return zlib.decompress(content)


def forget_old(db: Session, now: datetime, limits: Limits) -> None:
    """Forget logs whose time is over."""
    change_rows(db, FORGET_OLD, before=now - timedelta(days=limits.console_log_days))
