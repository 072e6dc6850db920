"""One call of an operation: who asks, what they ask for, one transaction, the answer. It runs in a thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, partial
from typing import Any, Final, Protocol

from sqlalchemy import exc
from sqlalchemy.orm import Session

from cumulet import audit
from cumulet.call.key_uses import KeyUses, WriteUses
from cumulet.call.let_in import LetIn, Who
from cumulet.call.reachable import reachable
from cumulet.call.repeats import Repeatable, content_of
from cumulet.db import Database, was_forgotten
from cumulet.errors import CumuletError, Forbidden, NotFound, Unauthenticated, Unavailable
from cumulet.operation import Access, Caller, Operation
from cumulet.projects import digest_of
from cumulet.projects.tries import Tries

ATTEMPTS: Final = 3
RACE_STATES: Final = frozenset({"40001", "40P01"})
"""PostgreSQL: serialization failure, deadlock."""
PASSING: Final = frozenset({"db", "caller", "now", "origin", "prepared", "tries"})
"""What is another for each call."""


class Admit(Protocol):
    """Tells whose key it is and that they may; Unauthenticated, NotFound, Forbidden."""

    def __call__(
        self, db: Session, key: str, operation: Operation, *, project_id: str, now: datetime
    ) -> Caller:
        """Give the caller of an operation, about the project that its path names."""


class Request(Protocol):
    """What a transport has of one request; what it cannot read it refuses when it is asked for that."""

    @property
    def origin(self) -> str:
        """Scheme and authority by which the caller reached us: `https://cloud.example`."""

    @property
    def address(self) -> str:
        """Where it came from."""

    def key(self) -> str:
        """Give the API key; Unauthenticated without one."""

    def named(self, parameter: str) -> str:
        """Give what the path names so."""

    def idempotency_key(self) -> str:
        """Give what the caller calls this request, to send it again; empty for nothing, Invalid when it cannot be one."""

    def arguments(self) -> dict[str, Any]:
        """Give what the caller sent, by the names of the function's parameters; Invalid when it does not fit."""


@dataclass(frozen=True)
class Calls:
    """What all calls need."""

    database: Database
    admit: Admit
    provided: Mapping[str, object]
    """What operations may ask for by name besides what is another for each call."""
    clock: Callable[[], datetime]
    write_uses: WriteUses | None = None
    """Writes down when keys were used."""

    @cached_property
    def uses(self) -> KeyUses:
        """Keep account of the use of keys, for all operations together."""
        return KeyUses(self.database, self.clock, self.write_uses)

    @cached_property
    def let_in(self) -> LetIn:
        """Keep in mind who was let in, likewise."""
        return LetIn()


