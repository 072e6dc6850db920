"""Who belongs to a project and as what, by the paths of both generations of clients: the API's verbs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from cumulet import journal
from cumulet.errors import Invalid
from cumulet.events import EventName, MemberData
from cumulet.limits import Limits
from cumulet.operation import Access, Caller, operation
from cumulet.permission import Role
from cumulet.projects.access import data_centers_of, find_caller, find_project, is_seen, permit
from cumulet.projects.invitations import NEW, find_or_add_user, invite, read_address
from cumulet.projects.members import (
    find_membership,
    forget_strangers,
    refuse_beyond_members,
    refuse_last_owner,
)
from cumulet.projects.model import DataCenterMember, Membership, Project, User
from cumulet.projects.people_wire import (
    AddPermission,
    AddPermissionResponse,
    ListUserPermissionsResponse,
    PermissionRole,
    RemovePermission,
    UserPermission,
    permission_view,
    read_role,
    refuse_another_role,
)
from cumulet.wire import Empty


@operation("GET /v1/auth/permissions", access=Access.KEY)
def list_user_permissions(
    db: Session,
    caller: Caller,
    now: datetime,
    *,
    project_id: str = "",
    data_center_id: str = "",
    billing_account_id: str = "",
) -> ListUserPermissionsResponse:
    """List who belongs to a project or a data center as what; without either what the caller is in theirs.

    Who looks after a data center is listed for those who do, and for auditors. Billing accounts have no members of
    their own.
    """
    if project_id:
        known = find_caller(db, caller.key_digest, now=now, project_id=project_id)
        permit(db, known, Access.VIEWER, changes=False)
        return permissions(db, Membership.project_id == project_id)
    shown = ListUserPermissionsResponse([], [], [])
    theirs = {} if caller.key_project else data_centers_of(db, caller.user_id)
    if data_center_id and (data_center_id in theirs or caller.reads_everything):
        there = DataCenterMember.data_center_id == data_center_id
        shown.data_center_permissions = data_center_permissions(db, there)
    elif not (data_center_id or billing_account_id):
        shown = permissions(db, Membership.user_id == caller.user_id, is_seen(caller))
        mine = DataCenterMember.user_id == caller.user_id, DataCenterMember.data_center_id.in_(theirs)
        shown.data_center_permissions = data_center_permissions(db, *mine)
    return shown


@operation("GET /v1/projects/{projectId}:list-permissions", access=Access.VIEWER)
def list_project_permissions(db: Session, *, project_id: str) -> ListUserPermissionsResponse:
    """List who belongs to a project as what, by e-mail address."""
    return permissions(db, Membership.project_id == project_id)


@operation(
    "POST /v1/projects/{projectId}/add-user-permission",
    alias="/v1/projects/{projectId}:add-permission",
    access=Access.OWNER_OR_OPERATOR,
)
def add_project_user_permission(
    db: Session,
    caller: Caller,
    now: datetime,
    limits: Limits,
    origin: str,
    *,
    project_id: str,
    data: AddPermission,
) -> AddPermissionResponse:
    """Make somebody a member of a project, or give a member another role.

    Who is no user of this cloud yet is invited: then the answer has the code that lets them in, once.
    """
    address = read_address("userEmail", data.user_email)
    role = read_role(data.role)
    find_project(db, project_id, lock=True)
    user = find_or_add_user(db, address)
    invitation = invite(db, caller, user, now, limits, origin) if user.state in NEW else None
    set_role(db, caller, user, project_id, role, now=now, limits=limits)
    return AddPermissionResponse(invitation=invitation)


@operation(
    "POST /v1/projects/{projectId}/remove-user-permission",
    alias="/v1/projects/{projectId}:remove-permission",
    access=Access.OWNER_OR_OPERATOR,
)
def remove_project_user_permission(
    db: Session, caller: Caller, now: datetime, *, project_id: str, data: RemovePermission
) -> Empty:
    """Take a member out of a project: their access ends at once, what they have made stays."""
    find_project(db, project_id, lock=True)
    field = "userId" if data.user_id else "userEmail"
    with Invalid.reference(field):
        user, membership = find_membership(db, project_id, data.user_id or data.user_email)
    refuse_another_role(data.role, PermissionRole[membership.role.name])
    remove_member(db, caller, user, membership, now=now)
    return Empty()


@operation("POST /v1/projects/{projectId}/leave", access=Access.VIEWER)
def leave_project(db: Session, caller: Caller, now: datetime, *, project_id: str) -> Empty:
    """Leave a project: the caller's access ends at once, what they have made stays."""
    find_project(db, project_id, lock=True)
    user, membership = find_membership(db, project_id, str(caller.user_id))
    remove_member(db, caller, user, membership, now=now)
    return Empty()


def permissions(db: Session, *which: ColumnElement[bool]) -> ListUserPermissionsResponse:
    """List memberships by project and e-mail address."""
    found = select(User, Project.id, Membership.role).join(Membership, Membership.user_id == User.id)
    found = found.join(Project, Project.id == Membership.project_id).where(*which)
    rows = db.execute(found.order_by(Project.id, User.email))
    return ListUserPermissionsResponse(
        project_permissions=[
            permission_view(user, role, project_id=project_id) for user, project_id, role in rows
        ],
        data_center_permissions=[],
        billing_account_permissions=[],
    )


def data_center_permissions(db: Session, *which: ColumnElement[bool]) -> list[UserPermission]:
    """List roles in data centers by data center and e-mail address."""
    found = select(User, DataCenterMember).join(DataCenterMember, DataCenterMember.user_id == User.id)
    rows = db.execute(found.where(*which).order_by(DataCenterMember.data_center_id, User.email))
    return [permission_view(user, member.role, data_center_id=member.data_center_id) for user, member in rows]


def set_role(
    db: Session, caller: Caller, user: User, project_id: str, role: Role, *, now: datetime, limits: Limits
) -> None:
    """Give a user a role in a project that is locked, and write down what that changed."""
    there = db.get(Membership, (user.id, project_id))
    if there is None:
        refuse_beyond_members(db, project_id, limits)
        db.add(Membership(user_id=user.id, project_id=project_id, role=role))
        _log(db, caller, EventName.MEMBER_ADDED, user, project_id, role, now=now)
    elif there.role is not role:
        refuse_last_owner(db, user, there)
        there.role = role
        _log(db, caller, EventName.MEMBER_CHANGED, user, project_id, role, now=now)


def remove_member(db: Session, caller: Caller, user: User, membership: Membership, *, now: datetime) -> None:
    """Take a member out of a project that is locked."""
    refuse_last_owner(db, user, membership)
    db.delete(membership)
    _log(db, caller, EventName.MEMBER_REMOVED, user, membership.project_id, membership.role, now=now)
    db.flush()
    forget_strangers(db, [user.id])


def _log(
    db: Session, caller: Caller, event: EventName, user: User, project_id: str, role: Role, *, now: datetime
) -> None:
    words = {
        EventName.MEMBER_ADDED: f"{user.email} was added as {role.name}",
        EventName.MEMBER_CHANGED: f"{user.email} is {role.name} now",
        EventName.MEMBER_REMOVED: f"{user.email}, {role.name}, is a member no more",
    }
    journal.log_event(
        db,
        event,
        at=now,
        project_id=project_id,
        subject_id=user.id,
        text=words[event],
        actor=caller.email,
        data=MemberData(email=user.email, role=role.name),
    )
