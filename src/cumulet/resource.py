"""What all resources of a project have in common: a name in it, what its owner wants of them, and a line in the journal.

A slice adds what only it knows; finding, locking, refusing a taken name, writing columns and logging stand here once.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any, ClassVar, NamedTuple, TypeVar
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Select, bindparam, func, select, true
from sqlalchemy.orm import Mapped, Session, mapped_column

from cumulet import journal
from cumulet.db import Row, fetch_columns, names_there, update_row
from cumulet.due import Kind, wake
from cumulet.errors import AlreadyExists, Exhausted, NotFound, Refused, error_info
from cumulet.events import EventData, EventName
from cumulet.operation import Caller
from cumulet.plurals import plural
from cumulet.reconcile import NotYet, Run


class Wanted(enum.Enum):
    """What its owner wants of a resource."""

    ACTIVE = "ACTIVE"
    STOPPED = "STOPPED"
    KEPT = "KEPT"
    """There; of a disk also: attached to its VM if it has one."""
    DETACHED = "DETACHED"
    """Out of its VM, which has it until the guest lets go, or until it is gone itself."""
    DELETED = "DELETED"


class Resource(Row):
    """The base of the tables of what a project owns."""

    __abstract__ = True

    kind: ClassVar[Kind]
    """Its reconciler's."""
    called: ClassVar[str]
    """What people call it."""
    INTENT: ClassVar[tuple[str, ...]] = ("wanted",)
    """What its owner changes, and what follows from it: nobody else writes one of these over a change of any."""

    GONE_AT_ONCE: ClassVar[bool] = False
    """One that is to be deleted cannot be found any more."""

    id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    name: Mapped[str]
    """The owner's id for it, unique in the project."""
    wanted: Mapped[Wanted]

    def event_data(self) -> EventData:
        """Describe it as it is now, for programs that read the journal."""
        raise NotImplementedError

    @property
    def is_going(self) -> bool:
        """It is being deleted: what it holds will be free soon."""
        return self.wanted is Wanted.DELETED

    @classmethod
    def is_found(cls) -> ColumnElement[bool]:
        """Say which rows can be found by name."""
        return cls.wanted != Wanted.DELETED if cls.GONE_AT_ONCE else true()


R = TypeVar("R", bound=Resource)


class Event(NamedTuple):
    """A line for the journal about a resource."""

    name: EventName
    text: str


@cache
def _named(of: type[R]) -> Select[R]:
    return select(of).where(
        of.project_id == bindparam("project_id"), of.name == bindparam("name"), of.is_found()
    )


@cache
def _taken(of: type[Resource]) -> Select[UUID]:
    return select(of.id).where(of.project_id == bindparam("project_id"), of.name == bindparam("name"))


@cache
def _intent(of: type[Resource]) -> Select[*tuple[Any, ...]]:
    return select(*(getattr(of, name) for name in of.INTENT)).where(of.id == bindparam("id"))


def find(db: Session, of: type[R], project_id: str, name: str) -> R:
    """Find a project's resource; NotFound."""
    row: R | None = db.scalar(_named(of), {"project_id": project_id, "name": name})
    if row is None:
        known = names_there(db, of.name, of.project_id == project_id, of.is_found())
        raise NotFound.named(of.called, name, known)
    return row


def lock(db: Session, row: R) -> R:
    """Read a resource anew and keep others from changing it until the transaction ends; NotFound when it is gone."""
    locked = db.get(type(row), row.id, populate_existing=True, with_for_update=True)
    if locked is None or (locked.GONE_AT_ONCE and locked.wanted is Wanted.DELETED):
        raise NotFound.named(row.called, row.name)
    return locked


def lock_to_change(db: Session, seen: R, *, now: datetime) -> R:
    """Lock a resource for a verb, and have it looked at once that is done; NotFound when it is gone.

    It is woken first and locked after: reconcilers too lock the due row before the resource's, so they take turns.
    """
    wake(db, seen.kind, seen.id, now=now)
    return lock(db, seen)


