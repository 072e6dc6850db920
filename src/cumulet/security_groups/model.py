"""A security group's row, with its rules as they were checked."""

from __future__ import annotations

import enum
from typing import Any

from sqlalchemy import JSON, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from cumulet.due import Kind
from cumulet.events import SecurityGroupData
from cumulet.resource import Resource


class GroupState(enum.Enum):
    """What we last saw of a group."""

    CREATING = "CREATING"
    ACTIVE = "ACTIVE"
    """The fabric has had it, so NICs can be put in it."""


class SecurityGroup(Resource):
    """A project's rules for whichever NICs it is attached to."""

    kind = Kind.SECURITY_GROUP
    called = "security group"
    GONE_AT_ONCE = True

    __tablename__ = "security_group"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"))
    data_center_id: Mapped[str]
    description: Mapped[str]
    rules: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    """`wire.Rule`, each."""
    state: Mapped[GroupState]

    def event_data(self) -> SecurityGroupData:
        """Describe it by how many rules it has."""
        return SecurityGroupData(
            name=self.name, data_center_id=self.data_center_id, rules=len(self.rules), state=self.state.value
        )
