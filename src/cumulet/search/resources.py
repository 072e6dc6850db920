"""What projects own: how much of it there is, and what of it has a name with something in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, TypeVar

from sqlalchemy import ColumnElement, SQLColumnExpression, case, func, select
from sqlalchemy.orm import Session

from cumulet.disks import Disk
from cumulet.networks import Network
from cumulet.private_images import PrivateImage
from cumulet.projects import Project
from cumulet.resource import Resource, Wanted
from cumulet.security_groups import SecurityGroup
from cumulet.vm_record import Vm

R = TypeVar("R", bound=Resource)
KINDS: Final[tuple[type[Resource], ...]] = (Vm, Disk, Network, PrivateImage, SecurityGroup)
MOST: Final = 100
"""Of each kind, the most that one search gives."""


def count_resources(db: Session, *which: ColumnElement[bool]) -> Counter[str]:
    """Count what those projects own for which all this is true, by their ids."""
    counted: Counter[str] = Counter()
    for kind in KINDS:
        owned = select(kind.project_id, func.count()).join(Project, Project.id == kind.project_id)
        there = owned.where(kind.wanted != Wanted.DELETED, *which).group_by(kind.project_id)
        counted.update(dict(db.execute(there).all()))
    return counted


def find_named(db: Session, kind: type[R], text: str, *which: ColumnElement[bool]) -> Sequence[R]:
    """Give those of a kind, in these projects, whose names have a text in them, the nearest first."""
    there = select(kind).join(Project, Project.id == kind.project_id).where(kind.wanted != Wanted.DELETED)
    named = there.where(has_text(kind.name, text), *which).order_by(distance(kind.name, text), kind.name)
    return db.scalars(named.limit(MOST)).all()


def has_text(column: SQLColumnExpression[str], text: str) -> ColumnElement[bool]:
    """Say which names have a text in them, whatever its case."""
    return func.lower(column).contains(text.lower(), autoescape=True)


def distance(column: SQLColumnExpression[str], text: str) -> ColumnElement[int]:
    """Order names by how near they come to a text: the very same, one that begins with it, and any other."""
    name = func.lower(column)
    return case((name == text.lower(), 0), (name.startswith(text.lower(), autoescape=True), 1), else_=2)


def score(name: str, text: str) -> float:
    """Say how near a name comes to a text that is in it: 1 for the very same."""
    return len(text) / len(name)
