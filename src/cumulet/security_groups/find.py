"""Finding a project's security groups."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.db import names_there
from cumulet.errors import NotFound
from cumulet.security_groups.model import SecurityGroup


def find_group(db: Session, project_id: str, name: str) -> SecurityGroup:
    """Find a security group of a project; NotFound."""
    wanted = select(SecurityGroup).where(SecurityGroup.project_id == project_id, SecurityGroup.name == name)
    return _found(db, db.scalar(wanted), project_id, name)


def lock_group(db: Session, project_id: str, name: str) -> SecurityGroup:
    """Find it and keep others from changing, attaching or deleting it until the transaction ends; NotFound."""
    wanted = select(SecurityGroup).where(SecurityGroup.project_id == project_id, SecurityGroup.name == name)
    locked = wanted.with_for_update().execution_options(populate_existing=True)
    return _found(db, db.scalar(locked), project_id, name)


def _found(db: Session, group: SecurityGroup | None, project_id: str, name: str) -> SecurityGroup:
    if group is None or group.deleted:
        of_project = (SecurityGroup.project_id == project_id, ~SecurityGroup.deleted)
        raise NotFound.named("security group", name, names_there(db, SecurityGroup.name, *of_project))
    return group
