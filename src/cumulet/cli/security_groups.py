"""`cumulet security-group`: what VMs let in and out, in short words.

A rule is PROTOCOL[:PORTS][@RANGE]: `tcp:22`, `tcp:80,443@10.0.0.0/8`, `udp:1024:2048`, `icmp:8`, `all`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from cyclopts import App, Parameter

from cumulet.cli.client import Client, Json, connect
from cumulet.cli.create import only_data_center
from cumulet.cli.output import AS_TABLE, OPTIONS, Columns, Format, Listing, show, show_one
from cumulet.cli.several import each
from cumulet.cli.words import GroupName, GroupNames, NewId, Project
from cumulet.errors import Invalid, NotFound

GROUPS: Final = "/v1/projects/{}/security-groups"
GROUP: Final = f"{GROUPS}/{{}}"
SPOKEN: Final = {
    "all": "PROTOCOL_ALL",
    "tcp": "PROTOCOL_TCP",
    "udp": "PROTOCOL_UDP",
    "icmp": "PROTOCOL_ICMP",
    "icmpv6": "PROTOCOL_ICMPv6",
    "ipsec": "PROTOCOL_IPSEC",
}
WORDS: Final = {value: word for word, value in SPOKEN.items()}
RULE: Final = re.compile(r"(?P<protocol>[a-z0-9]+)(?::(?P<detail>[0-9:,-]+))?(?:@(?P<range>\S+))?")


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the group lets pass."""

    allow: tuple[str, ...] = ()
    """Let in: PROTOCOL[:PORTS][@RANGE], such as tcp:22 or tcp:80,443@10.0.0.0/8; repeatable."""
    allow_out: tuple[str, ...] = ()
    """Let out, and nothing that no such rule names; repeatable."""
    from_: Annotated[str, Parameter(name="--from")] = ""
    """Where what is let in may come from, unless its rule says so itself."""
    to: str = ""
    """Where what is let out may go to, unless its rule says so itself."""

    def wire(self) -> list[Json]:
        """Write them as the API's rules."""
        return [
            *(read_rule(words, "RULE_TYPE_INBOUND", self.from_) for words in self.allow),
            *(read_rule(words, "RULE_TYPE_OUTBOUND", self.to) for words in self.allow_out),
        ]


NO_RULES: Final = Rules()


def read_rule(words: str, rule_type: str, peer: str) -> Json:
    """Understand a rule in short words; Invalid shows how one looks."""
    said = RULE.fullmatch(words.lower())
    if said is None or said["protocol"] not in SPOKEN:
        raise Invalid.field("rule", words, f"PROTOCOL[:PORTS][@RANGE] with one of {', '.join(SPOKEN)}")
    detail = "icmpType" if said["protocol"].startswith("icmp") else "ports"
    return {
        "protocol": SPOKEN[said["protocol"]],
        "ruleType": rule_type,
        detail: said["detail"] or "",
        "ipRangeCidr": said["range"] or peer,
    }


def rule_words(rule: Json) -> str:
    """Say a rule in short words."""
    detail = rule["ports"] or rule["icmpType"]
    arrow = "in" if rule["ruleType"] == "RULE_TYPE_INBOUND" else "out"
    peer = f"@{rule['ipRangeCidr']}" if rule["ipRangeCidr"] else ""
    return f"{arrow} {WORDS[rule['protocol']]}{':' if detail else ''}{detail}{peer}"


COLUMNS: Final[Columns] = {
    "NAME": lambda one: one["id"],
    "RULES": lambda one: ", ".join(map(rule_words, one["rules"])),
    "DATA CENTER": lambda one: one["dataCenterId"],
    "DESCRIPTION": lambda one: one["description"],
}
RULE_COLUMNS: Final[Columns] = {"ID": lambda rule: rule["id"], "RULE": rule_words}
FACTS: Final[Columns] = {
    "name": lambda one: one["id"],
    "description": lambda one: one["description"],
    "data center": lambda one: one["dataCenterId"],
    "allows": lambda one: ", ".join(map(rule_words, one["rules"])) or "no inbound traffic",
}
app = App(name="security-group", default_parameter=OPTIONS)


@app.command
def create(
    name: NewId,
    /,
    rules: Rules = NO_RULES,
    *,
    description: str = "",
    data_center: str = "",
    output: Format = "table",
    project: Project = "default",
) -> None:
    """Create a security group; a VM that has it receives only what its rules allow.

    :param description: What it is for.
    :param data_center: Where it is; needed only where there are several.
    """
    client = connect()
    body = {
        "id": name,
        "dataCenterId": data_center or only_data_center(client),
        "description": description,
        "rules": rules.wire(),
    }
    show_one(client.post(GROUPS, project, body=body)["securityGroup"], output, FACTS)


@app.command(name="list", alias="ls")
def list_(*, listing: Listing = AS_TABLE, project: Project = "default") -> None:
    """List the project's security groups."""
    show(connect().list(GROUPS, project, member="securityGroups"), listing, COLUMNS)


@app.command
def get(name: GroupName, /, *, output: Format = "table", project: Project = "default") -> None:
    """Show a security group."""
    show_one(find(connect(), project, name), output, FACTS)


@app.command
def rules(name: GroupName, /, *, listing: Listing = AS_TABLE, project: Project = "default") -> None:
    """List a security group's rules with their ids."""
    show(find(connect(), project, name)["rules"], listing, RULE_COLUMNS)


@app.command
def allow(name: GroupName, /, rules: Rules = NO_RULES, *, project: Project = "default") -> None:
    """Allow more traffic, effective at once."""
    client = connect()
    group = find(client, project, name)
    put(client, group, [*group["rules"], *rules.wire()])


@app.command
def revoke(
    name: GroupName, /, *rule_ids: Annotated[str, Parameter(name="RULE")], project: Project = "default"
) -> None:
    """Remove rules, and cut the connections that only they allowed; `cumulet security-group rules` shows the rules' ids."""
    client = connect()
    group = find(client, project, name)
    for missing in set(rule_ids) - {rule["id"] for rule in group["rules"]}:
        raise NotFound.named(f"rule of security group {name!r}", missing)
    put(client, group, [rule for rule in group["rules"] if rule["id"] not in rule_ids])


@app.command(alias="rm")
def delete(name: GroupName, /, *more: GroupNames, project: Project = "default") -> None:
    """Delete security groups that are attached to no VM."""
    client = connect()
    each((name, *more), lambda one: client.delete(GROUP, project, one))


def find(client: Client, project: str, name: str) -> Json:
    """Read a group."""
    group: Json = client.get(GROUP, project, name)["securityGroup"]
    return group


def put(client: Client, group: Json, rules: Sequence[Json]) -> None:
    """Replace a group's rules."""
    body = {"description": group["description"], "rules": rules}
    client.patch(GROUP, group["projectId"], group["id"], body=body)
