"""Who calls, and what an operation asks of them. Pure: what is known of a caller is read in `projects/access.py`.

An operation declares one `Access`, and its path says of which project. So nothing has to be looked up or remembered
inside of operations, and a test can go through all that are declared.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from cumulet.errors import Forbidden


class Role(enum.Enum):
    """What a user may do in a project; each includes the ones before it."""

    VIEWER = 1
    """Look."""
    EDITOR = 2
    """Create, change and remove."""
    OWNER = 3
    """Decide who belongs to it."""


class CloudRole(enum.Enum):
    """What a user may do in the whole installation, whatever projects they belong to; each includes the ones before it."""

    NONE = 0
    """Nothing."""
    AUDITOR = 1
    """Look, at all projects and at what they run on."""
    OPERATOR = 2
    """Run it: invite and suspend users, look after hosts, and decide who belongs to a project."""


class Access(enum.Enum):
    """Who may call an operation."""

    OPEN = "open"
    """Anyone: the real catalogue answers without a key, and clients rely on it."""
    KEY = "key"
    """Whoever shows a valid API key; one that is for a project alone may be told of that project only."""
    USER = "user"
    """A user about what is theirs: not by a key that is for a project alone."""
    VIEWER = "viewer"
    """A viewer of the project that the path names, or an auditor."""
    EDITOR = "editor"
    """An editor of it."""
    OWNER = "owner"
    """An owner of it."""
    OWNER_OR_OPERATOR = "owner or operator"
    """An owner of it, or an operator."""
    AUDITOR = "auditor"
    """An auditor of the installation."""
    OPERATOR = "operator"
    """An operator of it."""
    DATA_CENTER_VIEWER = "data center's viewer or auditor"
    """Whoever looks after a data center, about what is there, or an auditor about all that is."""
    DATA_CENTER_EDITOR = "data center's editor or operator"
    """An editor of a data center, about what is there, or an operator."""
    DATA_CENTER_OWNER = "data center's owner or operator"
    """An owner of it, or an operator."""

    @property
    def role(self) -> Role | None:
        """The role that it asks for in the project of the path."""
        return ROLES.get(self)

    @property
    def cloud_role(self) -> CloudRole | None:
        """The role that it asks for in the installation, or that does instead of one in the project."""
        return CLOUD_ROLES.get(self)

    @property
    def data_center_role(self) -> Role | None:
        """The role in a data center that does instead of that."""
        return DATA_CENTER_ROLES.get(self)


ROLES: Final[Mapping[Access, Role]] = {
    Access.VIEWER: Role.VIEWER,
    Access.EDITOR: Role.EDITOR,
    Access.OWNER: Role.OWNER,
    Access.OWNER_OR_OPERATOR: Role.OWNER,
}
CLOUD_ROLES: Final[Mapping[Access, CloudRole]] = {
    Access.VIEWER: CloudRole.AUDITOR,
    Access.OWNER_OR_OPERATOR: CloudRole.OPERATOR,
    Access.AUDITOR: CloudRole.AUDITOR,
    Access.OPERATOR: CloudRole.OPERATOR,
    Access.DATA_CENTER_VIEWER: CloudRole.AUDITOR,
    Access.DATA_CENTER_EDITOR: CloudRole.OPERATOR,
    Access.DATA_CENTER_OWNER: CloudRole.OPERATOR,
}
DATA_CENTER_ROLES: Final[Mapping[Access, Role]] = {
    Access.DATA_CENTER_VIEWER: Role.VIEWER,
    Access.DATA_CENTER_EDITOR: Role.EDITOR,
    Access.DATA_CENTER_OWNER: Role.OWNER,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The user behind a request, proven by their key, and what they are in the project that it is about."""

    user_id: UUID
    email: str
    cloud_role: CloudRole = CloudRole.NONE
    key_digest: bytes = b""
    """What is kept of that key: what they were given by it ends with it."""
    key_id: str = ""
    """What the user calls it."""
    key_project: str = ""
    """The project that the key is for, "" for all that the user has."""
    key_reads_only: bool = False
    key_expires_at: datetime | None = None
    """If nothing is done by it until then: a session that is not used ends earlier."""
    project_id: str = ""
    """Of the project that the request is about, "" for none."""
    project_there: bool = False
    role: Role | None = None
    """The user's own role in it."""
    data_centers: Mapping[str, Role] = field(default_factory=dict)
    """Their roles in data centers; known only of who calls what is for those that have one."""

    @property
    def is_operator(self) -> bool:
        """They run this cloud: refusals may tell them of its hosts."""
        return self.cloud_role is CloudRole.OPERATOR

    @property
    def reads_everything(self) -> bool:
        """They may look at all projects."""
        return self.cloud_role is not CloudRole.NONE and not self.key_project

    @property
    def sees_project(self) -> bool:
        """Whether the project that the request is about is there for them."""
        if self.key_project not in {"", self.project_id}:
            return False
        return self.role is not None or (self.project_there and self.reads_everything)

    def refuse_in(self, data_center_id: str, needed: Role) -> None:
        """Return if they may do there what asks for a role, as its members or as operators may; Forbidden."""
        theirs = self.data_centers.get(data_center_id)
        if not self.is_operator and (theirs is None or theirs.value < needed.value):
            raise Forbidden(
                f"you {'are ' + theirs.name if theirs else 'have no role'} in data center {data_center_id!r}; "
                f"this needs the role {needed.name} or a higher one, or OPERATOR in this cloud"
            )


def refuse(caller: Caller, access: Access, *, changes: bool) -> None:
    """Return if a caller may do what asks for `access`; Forbidden otherwise.

    Whether the project that it is about is there for them is another question, and the first.
    """
    if changes and caller.key_reads_only:
        raise Forbidden("this API key is read-only: use one that may change things")
    if access.role is not None:
        _refuse_member(caller, access, access.role)
    elif access is not Access.KEY:
        _refuse_user(caller, access)


def _refuse_member(caller: Caller, access: Access, needed: Role) -> None:
    """Return if their role in the project is enough, or the one in the installation that does instead."""
    if caller.role is not None and caller.role.value >= needed.value:
        return
    instead = access.cloud_role
    if instead is not None and caller.reads_everything and caller.cloud_role.value >= instead.value:
        return
    theirs = f"are {caller.role.name}" if caller.role else "are not a member"
    raise Forbidden(
        f"you {theirs} of project {caller.project_id!r}; this needs the role {needed.name} or a higher one"
    )


def _refuse_user(caller: Caller, access: Access) -> None:
    """Return if the whole user calls, in the role that is asked for in the installation."""
    if caller.key_project:
        raise Forbidden(
            f"this API key is for project {caller.key_project!r} alone: use one that is for all you have"
        )
    needed = access.cloud_role
    if needed is None or caller.cloud_role.value >= needed.value:
        return
    instead = access.data_center_role
    if instead is None or all(role.value < instead.value for role in caller.data_centers.values()):
        there = f", or {instead.name} in a data center" if instead else ""
        raise Forbidden(f"this is only for those with the role {needed.name} in this cloud{there}")
