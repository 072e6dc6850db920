"""Users, from their invitation to their removal: the API's verbs."""

from __future__ import annotations

import secrets
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from cumulet import journal
from cumulet.db import names_there
from cumulet.errors import AlreadyExists, NotFound, Refused
from cumulet.events import EventName
from cumulet.limits import Limits
from cumulet.operation import Access, Caller, operation
from cumulet.permission import CloudRole
from cumulet.projects.access import digest_of, new_key
from cumulet.projects.invitations import NEW, find_or_add_user, invite, read_address, take_invitation
from cumulet.projects.members import refuse_last_owner_anywhere
from cumulet.projects.model import (
    ApiKey,
    DataCenterMember,
    Invitation,
    Membership,
    Password,
    SingleSignOn,
    SshKey,
    User,
    UserState,
)
from cumulet.projects.paging import fetch_part, read_page
from cumulet.projects.people_wire import (
    AcceptInvitation,
    AcceptInvitationResponse,
    ChangeUser,
    InviteUser,
    InviteUserResponse,
    ListUsersResponse,
    UserAnswer,
    user_view,
)
from cumulet.projects.wire import ApiKeyAnswer
from cumulet.wire import Empty


@operation("GET /v1/users", access=Access.AUDITOR)
def list_users(db: Session, *, page_size: int = 0, page_token: str = "") -> ListUsersResponse:
    """List the users of this cloud by e-mail address; those who were removed are not among them.

    Only for auditors and operators.
    """
    page = read_page(0, page_size, page_token)
    there = select(User).where(User.state != UserState.REMOVED)
    users, token = fetch_part(db, there, page, User.email)
    return ListUsersResponse(users=[user_view(one) for one in users], page_token=token, page_size=page.size)


@operation("GET /v1/users/{id}", access=Access.AUDITOR)
def get_user(db: Session, *, id: str) -> UserAnswer:
    """Show a user, named by id or e-mail address.

    Only for auditors and operators.
    """
    return user_view(find_user_named(db, id))


@operation("POST /v1/users", access=Access.OPERATOR)
def invite_user(
    db: Session, caller: Caller, now: datetime, limits: Limits, origin: str, *, data: InviteUser
) -> InviteUserResponse:
    """Invite a person by their e-mail address; the answer has the code that lets them in, once.

    Who was invited before and has not accepted gets another code, and the earlier one ends. Only for operators.
    """
    user = find_or_add_user(db, read_address("emailAddress", data.email_address))
    if user.state not in NEW:
        raise AlreadyExists(f"emailAddress: {user.email!r} is a user of this cloud already")
    user.cloud_role = data.role.cloud_role
    invitation = invite(db, caller, user, now, limits, origin)
    _log(db, EventName.USER_INVITED, user, f"{caller.email} invited {user.email}", caller.email, now)
    return InviteUserResponse(user=user_view(user), invitation=invitation)


@operation("POST /v1/invitations/accept", access=Access.OPEN)
def accept_invitation(db: Session, now: datetime, *, data: AcceptInvitation) -> AcceptInvitationResponse:
    """Become a user by the code of an invitation; the answer has the first API key."""
    user = take_invitation(db, data.code, now)
    if user.state is not UserState.ACTIVE:
        welcome(db, user, data.first_name, data.last_name, now)
    key, id = new_key(), f"key-{secrets.token_hex(6)}"
    db.add(ApiKey(user_id=user.id, id=id, digest=digest_of(key), created_at=now))
    return AcceptInvitationResponse(
        user=user_view(user), api_key=ApiKeyAnswer(id=id, create_time=now, key=key)
    )


@operation("PATCH /v1/users/{id}", access=Access.OPERATOR)
def change_user(db: Session, caller: Caller, now: datetime, *, id: str, data: ChangeUser) -> UserAnswer:
    """Change what a user may do in the installation.

    Only for operators, of whom one has to stay.
    """
    user = find_user_to_change(db, id)
    if user.state is UserState.INVITED:
        raise Refused(
            f"{user.email} has not accepted their invitation yet: invite them anew with that role",
            reason="USER_NOT_ACTIVE",
            subject=user.email,
        )
    if data.role.cloud_role is not user.cloud_role:
        refuse_last_operator(db, user)
        user.cloud_role = data.role.cloud_role
        text = f"{caller.email} gave {user.email} the role {data.role.value}"
        _log(db, EventName.USER_ROLE_CHANGED, user, text, caller.email, now)
    return user_view(user)


