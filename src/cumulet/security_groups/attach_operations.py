"""The verbs that put a VM's NICs into security groups and out of them, while it runs or not."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from cumulet.errors import Invalid, Refused
from cumulet.events import EventName
from cumulet.networks import NicGroup, nics_of
from cumulet.operation import Access, Caller, operation
from cumulet.resource import find, lock, log_request
from cumulet.security_groups.budget import check_budget
from cumulet.security_groups.model import SecurityGroup
from cumulet.vm_record.find import find_vm_to_change
from cumulet.wire import Empty


@operation("PATCH /v1/projects/{projectId}/vm/{id}/security-group/attach", access=Access.EDITOR)
def attach_security_group(
    db: Session, caller: Caller, *, now: datetime, project_id: str, id: str, security_group_id: str
) -> Empty:
    """Attach a security group to all NICs of a VM, effective at once."""
    vm = find_vm_to_change(db, now=now, project_id=project_id, id=id)
    group = lock(db, find(db, SecurityGroup, project_id, security_group_id))
    if group.data_center_id != vm.data_center_id:
        accepted = f"a group of data center {vm.data_center_id!r}; this one is in {group.data_center_id!r}"
        raise Invalid.field("securityGroupId", security_group_id, accepted)
    attached = set(db.scalars(select(NicGroup.nic_id).where(NicGroup.group_id == group.id)))
    lacking = [nic for nic in nics_of(db, vm.id) if nic.id not in attached]
    if not lacking:
        return Empty()
    for nic in lacking:
        db.add(NicGroup(nic_id=nic.id, group_id=group.id))
    db.flush()
    check_budget(db, project_id)
    log_request(db, caller, vm, EventName.VM_GROUP_ATTACHED, f"security group {group.name} attached", now=now)
    return Empty()


@operation("PATCH /v1/projects/{projectId}/vm/{id}/security-group/detach", access=Access.EDITOR)
def detach_security_group(
    db: Session, caller: Caller, *, now: datetime, project_id: str, id: str, security_group_id: str
) -> Empty:
    """Detach a security group from all NICs of a VM that have it, effective at once."""
    vm = find_vm_to_change(db, now=now, project_id=project_id, id=id)
    group = lock(db, find(db, SecurityGroup, project_id, security_group_id))
    mine = NicGroup.nic_id.in_([nic.id for nic in nics_of(db, vm.id)])
    detached = delete(NicGroup).where(NicGroup.group_id == group.id, mine).returning(NicGroup.nic_id)
    if not db.scalars(detached).all():
        raise Refused(
            f"security group {security_group_id!r} is not attached to VM {id!r}",
            reason="SECURITY_GROUP_NOT_IN_USE",
            subject=security_group_id,
        )
    log_request(db, caller, vm, EventName.VM_GROUP_DETACHED, f"security group {group.name} detached", now=now)
    return Empty()
