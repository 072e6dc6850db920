"""Who guesses passwords: each try of an account, and from an address, has to wait longer than the one before, at whichever server.

A try is known of before anything is hashed: where so many were wrong that the next has to wait, those under way count as
wrong, so that many at once are no way around it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import case, delete, select, update
from sqlalchemy.orm import Session

from cumulet.db import Database, dialect_of, insert_into
from cumulet.errors import TooFast
from cumulet.ids import neighbourhood
from cumulet.projects.guesses import FORGOTTEN_S, FREE, wait_after
from cumulet.projects.model import PasswordTry

KEPT_FOR: Final = timedelta(seconds=FORGOTTEN_S)
MOST_UNDER_WAY: Final = 20
"""At once from one address, or of one account, while few were wrong."""


@dataclass(slots=True)
class Tries:
    """The tries at passwords, as seen by one request."""

    database: Database
    address: str
    now: datetime
    begun: tuple[bytes, ...] = ()
    """The places at which its own is counted."""
    was_wrong: bool = False

    def begin(self, account: str) -> None:
        """Count a try; TooFast, which says when, if it comes too early."""
        places = sorted(map(digest, (f"at {neighbourhood(self.address)}", f"of {account}")))
        with self.database.writing() as db:
            seconds = wait_at(db, places, self.now)
            if seconds > 0:
                raise TooFast(
                    f"too many wrong passwords were tried: try again in {seconds:.0f} s. `cumulet web` signs you in "
                    "without one",
                    seconds=seconds,
                    reason="TOO_MANY_WRONG_PASSWORDS",
                )
            for place in places:
                count(db, place, self.now)
        self.begun = tuple(places)

    def note_wrong(self) -> None:
        """Have it count, once nothing else is being written by this thread."""
        self.was_wrong = True

    def end(self) -> None:
        """Write down how it ended."""
        if not self.begun:
            return
        known = {
            "under_way": PasswordTry.under_way - 1,
            "times": PasswordTry.times + int(self.was_wrong),
        }
        with self.database.writing() as db:
            for place in self.begun:  # in the order in which others lock them
                db.execute(update(PasswordTry).where(PasswordTry.place == place).values(known))


def digest(place: str) -> bytes:
    """What is kept of a place."""
    return hashlib.sha256(place.encode()).digest()


def wait_at(db: Session, places: list[bytes], now: datetime) -> float:
    """How long the next try has to wait at these places, which are locked."""
    tried = select(PasswordTry).where(PasswordTry.place.in_(places)).order_by(PasswordTry.place)
    return max((wait(one, now) for one in db.scalars(tried.with_for_update())), default=0.0)


def wait(tried: PasswordTry, now: datetime) -> float:
    """How long the next try has to wait after what was tried at one place."""
    ago = (now - tried.last_at).total_seconds()
    if tried.times < FREE:
        return 1.0 if tried.under_way >= MOST_UNDER_WAY and ago < FORGOTTEN_S else 0.0
    return wait_after(tried.times + tried.under_way, ago)


def count(db: Session, place: bytes, now: datetime) -> None:
    """Count one more under way."""
    new = insert_into(dialect_of(db), PasswordTry).values(place=place, times=0, under_way=1, last_at=now)
    is_old = PasswordTry.last_at < now - KEPT_FOR
    again = {
        "times": case((is_old, 0), else_=PasswordTry.times),
        "under_way": case((is_old, 1), else_=PasswordTry.under_way + 1),
        "last_at": now,
    }
    db.execute(new.on_conflict_do_update(index_elements=["place"], set_=again))


def forget(db: Session, *, before: datetime, most: int) -> int:
    """Remove the oldest from before an instant; answers how many went, `most` at the most."""
    old = select(PasswordTry.place).where(PasswordTry.last_at < before).order_by(PasswordTry.last_at)
    these = db.scalars(old.limit(most).with_for_update(skip_locked=True)).all()
    db.execute(delete(PasswordTry).where(PasswordTry.place.in_(these)))
    return len(these)
