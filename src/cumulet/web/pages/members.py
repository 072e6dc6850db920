"""Who belongs to a project and as what; owners take people in, change what they may, and take them out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cumulet.errors import NotFound
from cumulet.projects.member_operations import (
    add_project_user_permission,
    leave_project,
    list_project_permissions,
    remove_project_user_permission,
)
from cumulet.projects.people_wire import (
    AddPermission,
    AddPermissionResponse,
    PermissionRole,
    RemovePermission,
    UserPermission,
)
from cumulet.web.site import form, page
from cumulet.web.visit import Answer, Gone, Shown, Visit
from cumulet.wire import decode

MEMBERS: Final = "/p/{project_id:str}/members"
LEAVE: Final = "/p/{project_id:str}/leave"
ROLES: Final = (
    (PermissionRole.VIEWER.value, "Viewer", "Looks at everything here, and changes nothing"),
    (PermissionRole.EDITOR.value, "Editor", "Creates, changes and deletes VMs and all else"),
    (PermissionRole.OWNER.value, "Owner", "Decides who belongs to the project and what it may spend, too"),
)
"""As the API has it, as people do, and what it means."""
STATES: Final = {
    "INVITED": ("off", "Invited", "has not accepted yet"),
    "SUSPENDED": ("bad", "Suspended", "their keys open nothing for now"),
}
HERE: Final = ("good", "Here", "")


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody who belongs to a project, as the page shows them."""

    id: str
    email: str
    role: str
    tone: str
    word: str
    reason: str
    is_you: bool
    why_stays: str
    """Why they cannot be taken out or made less; empty when they can."""


@page(MEMBERS, live=True)
def members_page(visit: Visit) -> Shown:
    """List them, with a form for one more."""
    return visit.show("members/list.html", members=members_of(visit), roles=ROLES, manages=manages(visit))


@form(MEMBERS, on=members_page)
def add(visit: Visit) -> Answer:
    """Take somebody in; who is new to this cloud gets an invitation, which is shown this once."""
    return answered(visit, set_role(visit, visit.given("userEmail")))


@form(f"{MEMBERS}/{{user:str}}/role", on=members_page)
def change(visit: Visit) -> Answer:
    """Give a member another role; who has not accepted yet gets another invitation."""
    return answered(visit, set_role(visit, member_of(visit).email))


@page(f"{MEMBERS}/{{user:str}}/remove")
def remove_page(visit: Visit) -> Shown:
    """Say what goes with a member and what stays, before they are taken out."""
    return visit.show("members/remove.html", member=member_of(visit), manages=manages(visit))


@form(f"{MEMBERS}/{{user:str}}/remove", on=remove_page)
def remove(visit: Visit) -> Gone:
    """Take a member out."""
    data = RemovePermission(user_id=visit.names["user"])
    visit.ask(remove_project_user_permission, project_id=visit.project_id, data=data)
    return Gone(visit.url("members"))


@page(LEAVE)
def leave_page(visit: Visit) -> Shown:
    """Say what leaving means, before it is done."""
    return visit.show("members/leave.html", you=next((one for one in members_of(visit) if one.is_you), None))


@form(LEAVE, on=leave_page)
def leave(visit: Visit) -> Gone:
    """Leave the project."""
    visit.ask(leave_project, project_id=visit.project_id)
    return Gone("/")


def manages(visit: Visit) -> bool:
    """Whether they decide who belongs to the project."""
    return visit.is_owner or visit.operates


def set_role(visit: Visit, email: str) -> AddPermissionResponse:
    """Make somebody what the form says; Invalid."""
    data = decode(AddPermission, {"userEmail": email, "role": visit.given("role")})
    return visit.ask(add_project_user_permission, project_id=visit.project_id, data=data)


def answered(visit: Visit, answer: AddPermissionResponse) -> Answer:
    """Show the invitation if there is one, else the members."""
    if answer.invitation is None:
        return Gone(visit.url("members"))
    return visit.show("members/invited.html", invitation=answer.invitation)


def members_of(visit: Visit) -> list[Member]:
    """Give all members by e-mail address."""
    found = visit.ask(list_project_permissions, project_id=visit.project_id).project_permissions
    owners = [one.user_id for one in found if one.permission_role is PermissionRole.OWNER]
    owners = [one.user_id for one in found if one.user_id in owners and one.state == "ACTIVE"]
    return [member_view(visit, one, is_only_owner=owners == [one.user_id]) for one in found]


def member_view(visit: Visit, one: UserPermission, *, is_only_owner: bool) -> Member:
    """Show one of them."""
    tone, word, reason = STATES.get(one.state, HERE)
    return Member(
        id=one.user_id,
        email=one.user_email,
        role=one.permission_role.value,
        tone=tone,
        word=word,
        reason=reason,
        is_you=one.user_id == str(visit.caller.user_id),
        why_stays="the only owner: make somebody else one first" if is_only_owner else "",
    )


def member_of(visit: Visit) -> Member:
    """Give the member that the address names; NotFound."""
    members = members_of(visit)
    for one in members:
        if one.id == visit.names["user"]:
            return one
    raise NotFound.named(f"member of project {visit.project_id!r}", visit.names["user"])
