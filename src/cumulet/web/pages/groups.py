"""Security groups: what each lets in and out, in sentences, and which VMs have it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from cumulet.errors import NotFound
from cumulet.security_groups.operations import get_security_group
from cumulet.security_groups.wire import Protocol, Rule, RuleType, SecurityGroupAnswer
from cumulet.vms.offers import list_vm_data_centers
from cumulet.web.lets_pass import lets_in, lets_out, sentence
from cumulet.web.listings import ConnectedVm, all_groups, all_vms, nics_of
from cumulet.web.paging import Paged
from cumulet.web.site import page
from cumulet.web.visit import Shown, Visit

GROUPS: Final = "/p/{project_id:str}/security-groups"
GROUP: Final = f"{GROUPS}/{{id:str}}"
RULE: Final = f"{GROUP}/rules/{{rule:str}}"
NEW: Final = "/p/{project_id:str}/new-security-group"
TCP: Final = Protocol.TCP.value
PRESETS: Final = (
    ("SSH", TCP, "22", "tcp:22"),
    ("Web", TCP, "80,443", "tcp:80,443"),
    ("Ping", Protocol.ICMP.value, "", "icmp"),
    ("PostgreSQL", TCP, "5432", "tcp:5432"),
    ("Everything", Protocol.ALL.value, "", "all"),
)
"""A name, a protocol and its ports, and the same as the command line has it."""
PROTOCOLS: Final = (
    (TCP, "TCP"),
    (Protocol.UDP.value, "UDP"),
    (Protocol.ICMP.value, "ICMP"),
    (Protocol.ICMPV6.value, "ICMPv6"),
    (Protocol.IPSEC.value, "IPsec"),
    (Protocol.ALL.value, "Everything"),
)
DIRECTIONS: Final = ((RuleType.INBOUND.value, "In"), (RuleType.OUTBOUND.value, "Out"))


@page(GROUPS, live=True)
def groups_page(visit: Visit) -> Shown:
    """List them."""
    vms = all_vms(visit, ConnectedVm)
    rows = [
        (one, lets_in([one]), lets_out([one]), len(having(vms, one.id))) for one in all_groups(visit).values()
    ]
    return visit.show("groups/list.html", rows=rows)


@page(NEW)
def new_page(visit: Visit) -> Shown:
    """Show the form for a new one."""
    data_centers = [(one.id, one.id) for one in visit.ask(list_vm_data_centers).data_centers]
    return visit.show("groups/create.html", presets=PRESETS, data_centers=data_centers)


@page(GROUP, live=True)
def group_page(visit: Visit) -> Shown:
    """Show one: its rules, what they come to, and who has it."""
    group = group_of(visit)
    vms = [one for one in all_vms(visit, ConnectedVm) if one.datacenter_id == group.data_center_id]
    having_it = having(vms, group.id)
    others = [
        one for one in vms if not all(group.id in nic.security_group_ids for nic in nics_of(one))
    ]  # of several NICs a part may have it
    return visit.show(
        "groups/group.html",
        group=group,
        rules=[(rule, sentence(rule)) for rule in group.rules],
        added=len(group.rules),
        lets_in=lets_in([group]),
        lets_out=lets_out([group]),
        pages=Paged(visit, having_it),
        others=others,
        presets=PRESETS,
        protocols=PROTOCOLS,
        directions=DIRECTIONS,
    )


@page(RULE)
def rule_page(visit: Visit) -> Shown:
    """Show one of its rules to be changed."""
    group = group_of(visit)
    at, rule = rule_of(visit, group.rules)
    return visit.show(
        "groups/rule.html",
        group=group,
        at=at,
        rule=rule,
        sentence=sentence(rule),
        protocols=PROTOCOLS,
        directions=DIRECTIONS,
    )


@page(f"{GROUP}/delete")
def delete_page(visit: Visit) -> Shown:
    """Say what goes with it, and who has it still."""
    group = group_of(visit)
    vms = having(all_vms(visit, ConnectedVm), group.id)
    return visit.show("groups/delete.html", group=group, vms=vms)


def group_of(visit: Visit) -> SecurityGroupAnswer:
    """Give the group that the address names; NotFound."""
    return visit.ask(get_security_group, **of_group(visit)).security_group


def of_group(visit: Visit) -> dict[str, Any]:
    """Name it, as operations want that."""
    return {"project_id": visit.project_id, "id": visit.names["id"]}


def rule_of(visit: Visit, rules: Sequence[Rule]) -> tuple[int, Rule]:
    """Give the place of the rule that the address names, and the rule; NotFound."""
    wanted = visit.names["rule"]
    for at, rule in enumerate(rules):
        if rule.id == wanted:
            return at, rule
    raise NotFound.named(f"rule of security group {visit.names['id']!r}", wanted)


def having(vms: Sequence[ConnectedVm], id: str) -> list[ConnectedVm]:
    """Give the VMs that have a group, on any of their NICs."""
    return [one for one in vms if any(id in nic.security_group_ids for nic in nics_of(one))]
