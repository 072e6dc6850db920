"""From security groups' rows to JSON, and which are attached to whose NICs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.security_groups.model import SecurityGroup
from cumulet.security_groups.wire import Rule, SecurityGroupAnswer

GroupsByNic: TypeAlias = Mapping[UUID, Sequence[SecurityGroupAnswer]]
"""What is attached to each NIC, by name."""


def group_view(group: SecurityGroup) -> SecurityGroupAnswer:
    """Show a security group."""
    return SecurityGroupAnswer(
        project_id=group.project_id,
        data_center_id=group.data_center_id,
        id=group.name,
        description=group.description,
        rules=msgspec.convert(group.rules, list[Rule]),
    )


def groups_by_nic(db: Session, attached: Iterable[tuple[UUID, UUID]]) -> GroupsByNic:
    """Show the security groups that are attached, given as pairs of a NIC and a group: each group is read once."""
    nics: dict[UUID, list[UUID]] = defaultdict(list)
    for nic_id, group_id in attached:
        nics[group_id].append(nic_id)
    found: dict[UUID, list[SecurityGroupAnswer]] = defaultdict(list)
    if nics:
        groups = select(SecurityGroup).where(SecurityGroup.id.in_(nics.keys()))
        for group in db.scalars(groups.order_by(SecurityGroup.name)):
            answer = group_view(group)
            for nic_id in nics[group.id]:
                found[nic_id].append(answer)
    return found
