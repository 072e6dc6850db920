"""One operation behind its URL: who asks, what he asks for, one transaction, the answer as bytes.

Everything that can be known before the first request is worked out when the endpoint is made. It runs in a thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import exc
from sqlalchemy.orm import Session

from cumulet.db import UNREACHABLE, Database
from cumulet.errors import CumuletError, Unavailable
from cumulet.operation import Access, Caller, Operation
from cumulet.rest.binding import Asked, Binding, bearer_key
from cumulet.rest.faults import JSON
from cumulet.rest.kept import KeptAnswers, question
from cumulet.wire import File

ATTEMPTS: Final = 3
RACE_STATES: Final = frozenset({"40001", "40P01"})
"""PostgreSQL: serialization failure, deadlock."""

Authenticate = Callable[[Session, str], Caller]
"""Tells whose key it is, or raises Unauthenticated."""


class Endpoint:
    """An operation together with all that it needs."""

    def __init__(
        self,
        operation: Operation,
        database: Database,
        *,
        authenticate: Authenticate,
        provided: Mapping[str, object],
        kept: KeptAnswers,
        clock: Callable[[], datetime],
    ) -> None:
        self.operation = operation
        self._binding = Binding(operation)
        self._database = database
        self._authenticate = authenticate
        self._kept = kept
        self._clock = clock
        self.media_type = JSON
        self._encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode
        if issubclass(operation.answer, File):
            self.media_type, self._encode = operation.answer.media_type, bytes
        standing = operation.provided - {"db", "caller", "now", "origin"}
        if lacking := standing - provided.keys():
            raise ValueError(f"{operation.name} asks for {', '.join(lacking)}, which nobody provides")
        self._standing = {name: provided[name] for name in standing}

    def at_hand(self, asked: Asked) -> bytes | None:
        """Give the answer if it takes no time: one that is kept, where the database can be asked in no time."""
        if not (self.operation.lasts_until_a_commit and self._database.is_sqlite):
            return None
        with reachable():
            return self._kept.find(question(self.operation, asked), self._database.version())

    def answer(self, asked: Asked) -> bytes:
        """Do what was asked and give the answer as it is sent; what it changed is committed by then."""
        with reachable():
            if self.operation.lasts_until_a_commit:
                return self._recall(asked)
            return self._read(asked) if self.operation.reads_only else self._write(asked)

    def _recall(self, asked: Asked) -> bytes:
        """Give the kept answer, or read it; the version is asked for first: see `KeptAnswers`."""
        asking = question(self.operation, asked)
        with self._kept.turn(asking) as (turn, shared):
            if shared is not None:
                return shared
            began, version = time.perf_counter_ns(), self._database.version()
            answer = self._kept.find(asking, version)
            if answer is None:
                answer = self._read(asked)
                self._kept.keep(asking, version, answer)
            turn.give(began, answer)
        return answer

    def _read(self, asked: Asked) -> bytes:
        with self._database.reading() as db:
            caller = self._caller(db, asked)
            return self._encode(self._call(db, caller, asked, self._binding.arguments(asked)))

    def _write(self, asked: Asked) -> bytes:
        """Look who asks, and for what, before the one writer's lock is taken."""
        with self._database.reading() as db:
            caller = self._caller(db, asked)
        arguments = self._binding.arguments(asked)
        for _ in range(ATTEMPTS):
            try:
                with self._database.writing() as db:
                    answer = self._call(db, caller, asked, arguments)
                return self._encode(answer)
            except exc.DBAPIError as problem:
                if not lost_a_race(problem):
                    raise
        raise Unavailable("others change the same thing at this moment; try again")

    def _caller(self, db: Session, asked: Asked) -> Caller | None:
        if self.operation.access is Access.OPEN:
            return None
        return self._authenticate(db, bearer_key(asked.authorization))

    def _call(self, db: Session, caller: Caller | None, asked: Asked, arguments: dict[str, Any]) -> object:
        passing = {"db": db, "caller": caller, "now": self._clock(), "origin": asked.origin}
        needed = {name: value for name, value in passing.items() if name in self.operation.provided}
        try:
            return self.operation.function(**needed, **self._standing, **arguments)
        except CumuletError as refused:
            if caller and caller.is_operator:
                refused.message = refused.for_operator
            raise


@contextmanager
def reachable() -> Iterator[None]:
    """Tell a caller in our words that the database cannot be asked."""
    try:
        yield
    except UNREACHABLE as problem:
        raise Unavailable("the database does not answer now; try again in a moment") from problem


def lost_a_race(problem: exc.DBAPIError) -> bool:
    """Tell whether another transaction came first: run again, the second look sees what it did."""
    return isinstance(problem, exc.IntegrityError) or getattr(problem.orig, "sqlstate", None) in RACE_STATES
