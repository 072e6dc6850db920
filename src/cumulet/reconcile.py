"""Durable work without a workflow engine: one due row per unsettled resource, and reconcilers that look at what is true.

    wake ──▶ due ──claim──▶ leased ──settled──▶ (row gone)
              ▲               │ NotYet(why, s) / failure / next look
              └───────────────┘

An operation writes what is wanted and `wake`s in the same transaction, so an accepted request is never lost. A reconciler
(`reconcile_vm`, …) brings one resource from wherever it is to where it is wanted; it may die at any line and be run
again, by this process or another. Claims are leases: who outlives their lease can write nothing any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import inf
from time import monotonic
from typing import Any, Final
from uuid import UUID, uuid4

import structlog
from sqlalchemy import Row as FoundRow
from sqlalchemy import (
    update,
)
from sqlalchemy.orm import Session

from cumulet import journal
from cumulet.db import UNREACHABLE, Database, fetch_columns
from cumulet.due import (
    CHANNEL,
    HELD,
    PUT_BACK,
    PUT_BACK_SETTLED,
    SETTLE,
    WAKES,
    Claim,
    Due,
    Kind,
    claim_of,
    find_due,
    forget_leases,
    held_by,
    soonest_of,
    wake,
)
from cumulet.errors import NotAtOnce, text_for_owner
from cumulet.events import EventName, OverdueData

__all__ = ["Due", "Kind", "LeaseLost", "NotYet", "Reconciler", "Run", "find_due", "forget_leases", "wake"]

log = structlog.get_logger()

LEASE: Final = timedelta(seconds=60)
DEADLINE: Final = timedelta(minutes=10)
"""Unsettled for longer than this is told in the journal and counted."""
FIRST_BACKOFF: Final = 1.0
LONGEST_BACKOFF: Final = 60.0
STEP_BACK: Final = timedelta(seconds=5)
"""By as much the clock was set back when what is due must not wait for the old time to come again."""
FAR_OFF: Final = 10.0
"""Seconds until a look to which up to one more is nothing."""
IDLE_LOOK: Final = 30.0
"""Seconds until the next look at the due rows when nothing wakes us: SQLite has one process, so nothing is missed."""
SHARED_LOOK: Final = 1.0
"""The same where other processes may wake: the net under a lost notification."""


class NotYet(Exception):
    """Nothing is wrong; look again later. `why` is shown to the owner."""

    def __init__(self, why: str, seconds: float) -> None:
        super().__init__(why)
        self.why = why
        self.seconds = seconds


class LeaseLost(Exception):
    """Another worker has taken this resource over: stop, write nothing."""


@dataclass(slots=True)
class Run:
    """One run of a reconciler: the door to the database for as long as its lease holds."""

    database: Database
    claim: Claim
    """What it is run for; its wakes are those that the reconciler knows of."""
    now: datetime
    """When the run began: the reconciler's clock."""
    noted: list[Callable[[Session], None]] = field(default_factory=list)
    """What is written with its next transaction, at the latest with its end."""

    @property
    def id(self) -> UUID:
        """The resource."""
        return self.claim.id

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Give a look at the database."""
        with self.database.reading() as db:
            yield db

    @contextmanager
    def looking(self) -> Iterator[Session]:
        """Give the look that the reconciler goes by: it sees why the resource was woken until then, so no run need follow."""
        with self.database.reading() as db:
            for (wakes,) in fetch_columns(db, WAKES, **held_by(self.claim)):
                self.claim = replace(self.claim, wakes=wakes)
            yield db

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Give one transaction that the lease guards; LeaseLost when it is not ours any more."""
        with self.database.writing() as db:
            self.hold(db)
            self.write_noted(db)
            yield db

    def hold(self, db: Session) -> None:
        """Have the lease guard a transaction that has locked something else first; LeaseLost when it is not ours any more."""
        if not fetch_columns(db, HELD, **held_by(self.claim)):
            raise LeaseLost(f"{self.claim.kind} {self.claim.id}")

    def write_noted(self, db: Session) -> None:
        """Write what was noted, in a transaction that the lease guards."""
        for write in self.noted:
            write(db)
        self.noted.clear()


Reconcile = Callable[[Run], datetime | None]
"""Brings one resource to where it is wanted; answers when to look again, or None when all is done."""


