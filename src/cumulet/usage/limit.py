"""What a project may spend in a month: its owners are warned before, and then it can have nothing more until the next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple
from uuid import UUID, uuid5

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cumulet import journal
from cumulet.events import EventName, SpendData
from cumulet.projects import SPEND_REACHED, SPEND_WARNED, Project
from cumulet.reconcile import Kind, Run, wake
from cumulet.resource import Wanted, log_event
from cumulet.usage.settle import read_costs
from cumulet.usage.spend import HOUR, month_of, spending
from cumulet.vm_record import Vm, VmState

LATEST: Final = timedelta(minutes=1)
"""So long after what a project spends changed, that is seen."""
TOLD: Final = {
    SPEND_WARNED: (EventName.PROJECT_SPEND_WARNED, f"{SPEND_WARNED} % of what it may"),
    SPEND_REACHED: (EventName.PROJECT_SPEND_REACHED, "all that it may: nothing more is created"),
}


def check_limits(run: Run) -> datetime:
    """Look at all projects that have a limit, and write only where something is new; say when to look again."""
    with run.reading() as db:
        limited = db.scalars(
            select(Project.id).where(Project.spend_limit.is_not(None)).order_by(Project.id)
        ).all()
    looks = [run.now + LATEST]
    for project_id in limited:
        with run.reading() as db:
            seen = look_at(db, db.get(Project, project_id), now=run.now)
        if seen.is_new:
            with run.writing() as db:
                check_limit(db, project_id, now=run.now)
        with run.reading() as db:
            runs_on = bool(vms_to_stop(db, project_id))
        if runs_on:
            with run.writing() as db:
                stop_vms(db, project_id, now=run.now)
        looks.append(seen.next_look)
    return min(looks)


class Look(NamedTuple):
    """What a project has spent in this month, as far as that is to be told."""

    percent: int
    """The highest share of its limit that is told of and that it has reached; 0 for none."""
    spent: Decimal
    is_new: bool
    """It was not told of yet, or is not so any more."""
    next_look: datetime


def look_at(db: Session, project: Project | None, *, now: datetime) -> Look:
    """Compare what a project has spent in this month with what it may, and say when it is next to be seen."""
    if project is None or project.spend_limit is None:
        return Look(0, Decimal(0), is_new=False, next_look=now + LATEST)
    first, _ = month_of(now)
    limit = project.spend_limit
    costs = read_costs(db, project.id, max(first, project.created_at), now)
    spent, hourly = spending(costs, first, now)
    shares = {percent: limit * percent / 100 for percent in TOLD}
    seen = max((percent for percent, share in shares.items() if spent >= share), default=0)
    ahead = [share - spent for share in shares.values() if share > spent]
    wait = timedelta(seconds=float(min(ahead) / hourly * HOUR) + 1) if ahead and hourly else LATEST
    return Look(seen, spent, is_new=seen != project.spend_told, next_look=now + min(LATEST, wait))


def check_limit(db: Session, project_id: str, *, now: datetime) -> None:
    """Tell once what share of its limit a project has spent."""
    project = db.get(Project, project_id, populate_existing=True, with_for_update=True)
    seen = look_at(db, project, now=now)
    if project is None or not seen.is_new:
        return
    if seen.percent > project.spend_told:
        tell(db, project, seen.percent, seen.spent, now=now)
    project.spend_told = seen.percent


def tell(db: Session, project: Project, percent: int, spent: Decimal, *, now: datetime) -> None:
    """Write into the journal how much of its limit a project has spent."""
    name, words = TOLD[percent]
    journal.log_event(
        db,
        name,
        at=now,
        project_id=project.id,
        subject_id=uuid5(UUID(int=0), project.id),
        text=f"project {project.id} has spent {words} in this month",
        data=SpendData(month=f"{now:%Y-%m}", spent=spent, limit=project.spend_limit or Decimal(0)),
    )


def vms_to_stop(db: Session, project_id: str) -> Sequence[UUID]:
    """Give the VMs that run of a project that has spent what it may and wants them stopped then."""
    project = db.get(Project, project_id)
    if project is None or not project.spend_stops or project.spend_told < SPEND_REACHED:
        return []
    running = select(Vm.id).where(
        Vm.project_id == project_id, Vm.state == VmState.ACTIVE, Vm.wanted == Wanted.ACTIVE
    )
    return db.scalars(running.order_by(Vm.id)).all()


def stop_vms(db: Session, project_id: str, *, now: datetime) -> None:
    """Stop the VMs of a project that has spent what it may and wants that; those that are being made once they run."""
    for id in vms_to_stop(db, project_id):
        wake(db, Kind.VM, id, now=now)
        vm = db.get(Vm, id, populate_existing=True, with_for_update=True)
        if vm is not None and vm.state is VmState.ACTIVE and vm.wanted is Wanted.ACTIVE:
            vm.want_off()
            vm.state = VmState.STOPPING
            text = "stop requested: its project has reached its spend limit"
            log_event(db, vm, EventName.VM_STOP_REQUESTED, text, now=now)


def set_limit(db: Session, project_id: str, limit: Decimal | None, *, stops: bool, now: datetime) -> None:
    """Have another limit count, at once."""
    db.execute(
        update(Project)
        .where(Project.id == project_id)
        .values(spend_limit=limit, spend_stops=stops, spend_told=0)
    )
    check_limit(db, project_id, now=now)
