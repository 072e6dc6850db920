"""Those who wait for room: one row is due for all of them, and is woken whenever some may have become free.

Who has missed that looks again by itself; where nobody waits, that is all it costs.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Final
from uuid import UUID, uuid5

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from cumulet.db import Row, fetch_columns
from cumulet.due import Kind, wake

QUEUE: Final = uuid5(UUID(int=0), "queue")
"""The id under which they are due."""
BETWEEN: Final = uuid5(UUID(int=0), "between")
"""Likewise for the looks at the network between hosts."""


def wake_queue(db: Session, *, now: datetime) -> None:
    """Have those who wait looked at once this transaction commits, which may have given room back."""
    if fetch_columns(db, _anybody()):
        wake(db, Kind.QUEUE, QUEUE, now=now)


@cache
def _anybody() -> Select[UUID]:
    """Build what finds one; the table of a slice above is known here by its name."""
    vm = Row.metadata.tables["vm"]
    return select(vm.c.id).where(vm.c.waits_until.is_not(None), vm.c.state == "PENDING").limit(1)


def wake_between(db: Session, *, now: datetime) -> None:
    """Have the network between hosts looked at soon: there is another host, or one less, or it is to be otherwise."""
    wake(db, Kind.BETWEEN, BETWEEN, now=now)
