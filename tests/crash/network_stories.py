"""The operations of networks and security groups, as stories to be hit at every point."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select
from tests.made_up import PROJECT, Cloud

from cumulet.networks import CoolingAddress, Network, NicGroup
from cumulet.networks import operations as networks
from cumulet.networks.wire import CreateNetwork
from cumulet.security_groups import SecurityGroup
from cumulet.security_groups import attach_operations as group_operations
from cumulet.security_groups import operations as groups
from cumulet.security_groups.wire import (
    CreateSecurityGroup,
    Protocol,
    Rule,
    RuleType,
    UpdateSecurityGroup,
)
from cumulet.vms.wire import NicRequest

NIC = NicRequest(network_id="backend", assign_public_ip=True, security_group_ids=["web"])


def rule(ports: str) -> Rule:
    return Rule(protocol=Protocol.TCP, rule_type=RuleType.INBOUND, ports=ports)


def make_network(cloud: Cloud) -> None:
    data = CreateNetwork(id="backend", data_center_id="local", ip_range="10.1.0.0/24")
    cloud.call(networks.create_network, project_id=PROJECT, data=data)


def with_network(cloud: Cloud) -> None:
    make_network(cloud)
    cloud.settle()


def stopped_network(cloud: Cloud) -> None:
    with_network(cloud)
    on_network(cloud, networks.stop_network)
    cloud.settle()


def on_network(cloud: Cloud, verb: Any) -> None:
    cloud.call(verb, project_id=PROJECT, id="backend")


def make_group(cloud: Cloud) -> None:
    data = CreateSecurityGroup(id="web", data_center_id="local", rules=[rule("22")])
    cloud.call(groups.create_security_group, project_id=PROJECT, data=data)


def with_group(cloud: Cloud) -> None:
    make_group(cloud)
    cloud.settle()


def with_vm_and_group(cloud: Cloud) -> None:
    with_group(cloud)
    cloud.running()


def with_group_on_vm(cloud: Cloud) -> None:
    with_group(cloud)
    cloud.running(security_group_ids=["web"])


def with_network_and_group(cloud: Cloud) -> None:
    with_network(cloud)
    with_group(cloud)


def change_group(cloud: Cloud) -> None:
    data = UpdateSecurityGroup(rules=[rule("80")])
    cloud.call(groups.update_security_group, project_id=PROJECT, id="web", data=data)


def delete_group(cloud: Cloud) -> None:
    cloud.call(groups.delete_security_group, project_id=PROJECT, id="web")


def attach(cloud: Cloud) -> None:
    on_vm(cloud, group_operations.attach_security_group)


def detach(cloud: Cloud) -> None:
    on_vm(cloud, group_operations.detach_security_group)


def on_vm(cloud: Cloud, verb: Any) -> None:
    cloud.call(verb, project_id=PROJECT, id="hello", security_group_id="web")


NETWORK_STORIES = {
    "create a network": (lambda _: None, make_network),
    "stop a network": (with_network, lambda cloud: on_network(cloud, networks.stop_network)),
    "start a network": (stopped_network, lambda cloud: on_network(cloud, networks.start_network)),
    "delete a network": (with_network, lambda cloud: on_network(cloud, networks.delete_network)),
    "create a VM on a network": (with_network_and_group, lambda cloud: cloud.create(nics=[NIC])),
    "create a group": (lambda _: None, make_group),
    "change a group in use": (with_group_on_vm, change_group),
    "delete a group": (with_group, delete_group),
    "attach a group": (with_vm_and_group, attach),
    "detach a group": (with_group_on_vm, detach),
}


def network_snapshot(cloud: Cloud) -> dict[str, Any]:
    """What is there of networks and groups in the end, in names that are the same each time."""
    fabric = cloud.fabric
    with cloud.database.reading() as db:
        networks = db.scalars(select(Network)).all()
        groups = db.scalars(select(SecurityGroup)).all()
        attached = db.scalars(select(NicGroup.group_id)).all()
        return {
            "networks": [(one.name, one.wanted, one.state) for one in networks],
            "joined": [one.joined for one in fabric.networks().values()],
            "groups": [(one.name, one.state, one.wanted, one.rules) for one in groups],
            "rules": [[rule.ports for rule in one.rules] for one in fabric.groups().values()],
            "groups are theirs": fabric.groups().keys() == {one.id for one in groups},
            "attached": len(attached),
            "members": [port.groups == set(attached) for port in fabric.ports().values()],
            "cooling": len(db.scalars(select(CoolingAddress.address)).all()),
        }
