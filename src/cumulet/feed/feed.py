"""One look at the journal for all who follow it in this process, however many they are.

    commit ─▶ bell ─▶ one look, in a thread ─▶ the newest events ─▶ a bell for each follower they may be for

Nothing is queued for anybody: a follower has a place in the journal, and reads on from there once it has sent what it
read before: from the newest events, or, when it is slow or resumes, from the database. So a follower costs the same
however slow they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import structlog
from anyio import to_thread
from sqlalchemy import select

from cumulet.db import UNREACHABLE, Database
from cumulet.errors import OUR_MISTAKE, CumuletError, Exhausted, Unavailable
from cumulet.feed.choice import EVERY, Choice
from cumulet.feed.newest import AT_HAND, Newest, Told
from cumulet.horizon import Horizon
from cumulet.journal import CHANNEL, Event
from cumulet.operation import Access, Caller
from cumulet.projects import find_caller, permit

log = structlog.get_logger()

AT_ONCE: Final = 200
"""Events that are read, or sent, together."""
PAUSE: Final = 0.01
"""Seconds from a look to the next at least: many commits in a moment are one look."""
UNSETTLED: Final = 0.02
"""Seconds until the next look while others write: nobody announces it when one of them gives up."""
SHARED_IDLE: Final = 1.0
"""Seconds until the next look when nothing is heard, where other processes may write: the net under a lost word."""
CHECK_SECONDS: Final = 5.0
"""How long somebody who lost their right may listen on."""


Right = tuple[bytes, str]
"""A key, by its digest, and the project that it lets look at."""


@dataclass(slots=True, eq=False)
class Follower:
    """Somebody who follows a project's events."""

    caller: Caller
    choice: Choice
    bell: asyncio.Event = field(default_factory=asyncio.Event)
    """Rung when there may be something new for them, and at the end."""
    end: CumuletError | None = None
    """Why they are told nothing more."""

    @property
    def right(self) -> Right:
        """What it rests on that they are told."""
        return self.caller.key_digest, self.choice.project_id

    def dismiss(self, why: CumuletError) -> None:
        """Tell them nothing more."""
        self.end = self.end or why
        self.bell.set()