class Call:
    """An operation together with all that it needs; made once, for each of its calls."""

    def __init__(self, operation: Operation, calls: Calls) -> None:
        self.operation = operation
        self._database = calls.database
        self._admit = calls.admit
        self._clock = calls.clock
        self._uses = calls.uses
        self._let_in = calls.let_in
        standing = operation.provided - PASSING
        if lacking := standing - calls.provided.keys():
            raise ValueError(f"{operation.name} asks for {', '.join(lacking)}, which nobody provides")
        self._standing = {name: calls.provided[name] for name in standing}

    def answer(self, request: Request) -> object:
        """Do what was asked; what it changed is committed when its answer is given."""
        return self.ask(request)[0]

    def ask(self, request: Request) -> tuple[object, Caller | None]:
        """Do likewise, and say who asked."""
        with reachable():
            return self._read(request) if self.operation.reads_only else self._write(request)

    def _read(self, request: Request) -> tuple[object, Caller | None]:
        with self._database.reading() as db:
            caller = self._caller(db, request)
            return self._call(db, caller, request, request.arguments(), self._tries(request)), caller

    def _write(self, request: Request) -> tuple[object, Caller | None]:
        """Look who asks, and for what, before the one writer's lock is taken; and again who, once it is."""
        who = self._who(request)
        caller = None if who in self._let_in else self._look(request)
        try:
            arguments = request.arguments()
            repeatable = self._repeatable(request, arguments)
        except CumuletError:
            self._look(request)  # who was let in lately may not be now: then that is what they are told
            raise
        tries = self._tries(request)
        prepared = self._prepared(caller, request, arguments, tries)
        do = partial(self._do, request, arguments, tries, prepared)
        try:
            for _ in range(ATTEMPTS):
                try:
                    with self._database.writing() as db:
                        return self._change(db, partial(self._admitted, who, db, request), do, repeatable)
                except exc.DBAPIError as problem:
                    if not lost_a_race(problem):
                        raise
            raise Unavailable("other requests are changing the same resource right now; try again")
        finally:
            tries.end()

    def _who(self, request: Request) -> Who | None:
        """Name who asks for what, if it is enough to look at them under the lock: some work before it is for known callers."""
        if self.operation.prepare is not None or self.operation.access is Access.OPEN:
            return None
        try:
            return digest_of(request.key()), self.operation.name, project_of(self.operation, request)
        except Unauthenticated:
            return None

    def _look(self, request: Request) -> Caller | None:
        """Give who asks; None for one who may not and has named the request, for they may have had it done."""
        with self._database.reading() as db:
            try:
                return self._caller(db, request)
            except (NotFound, Forbidden):
                if not request.idempotency_key():
                    raise
                return None

    def _change(
        self,
        db: Session,
        admit: Callable[[], Caller | None],
        do: Callable[[Session, Caller | None], object],
        repeatable: Repeatable | None,
    ) -> tuple[object, Caller | None]:
        """Do it in a transaction that writes, for whom that lets in, unless it is a repeat."""
        if repeatable is not None:
            return repeatable.once(db, admit, partial(do, db), now=self._clock())
        caller = admit()
        return do(db, caller), caller

    def _admitted(self, who: Who | None, db: Session, request: Request) -> Caller | None:
        """Give who asks, and keep in mind whether they were let in."""
        try:
            caller = self._caller(db, request)
        except CumuletError:
            self._let_in.forget(who)
            raise
        self._let_in.note(who)
        return caller

    def _repeatable(self, request: Request, arguments: dict[str, Any]) -> Repeatable | None:
        key = request.idempotency_key()
        if not key or self.operation.access is Access.OPEN:
            return None
        return Repeatable(request.key(), key, self.operation.name, content=content_of(arguments))

    def _prepared(
        self, caller: Caller | None, request: Request, arguments: dict[str, Any], tries: Tries
    ) -> object:
        """Do what takes no lock; who may not call is refused later."""
        prepare, is_open = self.operation.prepare, self.operation.access is Access.OPEN
        if prepare is None or not (caller or is_open):
            return None
        return prepare(
            **self._standing,
            database=self._database,
            caller=caller,
            tries=tries,
            origin=request.origin,
            data=arguments["data"],
        )

    def _tries(self, request: Request) -> Tries:
        return Tries(self._database, request.address, self._clock())

    def _do(
        self,
        request: Request,
        arguments: dict[str, Any],
        tries: Tries,
        prepared: object,
        db: Session,
        caller: Caller | None,
    ) -> object:
        answer = self._call(db, caller, request, arguments, tries, prepared)
        if not was_forgotten(db):
            act = act_of(self.operation, request, arguments, answer, caller=caller)
            audit.record(db, act, now=self._clock())
        return answer

    def _caller(self, db: Session, request: Request) -> Caller | None:
        if self.operation.access is Access.OPEN:
            return None
        try:
            caller = self._admit(
                db,
                request.key(),
                self.operation,
                project_id=project_of(self.operation, request),
                now=self._clock(),
            )
        except CumuletError as refused:
            refused.kept_out = True
            raise
        self._uses.note(caller.key_digest)
        return caller

    def _call(
        self,
        db: Session,
        caller: Caller | None,
        request: Request,
        arguments: dict[str, Any],
        tries: Tries,
        prepared: object = None,
    ) -> object:
        passing = {
            "db": db,
            "caller": caller,
            "now": self._clock(),
            "origin": request.origin,
            "prepared": prepared,
            "tries": tries,
        }
        needed = {name: value for name, value in passing.items() if name in self.operation.provided}
        try:
            return self.operation.function(**needed, **self._standing, **arguments)
        except CumuletError as refused:
            if caller and caller.is_operator:
                refused.message = refused.for_operator
            raise


def project_of(operation: Operation, request: Request) -> str:
    """Give the project that a request is about; empty for none."""
    return request.named(operation.project_name) if operation.project_name else ""


def act_of(
    operation: Operation,
    request: Request,
    arguments: Mapping[str, Any],
    answer: object = None,
    *,
    caller: Caller | None = None,
) -> audit.Act:
    """Say what was asked, as the audit keeps it."""
    act = audit.Act(
        operation=operation.name,
        address=request.address,
        project_id=project_of(operation, request),
        target=audit.target_of(arguments, answer, besides=operation.project_name),
    )
    if caller is None:
        return act
    return replace(act, user_id=caller.user_id, email=caller.email, key_id=caller.key_id)


def lost_a_race(problem: exc.DBAPIError) -> bool:
    """Tell whether another transaction came first: run again, the second look sees what it did."""
    return isinstance(problem, exc.IntegrityError) or getattr(problem.orig, "sqlstate", None) in RACE_STATES
