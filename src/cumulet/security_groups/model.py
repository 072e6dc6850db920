"""A security group's row, with its rules as they were checked."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from cumulet.db import Row


class SecurityGroup(Row):
    """A project's rules for whichever NICs it is attached to."""

    __tablename__ = "security_group"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"))
    name: Mapped[str]
    """The owner's id for it, unique in the project."""
    data_center_id: Mapped[str]
    description: Mapped[str]
    rules: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    """`wire.Rule`, each."""
    in_force: Mapped[bool] = mapped_column(default=False)
    """The fabric has had it, so NICs can be put in it."""
    deleted: Mapped[bool] = mapped_column(default=False)
    """Its project wants it gone; it cannot be found any more."""