class Reconciler:
    """Runs the reconcilers of due resources: one thread claims, `workers` threads run."""

    def __init__(
        self,
        database: Database,
        reconcilers: Mapping[str, Reconcile],
        *,
        workers: int = 8,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._reconcilers = reconcilers
        self._claiming = claim_of(reconcilers)
        self._soonest = soonest_of(reconcilers)
        self._clock = clock
        self._last_claim = clock()
        self._workers = workers
        self._free = workers
        self._lock = threading.Lock()
        self._sleeps_until = inf
        """By the monotonic clock: what is put back to be due sooner rings the bell."""
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="reconcile")
        self._thread = threading.Thread(target=self._dispatch, name="reconcile-claims", daemon=True)
        self._listener = threading.Thread(target=self._listen, name="reconcile-listen", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()
        if not self._database.is_sqlite:
            self._listener.start()

    def stop(self) -> None:
        """Claim nothing more and wait for the runs under way; what is unfinished stays due."""
        self._stopping.set()
        self._database.bell.set()
        if self._thread.is_alive():
            self._thread.join()
        self._pool.shutdown(wait=True)

    def run_due(self) -> int:
        """Claim and run in this thread all that is due now; answers how many ran. For tests and tools."""
        claims = self._claim(limit=1000)
        for claim in claims:
            self.settle(claim)
        return len(claims)

    def settle(self, claim: Claim) -> None:
        """Run one reconciler and write down how it ended."""
        run = Run(self._database, claim, self._clock())
        try:
            look_again = self._reconcilers[claim.kind](run)
        except NotYet as waiting:
            at = self._clock() + timedelta(seconds=waiting.seconds)
            self._put_back(run, at=at, attempts=claim.attempts, why=waiting.why)
        except LeaseLost:
            log.warning("lease lost", kind=claim.kind, id=str(claim.id))
        except Exception as failure:  # noqa: BLE001 - whatever a reconciler meets, its resource stays due and says why
            self._failed(run, failure)
        else:
            self._settled(run, look_again)

    def _dispatch(self) -> None:
        while not self._stopping.is_set():
            try:
                self._claim_and_run()
            except UNREACHABLE as problem:
                log.warning("the database does not answer; trying again", problem=str(problem))
                self._stopping.wait(SHARED_LOOK)

    def _claim_and_run(self) -> None:
        self._database.bell.clear()
        self._sleeps_until = inf  # what is put back from here on may or may not be seen by this look
        with self._lock:
            free = self._free
        claims = self._claim(limit=free) if free else []
        for claim in claims:
            with self._lock:
                self._free -= 1
            self._pool.submit(self._work, claim)
        if len(claims) < free:  # nothing more is due now
            seconds = self._seconds_until_due()
            self._sleeps_until = monotonic() + seconds
            self._database.bell.wait(seconds)
        elif not free:
            self._database.bell.wait()

    def _work(self, claim: Claim) -> None:
        try:
            self.settle(claim)
        except UNREACHABLE as problem:  # its lease runs out, and it is claimed again
            log.warning(
                "could not write down how a run ended",
                kind=claim.kind,
                id=str(claim.id),
                problem=str(problem),
            )
        finally:
            with self._lock:
                self._free += 1
                is_only_one = self._free == 1
            if is_only_one:  # claims may wait for it
                self._database.bell.set()

    def _claim(self, *, limit: int) -> list[Claim]:
        """Lease what is due, in one statement: nobody else gets the same rows."""
        now = self._clock()
        if now < self._last_claim - STEP_BACK:
            self._forget_the_future(now)
        self._last_claim = now
        lease = uuid4()
        values = {"now": now, "most": limit, "new_lease": lease, "until": now + LEASE}
        with self._database.writing() as db:
            claimed = fetch_columns(db, self._claiming, **values)
        return [Claim(row.kind, row.id, lease, row.wakes, row.attempts) for row in claimed]

    def _forget_the_future(self, now: datetime) -> None:
        """Look at everything anew when the clock was set back: a look too early costs nothing, one too late is stuck."""
        log.warning("the clock was set back", by=str(self._last_claim - now))
        with self._database.writing() as db:
            db.execute(update(Due).where(Due.due_at > now).values(due_at=now, held_until=None))
            db.execute(update(Due).where(Due.leased_until > now + LEASE).values(leased_until=now + LEASE))

    def _seconds_until_due(self) -> float:
        longest = IDLE_LOOK if self._database.is_sqlite else SHARED_LOOK
        with self._database.reading() as db:
            soonest = fetch_columns(db, self._soonest)
        return min([max(self._seconds_until(at), 0.0) for (at,) in soonest] + [longest])

    def _seconds_until(self, at: datetime) -> float:
        return (at - self._clock()).total_seconds()

    def _settled(self, run: Run, look_again: datetime | None) -> None:
        if look_again is None and self._forget_due(run):
            return
        at = self._clock() if look_again is None else self._in_company(look_again)
        self._put_back(run, at=at, settled=True)

    def _in_company(self, look_again: datetime) -> datetime:
        """Put a look that is far off on a whole second, where others are: all of them are claimed at once."""
        if self._seconds_until(look_again) < FAR_OFF:
            return look_again
        return look_again.replace(microsecond=0) + timedelta(seconds=bool(look_again.microsecond))

    def _forget_due(self, run: Run) -> bool:
        """Let go of the lease for good; False when it was woken during the run."""
        with self._database.writing() as db:
            is_done = bool(fetch_columns(db, SETTLE, **held_by(run.claim), held_wakes=run.claim.wakes))
            if is_done:
                run.write_noted(db)
        return is_done

    def _failed(self, run: Run, failure: Exception) -> None:
        claim = run.claim
        attempts = claim.attempts + 1
        log.warning(
            "reconcile failed", kind=claim.kind, id=str(claim.id), attempts=attempts, exc_info=failure
        )
        seconds = min(FIRST_BACKOFF * 2 ** min(attempts - 1, 10), LONGEST_BACKOFF)
        at = self._clock() + timedelta(seconds=seconds)
        held = isinstance(failure, NotAtOnce)
        self._put_back(run, at=at, held=held, attempts=attempts, error=text_for_owner(failure))

    def _put_back(
        self,
        run: Run,
        *,
        at: datetime,
        settled: bool = False,
        held: bool = False,
        attempts: int = 0,
        why: str = "",
        error: str = "",
    ) -> None:
        """Let go of the lease and be due again at `at`; at once when it was woken during the run and is not held."""
        back = PUT_BACK_SETTLED if settled else PUT_BACK
        outcome = {"new_attempts": attempts, "new_why": why, "new_error": error, "is_held": held}
        if not settled:
            outcome["now"] = self._clock()
        with self._database.writing() as db:
            held_claim = {**held_by(run.claim), "held_wakes": run.claim.wakes}
            rows = fetch_columns(db, back, **held_claim, at=at, **outcome)
            if not rows:
                return
            (row,) = rows
            run.write_noted(db)
            self._log_if_overdue(db, row)
        if self._seconds_until(row.due_at) < self._sleeps_until - monotonic():
            self._database.bell.set()

    def _log_if_overdue(self, db: Session, row: FoundRow[*tuple[Any, ...]]) -> None:
        """Say once in the journal that something takes far too long: nothing is stuck unseen."""
        now = self._clock()
        if row.overdue or row.since is None or now - row.since < DEADLINE:
            return
        db.execute(update(Due).where(Due.kind == row.kind, Due.id == row.id).values(overdue=True))
        minutes = int(DEADLINE.total_seconds() // 60)
        text = f"not settled for {minutes} minutes: {row.error or row.why or 'no reason known'}"
        journal.log_event(
            db,
            EventName.WORK_OVERDUE,
            at=now,
            project_id="",
            subject_id=row.id,
            text=text,
            data=OverdueData(kind=row.kind, minutes=minutes),
        )

    def _listen(self) -> None:
        """Ring the bell when another process wakes something (PostgreSQL only); the regular look is the net under it."""
        import psycopg  # noqa: PLC0415 - takes 7 MiB, which a server on SQLite does without

        while not self._stopping.is_set():
            try:
                with psycopg.connect(self._database.libpq_url, autocommit=True) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    while not self._stopping.is_set():
                        for _ in connection.notifies(timeout=SHARED_LOOK, stop_after=1):
                            self._database.bell.set()
            except psycopg.OperationalError as problem:
                log.warning("cannot listen for wakes", problem=str(problem))
                self._stopping.wait(SHARED_LOOK)
