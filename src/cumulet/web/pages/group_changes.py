"""What the forms of security groups do; what would cut something that passes now is shown first, and done when agreed to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from cumulet.security_groups.attach_operations import attach_security_group, detach_security_group
from cumulet.security_groups.operations import (
    create_security_group,
    delete_security_group,
    update_security_group,
)
from cumulet.security_groups.rules import plan_rules
from cumulet.security_groups.wire import CreateSecurityGroup, Rule, SecurityGroupAnswer, UpdateSecurityGroup
from cumulet.web.group_effects import NicChange, alike, digest_of, effects_of, with_group
from cumulet.web.listings import ConnectedVm, all_groups, all_vms, nics_of
from cumulet.web.pages.groups import (
    DIRECTIONS,
    GROUP,
    NEW,
    PRESETS,
    RULE,
    delete_page,
    group_of,
    group_page,
    new_page,
    of_group,
    rule_of,
    rule_page,
)
from cumulet.web.site import form
from cumulet.web.visit import Answer, Gone, Visit
from cumulet.wire import decode

OF_A_RULE: Final = ("protocol", "ports", "ruleType", "ipRangeCidr", "icmpType")
PASSING: Final = frozenset({"token", "request", "agreed"})
"""Fields that a form has anew each time."""
Groups = Mapping[str, SecurityGroupAnswer]


@form(NEW, on=new_page)
def create(visit: Visit) -> Gone:
    """Create one with the rules that were ticked."""
    ticked = visit.all_given("preset")
    rules = [
        {"protocol": protocol, "ports": ports, "ruleType": DIRECTIONS[0][0]}
        for name, protocol, ports, _ in PRESETS
        if name in ticked
    ]
    raw = {name: visit.given(name) for name in ("id", "dataCenterId", "description")} | {"rules": rules}
    made = visit.ask(
        create_security_group, project_id=visit.project_id, data=decode(CreateSecurityGroup, raw)
    )
    return Gone(visit.url("security-groups", made.id))


@form(f"{GROUP}/rules", on=group_page)
def add_rule(visit: Visit) -> Answer:
    """Let something more pass."""
    group = group_of(visit)
    return save(visit, group, [*group.rules, given_rule(visit)])


@form(RULE, on=rule_page)
def change_rule(visit: Visit) -> Answer:
    """Have a rule say something else; it keeps its id and its place."""
    group = group_of(visit)
    at, rule = rule_of(visit, group.rules)
    return save(visit, group, [*group.rules[:at], given_rule(visit, rule.id), *group.rules[at + 1 :]])


@form(f"{RULE}/delete", on=group_page)
def remove_rule(visit: Visit) -> Answer:
    """Take a rule out."""
    group = group_of(visit)
    at, _ = rule_of(visit, group.rules)
    return save(visit, group, [*group.rules[:at], *group.rules[at + 1 :]])


@form(f"{GROUP}/description", on=group_page)
def describe(visit: Visit) -> Gone:
    """Say what it is for."""
    group = group_of(visit)
    return put(visit, group.rules, visit.given("description"))


@form(f"{GROUP}/delete", on=delete_page)
def delete(visit: Visit) -> Gone:
    """Delete it."""
    visit.ask(delete_security_group, **of_group(visit))
    return Gone(visit.url("security-groups"))


@form(f"{GROUP}/attach", on=group_page)
def attach(visit: Visit) -> Answer:
    """Put a VM's NICs into it."""
    return move(
        visit, attach_security_group, visit.given("vmId"), visit.names["id"], group_url(visit), is_in=True
    )


@form(f"{GROUP}/detach", on=group_page)
def detach(visit: Visit) -> Answer:
    """Take a VM's NICs out of it."""
    return move(
        visit, detach_security_group, visit.given("vmId"), visit.names["id"], group_url(visit), is_in=False
    )


def save(visit: Visit, group: SecurityGroupAnswer, rules: Sequence[Rule]) -> Answer:
    """Give a group other rules, when what that cuts was agreed to."""
    planned = plan_rules(rules)
    before = all_groups(visit)
    after = {**before, group.id: msgspec.structs.replace(group, rules=planned)}
    changes = [
        NicChange(vm.id, with_group(before, ids), with_group(after, ids))
        for vm in all_vms(visit, ConnectedVm)
        for nic in nics_of(vm)
        if group.id in (ids := nic.security_group_ids)
    ]
    return asked(visit, changes, group_url(visit)) or put(visit, planned, group.description)


def move(
    visit: Visit, verb: Callable[..., Any], vm_id: str, group_id: str, back: str, *, is_in: bool
) -> Answer:
    """Put a VM's NICs into a group or take them out, when what that cuts was agreed to; then go back."""
    groups = all_groups(visit)
    vms = [one for one in all_vms(visit, ConnectedVm) if one.id == vm_id]
    changes = [
        NicChange(
            vm.id,
            with_group(groups, nic.security_group_ids),
            with_group(groups, with_or_without(nic.security_group_ids, group_id, is_in=is_in)),
        )
        for vm in vms
        for nic in nics_of(vm)
    ]
    shown = asked(visit, changes, back)
    if shown:
        return shown
    visit.ask(verb, project_id=visit.project_id, id=vm_id, security_group_id=group_id)
    return Gone(back)


def asked(visit: Visit, changes: Sequence[NicChange], back: str) -> Answer | None:
    """Show what changes cut, unless that is nothing or was agreed to just so."""
    effects = effects_of(changes)
    if not any(one.cut for one in effects) or visit.given("agreed") == digest_of(effects):
        return None
    kept = [(name, one) for name, values in visit.form.items() if name not in PASSING for one in values]
    return visit.show(
        "groups/review.html", effects=alike(effects), kept=kept, agreed=digest_of(effects), back=back
    )


def with_or_without(ids: Sequence[str], id: str, *, is_in: bool) -> list[str]:
    """Give ids with one more, or one less."""
    others = [one for one in ids if one != id]
    return [*others, id] if is_in else others


def put(visit: Visit, rules: Sequence[Rule], description: str) -> Gone:
    """Write down what a group is to be."""
    data = UpdateSecurityGroup(description=description, rules=list(rules))
    visit.ask(update_security_group, **of_group(visit), data=data)
    return Gone(group_url(visit))


def given_rule(visit: Visit, id: str = "") -> Rule:
    """Read a rule of a form; Invalid."""
    return decode(Rule, {"id": id} | {name: visit.given(name) for name in OF_A_RULE})


def group_url(visit: Visit) -> str:
    """Give the page of the group that the address names."""
    return visit.url("security-groups", visit.names["id"])
