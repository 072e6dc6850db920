"""Finding a project's security groups."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.errors import NotFound
from cumulet.security_groups.model import SecurityGroup


def find_group(db: Session, project_id: str, name: str) -> SecurityGroup:
    """Find a security group of a project; NotFound."""
    wanted = select(SecurityGroup).where(SecurityGroup.project_id == project_id, SecurityGroup.name == name)
    return _found(db.scalar(wanted), name)


def lock_group(db: Session, project_id: str, name: str) -> SecurityGroup:
    """Find it and keep others from changing, attaching or deleting it until the transaction ends; NotFound."""
    wanted = select(SecurityGroup).where(SecurityGroup.project_id == project_id, SecurityGroup.name == name)
    locked = wanted.with_for_update().execution_options(populate_existing=True)
    return _found(db.scalar(locked), name)


def _found(group: SecurityGroup | None, name: str) -> SecurityGroup:
    if group is None or group.deleted:
        raise NotFound.named("security group", name)
    return group
