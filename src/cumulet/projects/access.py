"""The two questions before every operation: who is calling, and may they do this in that project.

A key is 256 random bits and the database keeps its SHA-256, so looking a key up is one indexed search for a digest:
its time tells nothing about any key, and nothing needs to be slow about it as it would for a password.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, bindparam, case, func, or_, select, true, update
from sqlalchemy.orm import Session

from cumulet.db import fetch_columns, names_there
from cumulet.errors import KEY_PREFIX, Exhausted, NotFound, Unauthenticated
from cumulet.operation import Access, Caller, Operation
from cumulet.permission import Role, refuse
from cumulet.projects.model import ApiKey, DataCenterMember, Membership, Project, SshKey, User, UserState

WHO: Final = (
    select(
        User.id,
        User.email,
        User.state,
        User.cloud_role,
        ApiKey.id,
        ApiKey.expires_at,
        ApiKey.project_id,
        ApiKey.reads_only,
        case((ApiKey.is_session, ApiKey.last_used_at)),
        Project.id,
        Membership.role,
    )
    .join(ApiKey, ApiKey.user_id == User.id)
    .outerjoin(Project, Project.id == bindparam("project_id"))
    .outerjoin(Membership, and_(Membership.user_id == User.id, Membership.project_id == Project.id))
    .where(ApiKey.digest == bindparam("digest"))
)
"""All that says who calls and what they may, in one look."""
SESSION_IDLE: Final = timedelta(hours=12)
"""After so long without use a session ends."""
LOCK_PROJECT: Final = (
    select(Project.quotas, Project.spend_told)
    .where(Project.id == bindparam("id"))
    .with_for_update(key_share=True)
)
CREATED: Final = select(Project.created_at).where(Project.id == bindparam("id"))
HOLDER: Final = (
    select(User.id, User.email, ApiKey.id)
    .join(ApiKey, ApiKey.user_id == User.id)
    .where(ApiKey.digest == bindparam("digest"))
)


def new_key() -> str:
    """Make an API key of 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def digest_of(key: str) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).digest()


def admit(db: Session, key: str, operation: Operation, *, project_id: str, now: datetime) -> Caller:
    """Give the caller of an operation, about the project that its path names; Unauthenticated, NotFound, Forbidden."""
    caller = authenticate(db, key, project_id=project_id, now=now)
    return permit(db, caller, operation.access, changes=not operation.reads_only)


def authenticate(db: Session, key: str, *, now: datetime, project_id: str = "") -> Caller:
    """Find the user that a key acts for; Unauthenticated when nobody's."""
    return find_caller(db, digest_of(key), now=now, project_id=project_id)


def find_caller(db: Session, key_digest: bytes, *, now: datetime, project_id: str = "") -> Caller:
    """Find whom a key acts for, and what they are in a project; Unauthenticated when it is good no more."""
    found = fetch_columns(db, WHO, digest=key_digest, project_id=project_id)
    if not found:
        raise Unauthenticated("this API key is not valid; expected the header 'Authorization: Bearer KEY'")
    user_id, email, state, cloud_role, key_id, expires_at, key_project, reads_only, used_at, there, role = (
        found[0]
    )
    if state is not UserState.ACTIVE:
        raise Unauthenticated("the user of this API key is suspended; an operator can resume them")
    if expires_at is not None and expires_at <= now:
        raise Unauthenticated(f"this API key expired at {expires_at:%Y-%m-%dT%H:%M:%SZ}; create another")
    idle_at = used_at and used_at + SESSION_IDLE
    if idle_at is not None and idle_at <= now:
        raise Unauthenticated("this session was not used for a while and has ended; sign in again")
    return Caller(
        user_id=user_id,
        email=email,
        cloud_role=cloud_role,
        key_digest=key_digest,
        key_id=key_id,
        key_project=key_project or "",
        key_reads_only=reads_only,
        key_expires_at=min((end for end in (expires_at, idle_at) if end is not None), default=None),
        project_id=project_id,
        project_there=there is not None,
        role=role,
    )


def good_digests(db: Session, now: datetime) -> frozenset[bytes]:
    """Give the digests of all keys that open something."""
    good = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now)
    keys = select(ApiKey.digest).join(User, User.id == ApiKey.user_id)
    return frozenset(db.scalars(keys.where(User.state == UserState.ACTIVE, good)))


def user_of(db: Session, digest: bytes) -> UUID | None:
    """Say whose the key with a digest is, good or not; None of nobody's."""
    return next((user_id for user_id, _, _ in fetch_columns(db, HOLDER, digest=digest)), None)


def find_holder(db: Session, key: str) -> tuple[UUID, str, str] | None:
    """Find whose key it is, good or not: their id and e-mail address, and what they call it; None for nobody's."""
    for user_id, email, key_id in fetch_columns(db, HOLDER, digest=digest_of(key)):
        return user_id, email, key_id
    return None


