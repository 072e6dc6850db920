"""A group in OVN: a port group with an ACL for each rule, over ACLs for all that no rule speaks about.

Members are the ports' affair (ports.py). Whatever goes out freely is let out by an ACL that tracks connections, too:
else a switch where no group has a rule would not know an answer from an attack.

    1001  what a rule lets in or out
    1000  nothing else in; nothing else out, if a rule is about that
     999  everything out, if none of the port's groups has a rule about that
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from uuid import UUID

from cumulet.fabric import GroupSpec
from cumulet.fabric.ovn import names
from cumulet.fabric.ovn.matches import match_members, match_rule
from cumulet.fabric.ovn.replica import Row
from cumulet.fabric.ovn.rows import Draft, View

UNKNOWN: Final = GroupSpec(UUID(int=0), rules=())
"""In the place of a group that somebody else has changed."""


def declare_group(view: View, spec: GroupSpec) -> None:
    """Its rows."""
    draft = Draft(view, spec.id)
    acls = [*_declare_rules(draft, spec), *_declare_the_rest(draft, spec)]
    draft.row("Port_Group", "group", spec=spec, name=names.group(spec.id), acls=acls)
    draft.finish()


def _declare_rules(draft: Draft, spec: GroupSpec) -> Iterator[Row]:
    """What rules let pass."""
    name = names.group(spec.id)
    for rule in spec.rules:
        match = match_rule(rule, name)
        yield _declare_acl(
            draft,
            rule_part(rule.id),
            inbound=rule.inbound,
            priority=1001,
            match=match,
            action="allow-related",
        )


def _declare_the_rest(draft: Draft, spec: GroupSpec) -> Iterator[Row]:
    """What becomes of everything else."""
    to_members, from_members = (
        f"{match_members(names.group(spec.id), inbound=inbound)} && ip" for inbound in (True, False)
    )
    yield _declare_acl(draft, "rest-in", inbound=True, priority=1000, match=to_members, action="drop")
    if any(not rule.inbound for rule in spec.rules):
        yield _declare_acl(draft, "rest-out", inbound=False, priority=1000, match=from_members, action="drop")
    else:
        yield _declare_acl(
            draft, "rest-out", inbound=False, priority=999, match=from_members, action="allow-related"
        )


def _declare_acl(draft: Draft, part: str, *, inbound: bool, priority: int, match: str, action: str) -> Row:
    """One row; the higher priority wins."""
    direction = "to-lport" if inbound else "from-lport"
    return draft.row(
        "ACL", part, direction=direction, priority=priority, match=match, action=action, options={}
    )


def rule_part(rule_id: str) -> str:
    """The part that a rule's ACL plays."""
    return f"rule/{rule_id}"


def rule_of(part: str) -> str:
    """The rule whose ACL plays a part; `""` for what no rule speaks about."""
    kind, _, rule_id = part.partition("/")
    return rule_id if kind == "rule" else ""
