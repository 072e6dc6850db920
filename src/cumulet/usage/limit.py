"""What a project may spend in a month: its owners are warned before, and then it can have nothing more until the next."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
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
    """Look at all projects that have a limit; say when to look again."""
    with run.reading() as db:
        limited = db.scalars(
            select(Project.id).where(Project.spend_limit.is_not(None)).order_by(Project.id)
        ).all()
    looks = [run.now + LATEST]
    for project_id in limited:
        with run.writing() as db:
            looks.append(check_limit(db, project_id, now=run.now))
        with run.writing() as db:
            stop_vms(db, project_id, now=run.now)
    return min(looks)


def check_limit(db: Session, project_id: str, *, now: datetime) -> datetime:
    """Compare what a project has spent in this month with what it may, and tell that once; say when it is next to be seen."""
    project = db.get(Project, project_id, populate_existing=True, with_for_update=True)
    if project is None or project.spend_limit is None:
        return now + LATEST
    first, _ = month_of(now)
    limit = project.spend_limit
    costs = read_costs(db, project_id, max(first, project.created_at), now)
    spent, hourly = spending(costs, first, now)
    shares = {percent: limit * percent / 100 for percent in TOLD}
    seen = max((percent for percent, share in shares.items() if spent >= share), default=0)
    if seen > project.spend_told:
        tell(db, project, seen, spent, now=now)
    project.spend_told = seen
    ahead = [share - spent for share in shares.values() if share > spent]
    if not ahead or not hourly:
        return now + LATEST
    return now + min(LATEST, timedelta(seconds=float(min(ahead) / hourly * HOUR) + 1))


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


def stop_vms(db: Session, project_id: str, *, now: datetime) -> None:
    """Stop the VMs of a project that has spent what it may and wants that; those that are being made once they run."""
    project = db.get(Project, project_id)
    if project is None or not project.spend_stops or project.spend_told < SPEND_REACHED:
        return
    running = select(Vm.id).where(
        Vm.project_id == project_id, Vm.state == VmState.ACTIVE, Vm.wanted == Wanted.ACTIVE
    )
    for id in db.scalars(running.order_by(Vm.id)).all():
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
