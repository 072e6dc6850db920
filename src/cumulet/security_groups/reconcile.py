"""Security groups on the fabric: putting rules in force, and seeing that they stay so."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from cumulet.db import fetch_columns
from cumulet.events import EventName
from cumulet.fabric import GroupSpec
from cumulet.networks import Fabrics, Nic, NicGroup
from cumulet.reconcile import Kind, Run, wake
from cumulet.resource import Wanted, change, log_event
from cumulet.security_groups.model import GroupState, SecurityGroup
from cumulet.security_groups.rules import read_rule
from cumulet.security_groups.wire import Rule

SWEEP: Final = timedelta(seconds=30)
NOT_IN_FORCE: Final = (
    select(SecurityGroup.id)
    .join(NicGroup, NicGroup.group_id == SecurityGroup.id)
    .join(Nic, Nic.id == NicGroup.nic_id)
    .where(Nic.vm_id == bindparam("vm_id"), SecurityGroup.state != GroupState.ACTIVE)
)


def reconcile_group(run: Run, fabrics: Fabrics) -> datetime | None:
    """Have the fabric hold one group just as its row says, or not at all."""
    with run.reading() as db:
        group = db.get(SecurityGroup, run.id)
    if group is None:
        return None
    if group.wanted is Wanted.DELETED:
        tear_down(run, group, fabrics)
        return None
    fabrics.fabric.put_group(group_spec(group))
    if group.state is not GroupState.ACTIVE:
        note_in_force(run, group)
    return None


def note_in_force(run: Run, group: SecurityGroup) -> None:
    """Let NICs be put in the group, and wake the VMs that have waited for that.

    They are looked for once that is committed: who attached the group meanwhile had it locked until then.
    """
    change(run, group, {"state": GroupState.ACTIVE})
    with run.writing() as db:
        nics = (
            select(Nic.vm_id).join(NicGroup, NicGroup.nic_id == Nic.id).where(NicGroup.group_id == group.id)
        )
        for vm_id in db.scalars(nics.distinct().order_by(Nic.vm_id)).all():
            wake(db, Kind.VM, vm_id, now=run.now)


def tear_down(run: Run, group: SecurityGroup, fabrics: Fabrics) -> None:
    """Remove the group; its row goes last."""
    fabrics.fabric.remove_group(group.id)
    with run.writing() as db:
        log_event(db, group, EventName.SECURITY_GROUP_DELETED, "deleted", now=run.now)
        db.delete(db.get_one(SecurityGroup, group.id))


def all_in_force(db: Session, vm_id: UUID) -> bool:
    """Whether the fabric has had every group that is attached to a VM's NICs."""
    return not fetch_columns(db, NOT_IN_FORCE, vm_id=vm_id)


def sweep_groups(run: Run, fabrics: Fabrics) -> datetime:
    """Wake groups that differ from their rows, remove those that have had no owner for a while; look again later."""
    there = fabrics.fabric.groups()
    with run.writing() as db:
        rows = db.scalars(select(SecurityGroup).order_by(SecurityGroup.id)).all()
        for row in rows:
            if there.get(row.id) != group_spec(row):
                wake(db, Kind.SECURITY_GROUP, row.id, now=run.now)
    for id in fabrics.orphans.overdue("group", there.keys() - {row.id for row in rows}, run.now):
        fabrics.fabric.remove_group(id)
    return run.now + SWEEP


def group_spec(group: SecurityGroup) -> GroupSpec:
    """Describe a group to the fabric."""
    rules = msgspec.convert(group.rules, list[Rule])
    return GroupSpec(id=group.id, rules=tuple(read_rule(rule) for rule in rules))
