"""Invitations: a code of 256 random bits, good once and for some days, that makes a known e-mail address a user.

Cumulet sends no mail: whoever invites gets the code and passes it on. Inviting somebody anew ends their earlier code.
Who has the code can become whom it is for, with all their roles: so nobody gets it who could not give all of these.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session

from cumulet.errors import Invalid, Refused
from cumulet.limits import Limits
from cumulet.permission import Caller, CloudRole, Role
from cumulet.projects.access import digest_of, has_role
from cumulet.projects.model import DataCenterMember, Invitation, Membership, User, UserState
from cumulet.projects.people_wire import InvitationAnswer

LONGEST_ADDRESS: Final = 254
NEW: Final = frozenset({UserState.INVITED, UserState.REMOVED})
"""States in which somebody has to accept before they are a user."""


def read_address(field: str, address: str) -> str:
    """Understand an e-mail address, whose case does not matter; Invalid."""
    name, at, host = address.partition("@")
    if not (name and at and host) or "@" in host or len(address) > LONGEST_ADDRESS:
        raise _no_address(field, address)
    if not address.isprintable() or " " in address:
        raise _no_address(field, address)
    return address.lower()


def _no_address(field: str, address: str) -> Invalid:
    return Invalid.field(
        field, address, f"an e-mail address of at most {LONGEST_ADDRESS} characters, such as ann@example.org"
    )


def find_or_add_user(db: Session, address: str) -> User:
    """Give the user of that address; if there is none, one who is still to be invited."""
    user = db.scalar(select(User).where(User.email == address).with_for_update())
    if user is None:
        user = User(
            id=uuid4(),
            email=address,
            first_name="",
            last_name="",
            state=UserState.INVITED,
            cloud_role=CloudRole.NONE,
        )
        db.add(user)
        db.flush()
    return user


def invite(
    db: Session, caller: Caller, user: User, now: datetime, limits: Limits, origin: str
) -> InvitationAnswer:
    """Make a code for somebody who is new, and end their earlier one; Refused when they are for others to invite."""
    if not may_invite(db, caller, user):
        raise Refused(
            f"{user.email} was invited by somebody else and has not accepted yet: "
            "add them once they have, or ask an operator of this cloud to",
            reason="USER_NOT_ACTIVE",
            subject=user.email,
        )
    user.state, user.vouched_for = UserState.INVITED, caller.is_operator
    return invite_anew(db, caller, user, now, limits, origin)


def may_invite(db: Session, caller: Caller, user: User) -> bool:
    """Whether a caller may have the code of somebody new, whose row is locked: with what their key is for."""
    standing = db.get(Invitation, user.id)
    is_theirs = standing is not None and standing.invited_by == caller.user_id
    if (caller.is_operator or is_theirs) and not caller.key_project:
        return True
    projects = set(db.scalars(select(Membership.project_id).where(Membership.user_id == user.id)))
    looks_after = select(DataCenterMember.user_id).where(DataCenterMember.user_id == user.id)
    if user.cloud_role is not CloudRole.NONE or db.scalar(looks_after.limit(1)):
        return False
    return projects <= set(db.scalars(has_role(caller, Role.OWNER))) if projects else standing is None


def invite_anew(
    db: Session, caller: Caller, user: User, now: datetime, limits: Limits, origin: str
) -> InvitationAnswer:
    """Make a code for somebody, and end their earlier one."""
    code = secrets.token_hex(32)  # it may not begin with a dash, which a command takes for an option
    expires_at = now + timedelta(days=limits.invitation_days)
    db.execute(delete(Invitation).where(Invitation.user_id == user.id))
    db.add(
        Invitation(user_id=user.id, digest=digest_of(code), expires_at=expires_at, invited_by=caller.user_id)
    )
    db.flush()
    url = f"{origin}/join#{code}"
    return InvitationAnswer(email_address=user.email, code=code, expire_time=expires_at, url=url)


def is_good(db: Session, code: str, now: datetime) -> bool:
    """Whether a code is that of an invitation that can be used."""
    return db.scalar(select(Invitation.user_id).where(*_good(code, now))) is not None


def take_invitation(db: Session, code: str, now: datetime) -> User:
    """Use an invitation up and give whom it is for; Invalid when it is good no more."""
    used = delete(Invitation).where(*_good(code, now))
    user_id = db.scalar(used.returning(Invitation.user_id))
    if user_id is None:
        raise Invalid.field(
            "code", "(not shown)", "the code of an invitation that is neither used, nor renewed, nor expired"
        )
    return db.get_one(User, user_id)


def _good(code: str, now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Say which invitation a code is for, if it is still good."""
    return Invitation.digest == digest_of(code), Invitation.expires_at > now