def refuse_taken(db: Session, of: type[R], project_id: str, name: str, *, field: str) -> None:
    """Refuse a name that another resource of this kind has in the project: AlreadyExists."""
    for (id,) in fetch_columns(db, _taken(of), project_id=project_id, name=name):
        message = f"{field}: there is already a {of.called} {name!r} in project {project_id!r}"
        raise AlreadyExists(message, passing=db.get_one(of, id).is_going)


def refuse_beyond(db: Session, of: type[R], project_id: str, *, most: int) -> None:
    """Refuse one more resource of this kind when the project, which is locked, has `most` of it: Exhausted."""
    there = db.scalar(select(func.count()).select_from(of).where(of.project_id == project_id)) or 0
    if there >= most:
        raise Exhausted(
            f"project {project_id!r} has {plural(there, of.called)}, the most that it may have: delete one first"
        )


def protected(row: Resource, way_out: str) -> Refused:
    """Refuse what would end a resource that its owner protects; the contract has no reason of its own for that."""
    refused = Refused(
        f"{row.called} {row.name!r} is protected from deletion: {way_out}",
        reason="ERROR_REASON_UNSPECIFIED",
        subject=row.name,
    )
    refused.details.append(error_info("DELETION_PROTECTED"))
    return refused


def log_event(
    db: Session,
    row: Resource,
    name: EventName,
    text: str,
    *,
    now: datetime,
    actor: str = journal.SYSTEM,
    **more: Any,  # noqa: ANN401 - a member of its data
) -> None:
    """Write into the journal what became of a resource; `more` goes into its data."""
    data = row.event_data()
    journal.log_event(
        db,
        name,
        at=now,
        project_id=row.project_id,
        subject_id=row.id,
        text=text,
        actor=actor,
        data=msgspec.structs.replace(data, **more) if more else data,
    )


def log_request(
    db: Session,
    caller: Caller,
    row: Resource,
    name: EventName,
    text: str,
    *,
    now: datetime,
    **more: Any,  # noqa: ANN401 - a member of its data
) -> None:
    """Write into the journal who asked for what."""
    log_event(db, row, name, text, now=now, actor=caller.email, **more)


def change(run: Run, row: Resource, values: Mapping[str, Any], *events: Event) -> None:
    """Write columns and the events that tell why in one transaction; the copy at hand follows.

    NotYet when its owner requested something else since the copy was read: what was seen must not overrule them.
    """
    with changing(run, row, values, *events):
        pass


def note(run: Run, row: Resource, values: Mapping[str, Any], *events: Event) -> None:
    """Write the same, but `wanted`, with the run's next transaction or its end: for what would be seen again if that never came.

    The copy follows at once. Nothing is written when its owner requested something else since the copy was read.
    """

    def write(db: Session) -> None:
        if not overtaken(db, row, values):
            _write(db, run, row, values, events)

    for name, value in values.items():
        setattr(row, name, value)
    run.noted.append(write)


@contextmanager
def changing(run: Run, row: Resource, values: Mapping[str, Any], *events: Event) -> Iterator[Session]:
    """Change it likewise, with what else belongs into that transaction."""
    with run.writing() as db:
        if overtaken(db, row, values):
            raise NotYet("its owner requested something else", 0)
        for name, value in values.items():
            setattr(row, name, value)
        _write(db, run, row, values, events)
        yield db


def _write(db: Session, run: Run, row: Resource, values: Mapping[str, Any], events: Iterable[Event]) -> None:
    if values:
        update_row(db, type(row), row.id, **values)
    for event in events:
        log_event(db, row, event.name, event.text, now=run.now)


def overtaken(db: Session, row: Resource, values: Mapping[str, Any]) -> bool:
    """Whether its owner asked for something since the copy was read that these values would undo."""
    (now,) = fetch_columns(db, _intent(type(row)), id=row.id)
    which = ("wanted",) if values.keys().isdisjoint(row.INTENT) else row.INTENT
    return any(getattr(now, name) != getattr(row, name) for name in which)