class Feed:
    """The followers of this process, all in one event loop. While there are none, nothing is looked at."""

    def __init__(
        self,
        database: Database,
        horizon: Horizon,
        *,
        most_of_one: int,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._horizon = horizon
        self._most_of_one = most_of_one
        self._clock = clock
        self._followers: set[Follower] = set()
        self._closed: Unavailable | None = None
        self._newest: Newest | None = None
        self._looking: asyncio.Task[None] | None = None
        self._began = self._bell = asyncio.Event()

    @property
    def place(self) -> int:
        """Up to this event the journal has been looked at."""
        return self._newest.place if self._newest else 0

    def refuse_beyond(self, user_id: UUID) -> None:
        """Refuse one more stream of somebody who has enough: Exhausted."""
        theirs = sum(one.caller.user_id == user_id for one in tuple(self._followers))
        if theirs >= self._most_of_one:
            raise Exhausted(
                f"you have {theirs} streams of events open, the most that one user may have on a server: close one first"
            )

    @asynccontextmanager
    async def following(self, caller: Caller, choice: Choice) -> AsyncIterator[Follower]:
        """Have somebody told of what comes for as long as the block lasts."""
        self.refuse_beyond(caller.user_id)
        follower = Follower(caller, choice, end=self._closed)
        self._followers.add(follower)
        try:
            if self._looking is None or self._looking.done():
                self._newest, self._began, self._bell = None, asyncio.Event(), asyncio.Event()
                self._looking = asyncio.create_task(self._look_on())
            await self._began.wait()
            yield follower
        finally:
            self._followers.discard(follower)
            self._bell.set()

    def close(self) -> None:
        """End all streams, for the server ends."""
        self._closed = Unavailable("the server stops; reconnect in a moment")
        for follower in self._followers:
            follower.dismiss(self._closed)

    async def read(self, choice: Choice, place: int) -> tuple[Sequence[bytes], int]:
        """Give what was told of a choice after a place in the journal, a part of it if it is much, and the place after that."""
        upto = self.place
        told = self._newest.after(place, AT_ONCE) if self._newest else None
        if told is None:
            told = await to_thread.run_sync(self._read_older, choice, place, upto)
        end = told[-1].number if len(told) == AT_ONCE else max(place, upto)
        return [one.line for one in told if choice.takes(one.event)], end

    def _read_older(self, choice: Choice, after: int, upto: int) -> Sequence[Told]:
        part = select(Event).where(*choice.where(), Event.id > after, Event.id <= upto)
        with self._database.reading() as db:
            return [Told.of(event) for event in db.scalars(part.order_by(Event.id).limit(AT_ONCE))]

    async def _look_on(self) -> None:
        """Look for as long as somebody follows."""
        loop, bell = asyncio.get_running_loop(), self._bell

        def hear() -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(bell.set)

        self._database.hear_events.add(hear)
        listening = None if self._database.is_sqlite else asyncio.create_task(self._listen(bell))
        try:
            while self._followers:
                await self._look_and_check()
        finally:
            self._database.hear_events.discard(hear)
            if listening is not None:
                listening.cancel()
            self._began.set()
            for follower in self._followers:
                follower.dismiss(CumuletError(OUR_MISTAKE))

    async def _look_and_check(self) -> None:
        """Look whenever the bell rings, until it is time to look who may still listen."""
        loop = asyncio.get_running_loop()
        until = loop.time() + CHECK_SECONDS
        while self._followers and (left := until - loop.time()) > 0:
            self._bell.clear()
            is_all = await self._look()
            idle = left if self._database.is_sqlite else min(left, SHARED_IDLE)
            await asyncio.sleep(PAUSE)
            with suppress(TimeoutError):
                async with asyncio.timeout(idle if is_all else UNSETTLED):
                    await self._bell.wait()
        await self._check()

    async def _look(self) -> bool:
        """Look once, and ring for those whose projects have something new; gives whether that was all."""
        try:
            told, upto, is_all = await to_thread.run_sync(self._read_newest)
        except UNREACHABLE as problem:
            log.warning("the database does not answer; trying again", problem=str(problem))
            return True
        if upto is None:
            return is_all
        if self._newest is None:
            self._newest = Newest(upto)
            self._began.set()
        self._newest.add(told, upto)
        projects = {one.event.project_id for one in told}
        for follower in self._followers:
            if follower.choice.project_id in {*projects, EVERY}:
                follower.bell.set()
        return is_all

    def _read_newest(self) -> tuple[Sequence[Told], int | None, bool]:
        """Read what is settled since the last look, a part of it if it is much: what, up to where, and whether that is all."""
        settled = self._horizon.look()
        if self._newest is None or settled.upto is None:
            return (), settled.upto, settled.is_all
        newer = select(Event).where(Event.id > self.place, Event.id <= settled.upto)
        with self._database.reading() as db:
            told = [Told.of(event) for event in db.scalars(newer.order_by(Event.id).limit(AT_HAND))]
        if len(told) == AT_HAND:
            return told, told[-1].number, False
        return told, settled.upto, settled.is_all

    async def _check(self) -> None:
        """Dismiss those who have lost their right; a database that does not answer now is asked the next time."""
        rights = {one.right for one in self._followers}
        with suppress(*UNREACHABLE):
            lost = await to_thread.run_sync(self._find_lost, rights)
            for one in self._followers:
                if why := lost.get(one.right):
                    one.dismiss(why)

    def _find_lost(self, rights: Collection[Right]) -> Mapping[Right, CumuletError]:
        lost = {}
        with self._database.reading() as db:
            for key_digest, project_id in rights:
                try:
                    known = find_caller(db, key_digest, project_id=project_id, now=self._clock())
                    permit(db, known, access_to(project_id), changes=False)
                except CumuletError as why:
                    lost[key_digest, project_id] = why
        return lost

    async def _listen(self, bell: asyncio.Event) -> None:
        """Ring the bell when another process tells of something (PostgreSQL only); the regular look is the net under it."""
        import psycopg  # noqa: PLC0415 - takes 7 MiB, which a server on SQLite does without

        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._database.libpq_url, autocommit=True
                ) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    async for _ in connection.notifies():
                        bell.set()
            except psycopg.OperationalError as problem:
                log.warning("cannot listen for events", problem=str(problem))
                await asyncio.sleep(SHARED_IDLE)


def access_to(project_id: str) -> Access:
    """Say what it takes to be told of a project, or of every one."""
    return Access.AUDITOR if project_id == EVERY else Access.VIEWER
