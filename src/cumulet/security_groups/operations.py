"""The verbs of security groups: who may, are the rules right, write them down, wake.

Each stands at two paths: clients of 2024 look for them among the networks.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final
from uuid import uuid4

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue
from cumulet.errors import Invalid
from cumulet.events import EventName
from cumulet.ids import check_id
from cumulet.networks import Nic, NicGroup
from cumulet.operation import Access, Caller, operation
from cumulet.projects import fetch_page, read_page
from cumulet.quotas import lock_allowance
from cumulet.reconcile import Kind, wake
from cumulet.resource import Wanted, find, lock_to_change, log_request, refuse_beyond, refuse_taken
from cumulet.security_groups.budget import check_budget
from cumulet.security_groups.model import GroupState, SecurityGroup
from cumulet.security_groups.rules import plan_rules
from cumulet.security_groups.views import group_view
from cumulet.security_groups.wire import (
    CreateSecurityGroup,
    ListSecurityGroupsResponse,
    SecurityGroupResponse,
    UpdateSecurityGroup,
)
from cumulet.vm_record import refuse_used
from cumulet.wire import Empty

DESCRIPTION: Final = re.compile(r"[A-Za-z0-9,'.\s]{0,255}", re.ASCII)
DESCRIPTION_RULE: Final = "at most 255 letters, digits, spaces and any of , ' ."


@operation(
    "POST /v1/projects/{projectId}/security-groups",
    alias="/v1/projects/{projectId}/networks/security-groups",
    access=Access.EDITOR,
)
def create_security_group(
    db: Session,
    caller: Caller,
    *,
    catalogue: Catalogue,
    now: datetime,
    project_id: str,
    data: CreateSecurityGroup,
) -> SecurityGroupResponse:
    """Create a security group; a VM that has it receives only what its rules allow."""
    check_id("id", data.id)
    with Invalid.reference("dataCenterId"):
        data_center = catalogue.find_data_center(data.data_center_id)
    check_description(data.description)
    rules = plan_rules(data.rules)
    refuse_taken(db, SecurityGroup, project_id, data.id, field="id")
    lock_allowance(db, project_id, catalogue.quotas).take(db, {"rules": len(rules)})
    refuse_beyond(db, SecurityGroup, project_id, most=catalogue.limits.security_groups_per_project)
    group = SecurityGroup(
        id=uuid4(),
        project_id=project_id,
        name=data.id,
        data_center_id=data_center.id,
        description=data.description,
        rules=msgspec.to_builtins(rules),
        wanted=Wanted.KEPT,
        state=GroupState.CREATING,
    )
    db.add(group)
    wake(db, Kind.SECURITY_GROUP, group.id, now=now)
    log_request(
        db, caller, group, EventName.SECURITY_GROUP_CREATED, f"created with {len(rules)} rules", now=now
    )
    return response(group)


@operation(
    "GET /v1/projects/{projectId}/security-groups",
    alias="/v1/projects/{projectId}/networks/security-groups",
    access=Access.VIEWER,
)
def list_security_groups(
    db: Session,
    *,
    project_id: str,
    data_center_id: str = "",
    page_number: int = 0,
    page_size: int = 0,
    page_token: str = "",
) -> ListSecurityGroupsResponse:
    """List the project's security groups by id, of one data center or of all."""
    page = read_page(page_number, page_size, page_token)
    wanted = select(SecurityGroup).where(SecurityGroup.project_id == project_id, SecurityGroup.is_found())
    if data_center_id:
        wanted = wanted.where(SecurityGroup.data_center_id == data_center_id)
    groups, total, token = fetch_page(db, wanted, page, SecurityGroup.name)
    return ListSecurityGroupsResponse(
        security_groups=[group_view(group) for group in groups],
        total_count=total,
        page_number=page.number,
        page_size=page.size,
        page_token=token,
    )


@operation(
    "GET /v1/projects/{projectId}/security-groups/{id}",
    alias="/v1/projects/{projectId}/networks/security-groups/{id}",
    access=Access.VIEWER,
)
def get_security_group(db: Session, *, project_id: str, id: str) -> SecurityGroupResponse:
    """Show a security group."""
    return response(find(db, SecurityGroup, project_id, id))


@operation(
    "PATCH /v1/projects/{projectId}/security-groups/{id}",
    alias="/v1/projects/{projectId}/networks/security-groups/{id}",
    access=Access.EDITOR,
)
def update_security_group(
    db: Session,
    caller: Caller,
    *,
    catalogue: Catalogue,
    now: datetime,
    project_id: str,
    id: str,
    data: UpdateSecurityGroup,
) -> SecurityGroupResponse:
    """Replace a security group's rules and description, effective at once, for established connections as well."""
    check_description(data.description)
    rules = plan_rules(data.rules)
    allowance = lock_allowance(db, project_id, catalogue.quotas)
    group = find_group_to_change(db, project_id, id, now=now)
    if data.data_center_id not in {"", group.data_center_id}:
        raise Invalid.field(
            "dataCenterId", data.data_center_id, f"{group.data_center_id!r}, where the group is"
        )
    allowance.take(db, {"rules": len(rules) - len(group.rules)})
    group.description, group.rules = data.description, msgspec.to_builtins(rules)
    db.flush()
    check_budget(db, project_id)
    log_request(
        db, caller, group, EventName.SECURITY_GROUP_CHANGED, f"rules replaced; {len(rules)} now", now=now
    )
    return response(group)


@operation(
    "DELETE /v1/projects/{projectId}/security-groups/{id}",
    alias="/v1/projects/{projectId}/networks/security-groups/{id}",
    access=Access.EDITOR,
)
def delete_security_group(db: Session, caller: Caller, *, now: datetime, project_id: str, id: str) -> Empty:
    """Delete a security group that no VM has; of those that are being terminated it waits a moment for the end."""
    group = find_group_to_change(db, project_id, id, now=now)
    attached = select(Nic.vm_id).join(NicGroup, NicGroup.nic_id == Nic.id)
    refuse_used(
        db,
        f"security group {id!r}",
        attached.where(NicGroup.group_id == group.id),
        "detach it first",
        reason="SECURITY_GROUP_IN_USE",
        subject=id,
    )
    group.wanted, group.name = Wanted.DELETED, str(group.id)  # another may have its name from now on
    log_request(db, caller, group, EventName.SECURITY_GROUP_DELETE_REQUESTED, "deletion requested", now=now)
    return Empty()


def find_group_to_change(db: Session, project_id: str, id: str, *, now: datetime) -> SecurityGroup:
    """Find a group for a verb; NotFound."""
    return lock_to_change(db, find(db, SecurityGroup, project_id, id), now=now)


def check_description(text: str) -> None:
    """Refuse a description out of its rule."""
    if not DESCRIPTION.fullmatch(text):
        raise Invalid.field("description", text, DESCRIPTION_RULE)


def response(group: SecurityGroup) -> SecurityGroupResponse:
    """Answer with a group in both shapes."""
    answer = group_view(group)
    return SecurityGroupResponse(**msgspec.structs.asdict(answer), security_group=answer)
