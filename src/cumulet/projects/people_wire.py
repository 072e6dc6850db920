"""Users, invitations and who belongs to a project, as JSON: the contract's members first, then ours."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from cumulet.errors import Invalid
from cumulet.permission import CloudRole, Role
from cumulet.projects.model import User
from cumulet.projects.wire import ApiKeyAnswer
from cumulet.wire import ProtoEnum, Wire

Name = Annotated[str, Meta(max_length=100)]


class PermissionRole(ProtoEnum):
    """A role in a project or a data center; UNKNOWN is none."""

    UNKNOWN = "UNKNOWN", 0
    OWNER = "OWNER", 1
    VIEWER = "VIEWER", 2
    EDITOR = "EDITOR", 3


class UserRole(ProtoEnum):
    """A role in the installation."""

    NONE = "NONE", 0
    AUDITOR = "AUDITOR", 1
    OPERATOR = "OPERATOR", 2

    @property
    def cloud_role(self) -> CloudRole:
        """What it is inside."""
        return CloudRole[self.name]


class InvitationAnswer(Wire):
    """What lets an invited person in, once: `code` is told only in this answer, and `url` is the page that takes it."""

    email_address: str
    code: str
    expire_time: datetime
    url: str


class UserAnswer(Wire):
    """A user."""

    id: str
    email_address: str
    first_name: str
    last_name: str
    state: str
    role: UserRole


class ListUsersResponse(Wire):
    """One page of the users; `pageToken` asks for the next and is empty on the last."""

    users: list[UserAnswer]
    page_token: str
    page_size: int


class InviteUser(Wire):
    """Whom to invite, and what they may do in the installation."""

    email_address: str
    role: UserRole = UserRole.NONE


class InviteUserResponse(Wire):
    """The user, and the code to give them."""

    user: UserAnswer
    invitation: InvitationAnswer


class ChangeUser(Wire):
    """What a user may do in the installation from now on."""

    role: UserRole


class AcceptInvitation(Wire):
    """The code of an invitation, and whose it is."""

    code: str
    first_name: Name = ""
    last_name: Name = ""


class AcceptInvitationResponse(Wire):
    """Who was let in, and their first API key, which only this answer contains."""

    user: UserAnswer
    api_key: ApiKeyAnswer


class UserPermission(Wire):
    """What a user is in a project, or in a data center."""

    user_id: str
    user_email: str
    user_picture: str
    role: str
    permission_role: PermissionRole
    project_id: str
    """Empty for a role in a data center."""
    data_center_id: str
    """Empty for a role in a project."""
    state: str
    """Of the user."""


class ListUserPermissionsResponse(Wire):
    """Who is what; the billing account has no members of its own."""

    project_permissions: list[UserPermission]
    data_center_permissions: list[UserPermission]
    billing_account_permissions: list[UserPermission]


class AddPermission(Wire):
    """Whom to make a member, as what."""

    user_email: str
    role: PermissionRole


class AddPermissionResponse(Wire, omit_defaults=True):
    """Nothing, but for somebody who is new here: the code to give them."""

    invitation: InvitationAnswer | None = None


class RemovePermission(Wire):
    """Whom to take out, by either name; `role`, if it is said, is the one that they have."""

    user_id: str = ""
    user_email: str = ""
    role: PermissionRole = PermissionRole.UNKNOWN


def user_view(user: User) -> UserAnswer:
    """Show a user."""
    return UserAnswer(
        id=str(user.id),
        email_address=user.email,
        first_name=user.first_name,
        last_name=user.last_name,
        state=user.state.value,
        role=UserRole[user.cloud_role.name],
    )


def read_role(given: PermissionRole) -> Role:
    """Understand the role that somebody is to have; Invalid."""
    if given is PermissionRole.UNKNOWN:
        raise Invalid.field("role", given.value, "OWNER, EDITOR or VIEWER")
    return Role[given.name]


def refuse_another_role(given: PermissionRole, theirs: PermissionRole) -> None:
    """Return if the role that is to be taken is the one that they have, or is not said; Invalid."""
    if given not in {PermissionRole.UNKNOWN, theirs}:
        raise Invalid.field("role", given.value, f"{theirs.value}, which is what they are")


def permission_view(
    user: User, role: Role, *, project_id: str = "", data_center_id: str = ""
) -> UserPermission:
    """Show what a user is in a project or a data center."""
    return UserPermission(
        user_id=str(user.id),
        user_email=user.email,
        user_picture="",
        role=role.name,
        permission_role=PermissionRole[role.name],
        project_id=project_id,
        data_center_id=data_center_id,
        state=user.state.value,
    )
