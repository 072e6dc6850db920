"""From security groups' rows to JSON, and which are attached to whose NICs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from cumulet.networks import Nic, NicGroup
from cumulet.security_groups.model import SecurityGroup
from cumulet.security_groups.wire import Rule, SecurityGroupAnswer

GroupsByNic: TypeAlias = Mapping[UUID, Sequence[SecurityGroupAnswer]]
"""What is attached to each NIC, by name."""


def group_answer(group: SecurityGroup) -> SecurityGroupAnswer:
    """Show a security group."""
    return SecurityGroupAnswer(
        project_id=group.project_id,
        data_center_id=group.data_center_id,
        id=group.name,
        description=group.description,
        rules=msgspec.convert(group.rules, list[Rule]),
    )


def groups_by_nic(db: Session, *which: ColumnElement[bool]) -> GroupsByNic:
    """Show the security groups of NICs, with one query for all."""
    attached = select(NicGroup.nic_id, SecurityGroup).join(
        SecurityGroup, SecurityGroup.id == NicGroup.group_id
    )
    attached = attached.join(Nic, Nic.id == NicGroup.nic_id).where(*which).order_by(SecurityGroup.name)
    answers: dict[UUID, SecurityGroupAnswer] = {}
    found: dict[UUID, list[SecurityGroupAnswer]] = {}
    for nic_id, group in db.execute(attached):
        answer = answers.get(group.id) or answers.setdefault(group.id, group_answer(group))
        found.setdefault(nic_id, []).append(answer)
    return found
