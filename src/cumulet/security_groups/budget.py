"""How much rules may come to once they are attached: each host of a network holds all that its groups expand to.

A group without bound is refused where it is written (`plan_rules`). Attached, groups add up: on a NIC, and for a
project on each network where one of its NICs has them. All of it is counted from the rows, after a change and in its
transaction.
"""

from __future__ import annotations

from collections import Counter
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.errors import Exhausted
from cumulet.networks import Network, Nic, NicGroup
from cumulet.security_groups.model import SecurityGroup
from cumulet.security_groups.rules import matches_of, read_rule
from cumulet.security_groups.wire import Rule

MOST_OF_NIC: Final = 8_000
MOST_OF_PROJECT: Final = 20_000
"""40,000 flows on a host that has NICs on all those networks: some 50 MB, and a second for a change of them all."""
CURE: Final = "attach fewer groups, or give them fewer rules and ranges of ports"


def check_budget(db: Session, project_id: str) -> None:
    """Return when a project's NICs have rules within bounds; Exhausted tells what they come to."""
    attached = (
        select(Nic.id, Nic.network_id, NicGroup.group_id)
        .join(NicGroup, NicGroup.nic_id == Nic.id)
        .join(Network, Network.id == Nic.network_id)
        .where(Network.project_id == project_id)
    )
    pairs = db.execute(attached).all()
    matches = group_matches(db, {pair.group_id for pair in pairs})
    on_nics: Counter[UUID] = Counter()
    for nic_id, _, group_id in pairs:
        on_nics[nic_id] += matches[group_id]
    check("a NIC", max(on_nics.values(), default=0), MOST_OF_NIC)
    on_networks = {(pair.network_id, pair.group_id) for pair in pairs}
    check("a project", sum(matches[group_id] for _, group_id in on_networks), MOST_OF_PROJECT)


def group_matches(db: Session, ids: set[UUID]) -> dict[UUID, int]:
    """Count what each group expands to."""
    groups = db.execute(select(SecurityGroup.id, SecurityGroup.rules).where(SecurityGroup.id.in_(ids)))
    return {
        id: sum(matches_of(read_rule(rule)) for rule in msgspec.convert(rules, list[Rule]))
        for id, rules in groups
    }


def check(what: str, count: int, most: int) -> None:
    """Refuse what is too much, with the figure."""
    if count > most:
        raise Exhausted(
            f"the security groups of {what} would expand to {count} matches; at most {most} are accepted: {CURE}"
        )
