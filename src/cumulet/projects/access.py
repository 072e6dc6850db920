"""The two questions before every operation: who is calling, and may they do this in that project.

A key is 256 random bits and the database keeps its SHA-256, so looking a key up is one indexed search for a digest:
its time tells nothing about any key, and nothing needs to be slow about it as it would for a password.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, bindparam, func, select
from sqlalchemy.orm import Session

from cumulet.db import fetch_columns, names_there
from cumulet.errors import Exhausted, Forbidden, NotFound, Unauthenticated
from cumulet.operation import Caller
from cumulet.projects.model import DEFAULT_PROJECT, ApiKey, Membership, Project, Role, SshKey, User

KEY_PREFIX: Final = "cumulet_"
"""Lets people and secret scanners tell what a found text is."""
RUNS_THE_CLOUD: Final = and_(
    Membership.user_id == User.id,
    Membership.project_id == DEFAULT_PROJECT,
    Membership.role == Role.OWNER,
)
OWNER_OF_KEY: Final = (
    select(User.id, User.email, Membership.role.is_not(None))
    .join(ApiKey, ApiKey.user_id == User.id)
    .outerjoin(Membership, RUNS_THE_CLOUD)
    .where(ApiKey.digest == bindparam("digest"))
)
ROLE: Final = select(Membership.role).where(
    Membership.project_id == bindparam("project_id"), Membership.user_id == bindparam("user_id")
)


def new_key() -> str:
    """Make an API key of 256 random bits."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def digest_of(key: str) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).digest()


def authenticate(db: Session, key: str) -> Caller:
    """Find the user that a key acts for; Unauthenticated when nobody's."""
    digest = digest_of(key)
    owners = fetch_columns(db, OWNER_OF_KEY, digest=digest)
    if not owners:
        raise Unauthenticated("this API key is not valid; expected the header 'Authorization: Bearer KEY'")
    ((user_id, email, is_operator),) = owners
    return Caller(user_id=user_id, email=email, is_operator=is_operator, key_digest=digest)


def find_user(db: Session, user_id: UUID) -> User:
    """Give the user of that id; NotFound."""
    user = db.get(User, user_id)
    if user is None:
        raise NotFound.named("user", str(user_id))
    return user


def require(db: Session, caller: Caller, project_id: str, role: Role) -> None:
    """Return if the caller has at least `role` in the project.

    NotFound when they have none (what one may not see is not there), Forbidden when their role is too low.
    """
    roles = fetch_columns(db, ROLE, project_id=project_id, user_id=caller.user_id)
    if not roles:
        theirs = names_there(db, Membership.project_id, Membership.user_id == caller.user_id)
        raise NotFound.named("project", project_id, theirs)
    ((actual,),) = roles
    if actual.value < role.value:
        raise Forbidden(
            f"you are {actual.name} of project {project_id!r}; this needs the role {role.name} or a higher one"
        )


def is_good(db: Session, key_digest: bytes) -> bool:
    """Whether a key has not been revoked."""
    return db.scalar(select(ApiKey.id).where(ApiKey.digest == key_digest)) is not None


def refuse_beyond(db: Session, caller: Caller, theirs: ColumnElement[bool], what: str, *, most: int) -> None:
    """Refuse one more of something when the caller has `most` of it; others wait until the transaction ends."""
    db.execute(select(User.id).where(User.id == caller.user_id).with_for_update())
    there = db.scalar(select(func.count()).where(theirs)) or 0
    if there >= most:
        raise Exhausted(f"you have {there} {what}, and one user may have at most {most}: remove one first")


def find_project(db: Session, caller: Caller, id: str, role: Role) -> Project:
    """Find a project that the caller has this role in; NotFound, Forbidden."""
    require(db, caller, id, role)
    return db.get_one(Project, id)


def keys_of_user(db: Session, user_id: UUID) -> tuple[str, ...]:
    """Give the public SSH keys of a user, oldest first."""
    keys = select(SshKey.public_key).where(SshKey.user_id == user_id)
    return tuple(db.scalars(keys.order_by(SshKey.created_at, SshKey.id)))


def keys_of_project(db: Session, project_id: str) -> tuple[str, ...]:
    """Give the public SSH keys of all members of a project, oldest first; each line once."""
    keys = select(SshKey.public_key).join(Membership, Membership.user_id == SshKey.user_id)
    keys = keys.where(Membership.project_id == project_id).order_by(SshKey.created_at, SshKey.id)
    return tuple(dict.fromkeys(db.scalars(keys)))
