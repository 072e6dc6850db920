"""Ranges and ports of rules are spelled in one way, and VMs whose long names begin alike have DNS names of their own."""

import hashlib
import re
from ipaddress import ip_address, ip_network
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

LABEL = 63
"""Characters of a label of DNS."""


def upgrade() -> None:
    """Apply this step."""
    spell_rules()
    name_nics()


def spell_rules() -> None:
    """Write down what has been in force: a range from its first address, without a link's name; digits of ASCII."""
    group = sa.table("security_group", sa.column("id", sa.Uuid()), sa.column("rules", sa.JSON()))
    for id, rules in op.get_bind().execute(sa.select(group.c.id, group.c.rules)).all():
        op.execute(
            sa.update(group).where(group.c.id == id).values(rules=[in_one_spelling(rule) for rule in rules])
        )


def in_one_spelling(rule: dict[str, Any]) -> dict[str, Any]:
    """Spell what a rule says of ports, types and addresses in the way that is accepted from now on."""
    address, slash, _ = rule["ipRangeCidr"].partition("/")
    link_less = rule["ipRangeCidr"].replace(address, address.partition("%")[0]) if address else ""
    range_ = str(ip_network(link_less, strict=False)) if slash else link_less and str(ip_address(link_less))
    return rule | {
        "ipRangeCidr": range_,
        "ports": re.sub(r"\d+", plain_digits, rule["ports"]),
        "icmpType": re.sub(r"\d+", plain_digits, rule["icmpType"]),
    }


def plain_digits(number: re.Match[str]) -> str:
    """Spell a number with the digits 0 to 9."""
    return str(int(number[0]))


def name_nics() -> None:
    """Tell apart by a digest what only the first characters of a name told apart, or did not."""
    nic = sa.table("nic", sa.column("id", sa.Uuid()), sa.column("vm_id", sa.Uuid()), sa.column("hostname"))
    vm = sa.table("vm", sa.column("id", sa.Uuid()), sa.column("name"))
    long = (
        sa.select(nic.c.id, vm.c.name)
        .join(vm, vm.c.id == nic.c.vm_id)
        .where(sa.func.length(vm.c.name) > LABEL)
    )
    for id, name in op.get_bind().execute(long).all():
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        op.execute(sa.update(nic).where(nic.c.id == id).values(hostname=f"{name[: LABEL - 9]}-{digest}"))
