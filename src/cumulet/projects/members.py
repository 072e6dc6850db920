"""Who belongs to a project: a project always has an owner who can call. Changes of it take turns by the project's row."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import ColumnElement, delete, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from cumulet.db import names_there
from cumulet.errors import Exhausted, NotFound, Refused
from cumulet.ids import MOST
from cumulet.limits import Limits
from cumulet.permission import CloudRole, Role
from cumulet.projects.model import (
    DataCenterMember,
    Invitation,
    Membership,
    Project,
    User,
    UserState,
)


def find_membership(db: Session, project_id: str, user: str) -> tuple[User, Membership]:
    """Find a member of a project by id or e-mail address; NotFound."""
    theirs = Membership.project_id == project_id
    of = select(User, Membership).join(Membership, Membership.user_id == User.id)
    found = db.execute(of.where(theirs, _is_called(user))).one_or_none()
    if found is None:
        known = names_there(db, User.email, theirs, Membership.user_id == User.id)
        raise NotFound.named(f"member of project {project_id!r}", user, known)
    return found[0], found[1]


def find_data_center_member(db: Session, data_center_id: str, user: str) -> tuple[User, DataCenterMember]:
    """Find who looks after a data center by id or e-mail address; NotFound."""
    theirs = DataCenterMember.data_center_id == data_center_id
    of = select(User, DataCenterMember).join(DataCenterMember, DataCenterMember.user_id == User.id)
    found = db.execute(of.where(theirs, _is_called(user)).with_for_update()).one_or_none()
    if found is None:
        known = names_there(db, User.email, theirs, DataCenterMember.user_id == User.id)
        raise NotFound.named(f"member of data center {data_center_id[:MOST]!r}", user, known)
    return found[0], found[1]


def _is_called(user: str) -> ColumnElement[bool]:
    """Say who is meant, by their id or their e-mail address."""
    try:
        return User.id == UUID(user)
    except ValueError:
        return User.email == user.lower()


def refuse_beyond_members(db: Session, project_id: str, limits: Limits) -> None:
    """Refuse one more member when a project has as many as it may."""
    there = db.scalar(select(func.count()).where(Membership.project_id == project_id)) or 0
    if there >= limits.members_per_project:
        raise Exhausted(
            f"project {project_id!r} has {there} members, and one may have at most"
            f" {limits.members_per_project}: remove one first"
        )


def forget_strangers(db: Session, ids: Collection[UUID]) -> None:
    """Forget those whom an owner invited, who never came and who belong to nothing any more: their codes end with them."""
    belongs = (
        exists().where(Membership.user_id == User.id),
        exists().where(DataCenterMember.user_id == User.id),
        exists().where(Project.created_by == User.id),
    )
    strangers = select(User.id).where(
        User.id.in_(ids),
        User.state == UserState.INVITED,
        User.cloud_role == CloudRole.NONE,
        ~User.vouched_for,
        ~or_(*belongs),
    )
    gone = db.scalars(strangers.order_by(User.id).with_for_update()).all()
    db.execute(delete(Invitation).where(Invitation.user_id.in_(gone)))
    db.execute(delete(User).where(User.id.in_(gone)))


def refuse_last_owner(db: Session, user: User, membership: Membership) -> None:
    """Refuse to take the role of the only owner of a project who can call; its row is locked."""
    if membership.role is Role.OWNER and not db.scalar(
        select(_has_another_owner(membership.project_id, user.id))
    ):
        raise _last_owner(user, [membership.project_id])


def refuse_last_owner_anywhere(db: Session, user: User) -> None:
    """Refuse to lose a user who is the only owner of some project; those that they own are locked."""
    owned = select(Membership.project_id).where(Membership.user_id == user.id, Membership.role == Role.OWNER)
    locked = select(Project.id).where(Project.id.in_(owned)).order_by(Project.id).with_for_update()
    alone = [id for id in db.scalars(locked) if not db.scalar(select(_has_another_owner(id, user.id)))]
    if alone:
        raise _last_owner(user, alone)


def _has_another_owner(project_id: str, user_id: UUID) -> ColumnElement[bool]:
    other, theirs = aliased(User), aliased(Membership)
    return exists(
        select(other.id)
        .join(theirs, theirs.user_id == other.id)
        .where(
            theirs.project_id == project_id,
            theirs.role == Role.OWNER,
            other.state == UserState.ACTIVE,
            other.id != user_id,
        )
    )


def _last_owner(user: User, projects: list[str]) -> Refused:
    named = ", ".join(map(repr, projects[:5])) + (" and more" if len(projects) > 5 else "")  # noqa: PLR2004
    return Refused(
        f"{user.email} is the only owner of {named}: make somebody else an owner first, or delete the project",
        reason="LAST_OWNER",
        subject=projects[0],
    )
