"""Taking events over into usage records, each once: an event that is in them does not bill any more, and may be forgotten."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import Select, Text, bindparam, cast, delete, or_, select, update
from sqlalchemy.orm import Session

from cumulet.db import change_each, fetch_built, fetch_columns, insert_rows, rows_of
from cumulet.journal import Event
from cumulet.usage.model import UsageRecord
from cumulet.usage.span import Charge, Span, Told, spans_of
from cumulet.usage.spend import Costs

AT_ONCE: Final = 500
"""Events in one transaction: some tens of milliseconds."""

RECORDS: Final = rows_of(UsageRecord)
EVENTS: Final = rows_of(Event)
TOLD: Final = select(*(getattr(Event, name) for name in Told._fields)).where(Event.bills).order_by(Event.id)
TOLD_OF_PROJECT: Final = TOLD.where(Event.project_id == bindparam("project_id"), Event.at < bindparam("end"))
TOLD_WITH_VM: Final = (
    TOLD_OF_PROJECT.with_only_columns(Event.subject_id)
    .where(Event.data["vm_id"].as_string() == bindparam("vm"))
    .order_by(None)
    .distinct()
)
"""What a VM was told to have."""
ANY: Final = select(Event.id).where(Event.bills).limit(1)
OLDEST: Final = TOLD.add_columns(Event.id).limit(AT_ONCE)
COLUMNS: Final = Span.__struct_fields__
SPANS: Final[Select[*tuple[Any, ...]]] = select(*(getattr(UsageRecord, name) for name in COLUMNS))
IN_TIME: Final = SPANS.where(
    UsageRecord.project_id == bindparam("project_id"),
    UsageRecord.since < bindparam("end"),
    or_(UsageRecord.until.is_(None), UsageRecord.until > bindparam("start")),
)
OF_VM: Final = SPANS.where(UsageRecord.vm_id == bindparam("vm_id"))
COSTS: Final = IN_TIME.with_only_columns(
    cast(UsageRecord.charges, Text), UsageRecord.resource_id, UsageRecord.since, UsageRecord.until
)
CHARGES: Final = msgspec.json.Decoder(tuple[Charge, ...])

FORGET_OPEN: Final = delete(RECORDS).where(
    RECORDS.c.resource_id == bindparam("of"), RECORDS.c.until.is_(None)
)
TAKEN: Final = update(EVENTS).where(EVENTS.c.id == bindparam("event_id")).values(bills=False)


def is_anything_told(db: Session) -> bool:
    """Whether an event is not in the usage records yet."""
    return bool(fetch_columns(db, ANY))


def take_over(db: Session) -> int:
    """Take a part of what was told into the usage records, and say how many events that were."""
    rows = fetch_columns(db, OLDEST)
    told = [Told(*row[:-1]) for row in rows]
    open_spans = read_open(db, {event.subject_id for event in told})
    spans = [span for of_one in followed(open_spans, told) for span in of_one]
    change_each(db, FORGET_OPEN, [{"of": id} for id in open_spans])
    insert_rows(db, UsageRecord, [row_of(span) for span in spans])
    change_each(db, TAKEN, [{"event_id": row[-1]} for row in rows])
    return len(rows)


def read_spans(db: Session, project_id: str, start: datetime, end: datetime) -> list[Span]:
    """Give what a project used in a time, by the records and by what was told since they were written.

    A span may begin before that time, and end after it or never.
    """
    spans = list(map(span_of, fetch_columns(db, IN_TIME, project_id=project_id, start=start, end=end)))
    told = read_told(db, project_id, end)
    subjects = {event.subject_id for event in told}
    going_on = {one.resource_id: one for one in spans if one.until is None and one.resource_id in subjects}
    return [one for one in gone_on(spans, going_on, told) if one.until is None or one.until > start]


def read_spans_of_vm(db: Session, vm_id: UUID, project_id: str, end: datetime) -> list[Span]:
    """Give what a VM used likewise, from its beginning on, with its disks while it had them; others' are not looked at."""
    spans = list(map(span_of, fetch_columns(db, OF_VM, vm_id=vm_id)))
    had = fetch_columns(db, TOLD_WITH_VM, project_id=project_id, end=end, vm=str(vm_id))
    own = {vm_id, *(one.resource_id for one in spans if one.until is None), *(id for (id,) in had)}
    of_own = TOLD_OF_PROJECT.where(Event.subject_id.in_(own))
    told = [Told(*row) for row in fetch_built(db, of_own, project_id=project_id, end=end)]
    going_on = read_open(db, {event.subject_id for event in told}) if told else {}
    return [one for one in gone_on(spans, going_on, told) if one.vm_id == vm_id]


def read_told(db: Session, project_id: str, end: datetime) -> list[Told]:
    """Give what was told of a project before an instant and is in no record."""
    return [Told(*row) for row in fetch_columns(db, TOLD_OF_PROJECT, project_id=project_id, end=end)]


def gone_on(spans: Iterable[Span], going_on: Mapping[UUID, Span], told: Sequence[Told]) -> Iterator[Span]:
    """Have what was told since follow the records of those it was told of, which are open."""
    subjects = {event.subject_id for event in told}
    yield from (one for one in spans if one.until is not None or one.resource_id not in subjects)
    for of_one in followed(going_on, told):
        yield from of_one


def read_costs(db: Session, project_id: str, start: datetime, end: datetime) -> list[Costs]:
    """Give what a project used in a time, only by what it costs: that is alike for most, and takes no look at each span."""
    told = read_told(db, project_id, end)
    going_on = read_open(db, {event.subject_id for event in told}) if told else {}
    costs: dict[str, list[tuple[datetime, datetime | None]]] = defaultdict(list)
    for charges, resource_id, since, until in fetch_columns(
        db, COSTS, project_id=project_id, start=start, end=end
    ):
        if until is not None or resource_id not in going_on:
            costs[charges].append((since, until))
    newer = (one for of_one in followed(going_on, told) for one in of_one)
    return [
        *((CHARGES.decode(charges), times) for charges, times in costs.items()),
        *((one.charges, [(one.since, one.until)]) for one in newer if one.until is None or one.until > start),
    ]


def followed(open_spans: Mapping[UUID, Span], told: Iterable[Told]) -> Iterable[Iterable[Span]]:
    """Go on with each resource of which something was told."""
    by_subject: dict[UUID, list[Told]] = defaultdict(list)
    for event in told:
        by_subject[event.subject_id].append(event)
    return (spans_of(open_spans.get(subject_id), events) for subject_id, events in by_subject.items())


def read_open(db: Session, subject_ids: Iterable[UUID]) -> dict[UUID, Span]:
    """Give the spans of these resources that go on."""
    going_on = SPANS.where(UsageRecord.resource_id.in_(list(subject_ids)), UsageRecord.until.is_(None))
    return {span.resource_id: span for span in map(span_of, fetch_built(db, going_on))}


def span_of(row: Sequence[Any]) -> Span:
    """Read a record."""
    return msgspec.convert(dict(zip(COLUMNS, row, strict=True)), Span)


def row_of(span: Span) -> dict[str, Any]:
    """Write a record."""
    return {
        **{name: getattr(span, name) for name in COLUMNS},
        "id": uuid4(),
        "charges": msgspec.to_builtins(span.charges),
    }
