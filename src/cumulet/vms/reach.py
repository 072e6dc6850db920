"""Would a packet arrive at a VM, and which rule decides: the question that everybody with a firewall has."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address
from typing import Annotated, Final

from msgspec import Meta
from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.db import names_there
from cumulet.errors import Invalid, NotFound
from cumulet.fabric import Fabric, IpProtocol, Probe, Verdict
from cumulet.networks import Network, Nic
from cumulet.operation import Access, operation
from cumulet.security_groups import SecurityGroup
from cumulet.vm_record.find import find_vm
from cumulet.vm_record.model import Vm
from cumulet.vms.wire import ReachabilityResponse

ASKED: Final = {one.value: one for one in (IpProtocol.TCP, IpProtocol.UDP, IpProtocol.ICMP)}


@operation("GET /v1/projects/{projectId}/vms/{id}/reachability", access=Access.VIEWER)
def get_vm_reachability(
    db: Session,
    *,
    fabric: Fabric,
    project_id: str,
    id: str,
    from_: Annotated[str, Meta(examples=["203.0.113.7"])],
    protocol: str = "tcp",
    port: int = 0,
    network_id: str = "",
) -> ReachabilityResponse:
    """Check whether a new connection from an address would reach the VM, and which rule, or lack of one, decides.

    From another VM of the project it goes to the NIC on `networkId` (without: the first), from anywhere else to the
    VM's external address.
    """
    vm = find_vm(db, project_id=project_id, id=id)
    probe = read_probe(from_, protocol, port)
    nic = find_nic(db, vm, network_id)
    verdict = fabric.trace(nic.id, probe)
    group = db.get(SecurityGroup, verdict.group_id) if verdict.group_id else None
    return answer(verdict, group.name if group else "")


def read_probe(source: str, protocol: str, port: int) -> Probe:
    """Understand what is asked about."""
    if protocol.lower() not in ASKED:
        raise Invalid.field("protocol", protocol, f"one of {', '.join(ASKED)}")
    kind = ASKED[protocol.lower()]
    if kind is IpProtocol.ICMP and port:
        raise Invalid.field("port", port, "none with icmp")
    if kind is not IpProtocol.ICMP and not 0 < port < 1 << 16:
        raise Invalid.field("port", port, "1 to 65535")
    try:
        return Probe(source=IPv4Address(source), protocol=kind, port=port)
    except AddressValueError:
        raise Invalid.field("from", source, "an IPv4 address, such as 203.0.113.7") from None


def find_nic(db: Session, vm: Vm, network_id: str) -> Nic:
    """Find the NIC that is meant; NotFound when the VM has none there."""
    nics = select(Nic).where(Nic.vm_id == vm.id).order_by(Nic.leads_out.desc(), Nic.position)
    if network_id:
        nics = nics.join(Network, Network.id == Nic.network_id).where(Network.name == network_id)
    nic = db.scalars(nics.limit(1)).first()
    if nic is None:
        known = names_there(db, Network.name, Network.id == Nic.network_id, Nic.vm_id == vm.id)
        raise NotFound.named(f"network of VM {vm.name!r}", network_id, known)
    return nic


def answer(verdict: Verdict, group: str) -> ReachabilityResponse:
    """Tell a verdict in the owner's names."""
    decides = f"{verdict.rule_id} of security group {group}" if verdict.rule_id else f"security group {group}"
    return ReachabilityResponse(
        reachable=verdict.passes,
        security_group_id=group,
        rule_id=verdict.rule_id,
        reason=f"{verdict.why}: {decides}" if group else verdict.why,
    )
