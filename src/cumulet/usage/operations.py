"""What was used and spent: the API's verbs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet import journal
from cumulet.errors import Invalid, NotFound
from cumulet.events import EventName
from cumulet.operation import Access, Caller, operation
from cumulet.projects import Project, begin_of_project, is_seen, lock_project
from cumulet.usage.limit import set_limit
from cumulet.usage.report import plan_query, unit_of, usage_report
from cumulet.usage.settle import read_costs, read_spans, read_spans_of_vm
from cumulet.usage.span import Span
from cumulet.usage.spend import HOUR, Costs, amount, month_of, rounded_hours, spending, tally
from cumulet.usage.wire import (
    BillingAccountSpendRow,
    GetBillingAccountSpendDetailsResponse,
    SetSpendLimit,
    SpendResponse,
    Unit,
    UsageResponse,
)
from cumulet.vm_record import find_vm
from cumulet.wire import Amount, utc

LIMIT: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
UNITS: Final = {"hour": Unit.HOUR, "GiB hour": Unit.GIB_HOUR}


@operation("GET /v1/projects/{projectId}/usage", access=Access.VIEWER)
def get_project_usage(
    db: Session,
    *,
    now: datetime,
    project_id: str,
    start_time: datetime | None = None,
    end_time: datetime | None = None,
    by: list[str] = [],  # noqa: B006 - nobody changes it
    label: str = "",
) -> UsageResponse:
    """Show what the project used and spent, to the second: by default in this month so far, a row for each resource.

    `by`, repeated, says by what it is added up: `hour`, `day` or `month`, by UTC, `resource`, `item` and price, and
    `label`, whose key `label` is.
    """
    start = utc(start_time) if start_time else month_of(now)[0]
    end = min(utc(end_time), now) if end_time else now
    query = plan_query(start.replace(microsecond=0), end.replace(microsecond=0), by or ["resource"], label)
    return usage_report(spans_of_project(db, project_id, query.start, query.end), query)


@operation("GET /v1/projects/{projectId}/spend", access=Access.VIEWER)
def get_project_spend(db: Session, *, now: datetime, project_id: str) -> SpendResponse:
    """Show what the project has spent in this month, what an hour costs as things are, and what the month will come to."""
    project = db.get_one(Project, project_id)
    first, following = month_of(now)
    spent, hourly = spending(costs_of_project(db, project_id, first, now), first, now)
    left = Decimal(int((following - now).total_seconds()))
    return SpendResponse(
        start_time=first,
        end_time=following,
        amount=Amount.of(spent),
        hourly_rate=Amount.of(hourly),
        forecast=Amount.of(spent + rounded_hours(hourly * left)),
        limit=None if project.spend_limit is None else Amount.of(project.spend_limit),
        stops_vms=project.spend_stops,
    )


@operation("PUT /v1/projects/{projectId}/spend-limit", access=Access.OWNER)
def set_project_spend_limit(
    db: Session, caller: Caller, *, now: datetime, project_id: str, data: SetSpendLimit
) -> SpendResponse:
    """Set what the project may spend in a month, by UTC, or with no `limit` lift it.

    At 80 % its journal warns; from then on that it is reached nothing more can be created or enlarged, until the limit is
    raised or the month ends. With `stopsVms` its virtual machines are stopped then.
    """
    limit = read_limit(data.limit.value) if data.limit else None
    lock_project(db, project_id)
    set_limit(db, project_id, limit, stops=data.stops_vms and limit is not None, now=now)
    journal.log_event(
        db,
        EventName.USER_SET_SPEND_LIMIT,
        at=now,
        project_id=project_id,
        subject_id=caller.user_id,
        text=f"{caller.email}: spend limit {'lifted' if limit is None else f'set to {limit:f} a month'}",
        actor=caller.email,
    )
    db.flush()
    return get_project_spend(db, now=now, project_id=project_id)


def read_limit(text: str) -> Decimal:
    """Read what may be spent; Invalid."""
    if not LIMIT.fullmatch(text):
        raise Invalid.field("limit.value", text, "an amount such as 250 or 99.50, with at most 9 decimals")
    return Decimal(text)


@operation("GET /v1/projects/{projectId}/vms/{id}/usage", access=Access.VIEWER)
def get_vm_usage(db: Session, *, now: datetime, project_id: str, id: str) -> UsageResponse:
    """Show what a virtual machine, with its disks, has used and cost since it was created: a row for each item and price."""
    vm = find_vm(db, project_id=project_id, id=id)
    start, end = vm.create_time.replace(microsecond=0), now.replace(microsecond=0)
    if end <= start:
        return UsageResponse(start_time=start, end_time=start, rows=[], total=Amount.of(Decimal(0)))
    spans = read_spans_of_vm(db, vm.id, project_id, now)
    return usage_report(spans, plan_query(start, end, ["item"], ""))


@operation("GET /v1/billing-accounts/{billingAccountId}/spend/details", access=Access.USER)
def get_billing_account_spend_details(
    db: Session,
    caller: Caller,
    *,
    now: datetime,
    billing_account_id: str,
    start_time: datetime,
    end_time: datetime,
) -> GetBillingAccountSpendDetailsResponse:
    """Show what was spent in a time by those projects of a billing account that the caller sees."""
    start, end = utc(start_time).replace(microsecond=0), min(utc(end_time), now).replace(microsecond=0)
    if end <= start:
        raise Invalid.field("startTime", start.isoformat(), f"an instant before {end.isoformat()}")
    seen = select(Project.id).where(Project.billing_account_id == billing_account_id, is_seen(caller))
    projects = db.scalars(seen.order_by(Project.id)).all()
    if not projects:
        raise NotFound.named("billing account", billing_account_id)
    rows = (row for project_id in projects for row in spend_rows(db, project_id, start, end))
    return GetBillingAccountSpendDetailsResponse(spend=list(rows))


def spend_rows(
    db: Session, project_id: str, start: datetime, end: datetime
) -> Iterator[BillingAccountSpendRow]:
    """Show what a project spent on each thing, by price."""
    spans = spans_of_project(db, project_id, start, end)
    found = tally(spans, (start, end), lambda _, span, charge: (span.kind, span.name, charge.item))
    for (kind, name, item), used in sorted(found.items()):
        for one in sorted(used):
            yield BillingAccountSpendRow(
                project_id=project_id,
                description=f"{kind.replace('_', ' ')} {name}: {item}",
                quantity=one.unit_seconds / HOUR,
                unit=UNITS[unit_of(item)],
                unit_amount=Amount.of(one.price),
                amount=Amount.of(amount([one])),
            )


def spans_of_project(db: Session, project_id: str, start: datetime, end: datetime) -> list[Span]:
    """Give what a project used in a time: not what another did that had its id before."""
    return read_spans(db, project_id, max(start, begin_of_project(db, project_id)), end)


def costs_of_project(db: Session, project_id: str, start: datetime, end: datetime) -> list[Costs]:
    """Give the same, only by what it costs."""
    return read_costs(db, project_id, max(start, begin_of_project(db, project_id)), end)