@operation("POST /v1/users/{id}/suspend", access=Access.OPERATOR)
def suspend_user(db: Session, caller: Caller, now: datetime, *, id: str) -> Empty:
    """Suspend a user: their keys open nothing from now on, and their consoles close within seconds.

    What they have made stays as it is. Only for operators, of whom one has to stay.
    """
    user = find_user_to_change(db, id)
    if user.state is UserState.INVITED:
        raise Refused(
            f"{user.email} has not accepted their invitation yet: remove them to end it",
            reason="USER_NOT_ACTIVE",
            subject=user.email,
        )
    if user.state is UserState.ACTIVE:
        refuse_last_operator(db, user)
        user.state = UserState.SUSPENDED
        db.execute(delete(Invitation).where(Invitation.user_id == user.id))
        _log(db, EventName.USER_SUSPENDED, user, f"{caller.email} suspended {user.email}", caller.email, now)
    return Empty()


@operation("POST /v1/users/{id}/resume", access=Access.OPERATOR)
def resume_user(db: Session, caller: Caller, now: datetime, *, id: str) -> Empty:
    """Let a suspended user in again, with the keys and roles that they had.

    Only for operators.
    """
    user = find_user_to_change(db, id)
    if user.state is UserState.SUSPENDED:
        user.state = UserState.ACTIVE
        _log(db, EventName.USER_RESUMED, user, f"{caller.email} resumed {user.email}", caller.email, now)
    return Empty()


@operation("DELETE /v1/users/{id}", access=Access.OPERATOR)
def remove_user(db: Session, caller: Caller, now: datetime, *, id: str) -> Empty:
    """Remove a user with their keys and roles; what they have made stays.

    Only for operators, of whom one has to stay.
    """
    remove(db, find_user_to_change(db, id), caller, now)
    return Empty()


@operation("DELETE /v1/auth", access=Access.USER)
def delete_user(db: Session, caller: Caller, now: datetime) -> Empty:
    """Remove whom the key acts for, with their keys and roles; what they have made stays."""
    remove(db, find_user_to_change(db, str(caller.user_id)), caller, now)
    return Empty()


def welcome(db: Session, user: User, first_name: str, last_name: str, now: datetime) -> None:
    """Make an invited person a user."""
    user.state, user.first_name, user.last_name = UserState.ACTIVE, first_name, last_name
    _log(db, EventName.USER_JOINED, user, f"{user.email} accepted their invitation", user.email, now)


def remove(db: Session, user: User, caller: Caller, now: datetime) -> None:
    """Take all that lets a user in; their row stays, because what they made names them."""
    refuse_last_operator(db, user)
    refuse_last_owner_anywhere(db, user)
    for theirs in (ApiKey, SshKey, Membership, DataCenterMember, Invitation, Password, SingleSignOn):
        db.execute(delete(theirs).where(theirs.user_id == user.id))
    user.state, user.cloud_role, user.first_name, user.last_name = UserState.REMOVED, CloudRole.NONE, "", ""
    _log(db, EventName.USER_REMOVED, user, f"{caller.email} removed {user.email}", caller.email, now)


def find_user_named(db: Session, id: str) -> User:
    """Find a user by id or e-mail address; NotFound."""
    try:
        which = User.id == UUID(id)
    except ValueError:
        which = User.email == id.lower()
    user = db.scalar(select(User).where(which, User.state != UserState.REMOVED))
    if user is None:
        raise NotFound.named("user", id, names_there(db, User.email, User.state != UserState.REMOVED))
    return user


def find_user_to_change(db: Session, id: str) -> User:
    """Find a user likewise, and keep others from changing them, or who the operators are, until the transaction ends."""
    user = find_user_named(db, id)
    which = (User.cloud_role == CloudRole.OPERATOR) | (User.id == user.id)
    db.scalars(select(User.id).where(which).order_by(User.id).with_for_update()).all()
    db.refresh(user)
    return user


def refuse_last_operator(db: Session, user: User) -> None:
    """Refuse to lose the only operator who can call."""
    others = select(User.id).where(
        User.cloud_role == CloudRole.OPERATOR, User.state == UserState.ACTIVE, User.id != user.id
    )
    if user.cloud_role is CloudRole.OPERATOR and db.scalar(others.limit(1)) is None:
        raise Refused(
            f"{user.email} is the only operator of this cloud: make somebody else one first",
            reason="LAST_OPERATOR",
            subject=user.email,
        )


def _log(db: Session, event: EventName, user: User, text: str, actor: str, now: datetime) -> None:
    journal.log_event(db, event, at=now, project_id="", subject_id=user.id, text=text, actor=actor)
