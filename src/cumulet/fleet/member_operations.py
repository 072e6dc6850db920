"""Who looks after a data center, and as what: the API's verbs. Viewers see its hosts, editors keep them, owners decide who may."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from cumulet import journal
from cumulet.catalogue import Catalogue
from cumulet.errors import Invalid
from cumulet.events import EventName
from cumulet.limits import Limits
from cumulet.operation import Access, Caller, operation
from cumulet.permission import Role
from cumulet.projects.invitations import NEW, find_or_add_user, invite, read_address
from cumulet.projects.members import find_data_center_member
from cumulet.projects.model import DataCenterMember, User
from cumulet.projects.people_wire import (
    AddPermission,
    AddPermissionResponse,
    PermissionRole,
    RemovePermission,
    read_role,
    refuse_another_role,
)
from cumulet.wire import Empty


@operation("POST /v1/data-centers/{dataCenterId}/add-user-permission", access=Access.DATA_CENTER_OWNER)
def add_data_center_user_permission(
    db: Session,
    caller: Caller,
    now: datetime,
    catalogue: Catalogue,
    limits: Limits,
    origin: str,
    *,
    data_center_id: str,
    data: AddPermission,
) -> AddPermissionResponse:
    """Let somebody look after a data center, or give them another role there.

    VIEWER shows its hosts and GPUs and what is on them, EDITOR cordons, drains and labels them too, OWNER decides who
    may. Who is no user of this cloud yet is invited: then the answer has the code that lets them in, once.
    """
    catalogue.find_data_center(data_center_id)
    caller.refuse_in(data_center_id, Role.OWNER)
    address = read_address("userEmail", data.user_email)
    role = read_role(data.role)
    user = find_or_add_user(db, address)
    invitation = invite(db, caller, user, now, limits, origin) if user.state in NEW else None
    there = db.get(DataCenterMember, (user.id, data_center_id))
    if there is None:
        db.add(DataCenterMember(user_id=user.id, data_center_id=data_center_id, role=role))
    if there is None or there.role is not role:
        log(db, caller, user, f"gave {user.email} the role {role.name} in {data_center_id}", now=now)
    if there is not None:
        there.role = role
    return AddPermissionResponse(invitation=invitation)


@operation("POST /v1/data-centers/{dataCenterId}/remove-user-permission", access=Access.DATA_CENTER_OWNER)
def remove_data_center_user_permission(
    db: Session, caller: Caller, now: datetime, *, data_center_id: str, data: RemovePermission
) -> Empty:
    """Have somebody look after a data center no more; operators always can."""
    caller.refuse_in(data_center_id, Role.OWNER)
    with Invalid.reference("userId" if data.user_id else "userEmail"):
        user, member = find_data_center_member(db, data_center_id, data.user_id or data.user_email)
    refuse_another_role(data.role, PermissionRole[member.role.name])
    db.delete(member)
    log(db, caller, user, f"took the role {member.role.name} in {data_center_id} from {user.email}", now=now)
    return Empty()


def log(db: Session, caller: Caller, user: User, did: str, *, now: datetime) -> None:
    """Write into the journal what a user may do from now on."""
    text = f"{caller.email} {did}"
    journal.log_event(
        db,
        EventName.USER_ROLE_CHANGED,
        at=now,
        project_id="",
        subject_id=user.id,
        text=text,
        actor=caller.email,
    )