def permit(db: Session, caller: Caller, access: Access, *, changes: bool) -> Caller:
    """Give a caller who may do what asks for `access`, with what else that needs to be known of them.

    NotFound when the project is not there for them (what one may not see is not there), Forbidden when their role or
    their key does not go as far.
    """
    if access.role is not None and not caller.sees_project:
        seen = names_there(db, Project.id, is_seen(caller))
        raise NotFound.named("project", caller.project_id, seen)
    if access.data_center_role is not None:
        caller = replace(caller, data_centers=data_centers_of(db, caller.user_id))
    refuse(caller, access, changes=changes)
    return caller


def data_centers_of(db: Session, user_id: UUID) -> dict[str, Role]:
    """Give a user's roles in data centers."""
    theirs = select(DataCenterMember.data_center_id, DataCenterMember.role)
    return dict(db.execute(theirs.where(DataCenterMember.user_id == user_id)).all())


def is_seen(caller: Caller) -> ColumnElement[bool]:
    """Say which projects are there for a caller."""
    theirs = select(Membership.project_id).where(Membership.user_id == caller.user_id)
    seen = true() if caller.reads_everything else Project.id.in_(theirs)
    return and_(seen, Project.id == caller.key_project) if caller.key_project else seen


def write_uses(db: Session, used: Mapping[bytes, datetime]) -> None:
    """Write down when keys were last used; another server may have written a later use."""
    earlier = or_(ApiKey.last_used_at.is_(None), ApiKey.last_used_at < bindparam("at"))
    later = update(ApiKey).where(ApiKey.digest == bindparam("of"), earlier)
    db.connection().execute(
        later.values(last_used_at=bindparam("at")),
        [{"of": digest, "at": at} for digest, at in sorted(used.items())],
    )


def has_role(caller: Caller, role: Role) -> Select[str]:
    """Choose the ids of the projects that a caller has a role in, by the key that they show."""
    theirs = select(Membership.project_id).where(
        Membership.user_id == caller.user_id, Membership.role == role
    )
    return theirs.where(Membership.project_id == caller.key_project) if caller.key_project else theirs


def find_user(db: Session, user_id: UUID) -> User:
    """Give the user of that id; NotFound."""
    user = db.get(User, user_id)
    if user is None:
        raise NotFound.named("user", str(user_id))
    return user


def find_project(db: Session, id: str, *, lock: bool = False) -> Project:
    """Give a project, and with `lock` keep others from changing who belongs to it until the transaction ends; NotFound."""
    project = db.get(Project, id, populate_existing=lock, with_for_update=lock or None)
    if project is None:
        raise NotFound.named("project", id)
    return project


def begin_of_project(db: Session, id: str) -> datetime:
    """Say when a project was made: what is from before is of an earlier one of that id, and none of its business."""
    ((created,),) = fetch_columns(db, CREATED, id=id)
    return created


def refuse_beyond(db: Session, caller: Caller, theirs: ColumnElement[bool], what: str, *, most: int) -> None:
    """Refuse one more of something when the caller has `most` of it; others wait until the transaction ends."""
    db.execute(select(User.id).where(User.id == caller.user_id).with_for_update())
    there = db.scalar(select(func.count()).where(theirs)) or 0
    if there >= most:
        raise Exhausted(f"you have {there} {what}, and one user may have at most {most}: remove one first")


class LockedProject(NamedTuple):
    """What bounds a project."""

    quotas: dict[str, int | None]
    """Its own."""
    spend_told: int


def lock_project(db: Session, id: str) -> LockedProject:
    """Keep others who lock it from changing what a project has until the transaction ends; give what bounds it.

    New rows that belong to the project do not wait for that. NotFound when it is gone.
    """
    found = fetch_columns(db, LOCK_PROJECT, id=id)
    if not found:
        raise NotFound.named("project", id)
    return LockedProject(*found[0])


def keys_of_user(db: Session, user_id: UUID) -> tuple[str, ...]:
    """Give the public SSH keys of a user, oldest first."""
    keys = select(SshKey.public_key).where(SshKey.user_id == user_id)
    return tuple(db.scalars(keys.order_by(SshKey.created_at, SshKey.id)))


def keys_of_project(db: Session, project_id: str) -> tuple[str, ...]:
    """Give the public SSH keys of all members of a project who are not suspended, oldest first; each line once."""
    keys = select(SshKey.public_key).where(is_of_project(project_id)).order_by(SshKey.created_at, SshKey.id)
    return tuple(dict.fromkeys(db.scalars(keys)))


def is_of_project(project_id: str) -> ColumnElement[bool]:
    """Say which SSH keys are those of a project."""
    members = select(User.id).join(Membership, Membership.user_id == User.id)
    members = members.where(Membership.project_id == project_id, User.state == UserState.ACTIVE)
    return SshKey.user_id.in_(members)
