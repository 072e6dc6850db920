"""Refusals in the audit: each kind once an hour, with how often it came, so that no flood of them fills the disk.

They are told apart by who came (the user of the key, or the address where the key is nobody's), what they asked for and why it was
refused. The first is written at once, the next when their number has doubled: a million of them are 21 writes. Beyond so many kinds
of one caller, and of all strangers together, what differs is counted in one record. This is the account of one server; another one
has its own.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import update

from cumulet.audit.model import AuditRecord, Outcome
from cumulet.audit.record import Act, columns
from cumulet.db import Database
from cumulet.ids import neighbourhood

KINDS_OF_ONE: Final = 100
"""Records an hour of one user, or of one stranger's address."""
KINDS_OF_STRANGERS: Final = 500
"""Records an hour of all strangers."""
EVERYWHERE: Final = "*"
"""Where those come from who are counted together."""


@dataclass(slots=True)
class Counted:
    """How often a kind of refusal came, and where that is written."""

    id: int
    times: int = 1


class Refusals:
    """This hour's refusals."""

    def __init__(
        self, database: Database, *, of_one: int = KINDS_OF_ONE, of_strangers: int = KINDS_OF_STRANGERS
    ) -> None:
        self._database = database
        self._of_one = of_one
        self._of_strangers = of_strangers
        self._lock = threading.Lock()
        self._hour: datetime | None = None
        self._counted: dict[tuple[Act, Outcome, str], Counted] = {}
        self._kinds: Counter[object] = Counter()
        """How many of each caller, and of all strangers."""

    def note(self, act: Act, outcome: Outcome, reason: str, *, now: datetime) -> None:
        """Count a refusal, and write it down when it is the first of its kind or their number has doubled."""
        with self._lock:
            self._turn(now)
            kind = self._kind(act, outcome, reason)
            counted = self._counted.get(kind)
            if counted is None:
                self._begin(kind, now)
                return
            counted.times += 1
            if counted.times & (counted.times - 1) == 0:
                self._count(counted, now)

    def _turn(self, now: datetime) -> None:
        """Begin anew with the hour."""
        hour = now.replace(minute=0, second=0, microsecond=0)
        if hour != self._hour:
            self._hour = hour
            self._counted.clear()
            self._kinds.clear()

    def _kind(self, act: Act, outcome: Outcome, reason: str) -> tuple[Act, Outcome, str]:
        """Say with which others it is counted."""
        kind = (act, outcome, reason)
        if kind in self._counted:
            return kind
        if self._kinds[who(act)] >= self._of_one:
            kind = (all_of_one(act), outcome, "")
        if act.user_id is None and kind not in self._counted and self._kinds[None] >= self._of_strangers:
            kind = (Act(operation="", address=EVERYWHERE), outcome, "")
        return kind

    def _begin(self, kind: tuple[Act, Outcome, str], now: datetime) -> None:
        act, outcome, reason = kind
        row = AuditRecord(**columns(act, outcome, reason, now=now))
        with self._database.writing() as db:
            db.add(row)
            db.flush()
            id = row.id
        self._counted[kind] = Counted(id)
        self._kinds[who(act)] += 1
        if act.user_id is None:
            self._kinds[None] += 1

    def _count(self, counted: Counted, now: datetime) -> None:
        found = update(AuditRecord).where(AuditRecord.id == counted.id)
        with self._database.writing() as db:
            db.execute(found.values(count=counted.times, last_at=now))


def who(act: Act) -> object:
    """Tell callers apart."""
    return act.user_id or neighbourhood(act.address)


def all_of_one(act: Act) -> Act:
    """Leave nothing but who it was."""
    address = EVERYWHERE if act.user_id else neighbourhood(act.address)
    return Act(operation="", address=address, user_id=act.user_id, email=act.email)
