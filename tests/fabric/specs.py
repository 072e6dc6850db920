"""Things to put into a fabric."""

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from uuid import UUID, uuid4

from cumulet.fabric import (
    ExternalSpec,
    Fabric,
    GroupSpec,
    IpProtocol,
    NetworkSpec,
    PortSpec,
    RouterSpec,
    RuleSpec,
)

EXTERNAL = ExternalSpec(
    "br-test",
    IPv4Network("192.0.2.0/24"),
    gateway=IPv4Address("192.0.2.1"),
    carriers=("host-1",),
    everywhere=True,
)


def a_router(host_number: int = 2, external: ExternalSpec = EXTERNAL) -> RouterSpec:
    address = external.range[host_number]
    return RouterSpec(uuid4(), external, address, mac=f"0a:00:00:00:00:{host_number:02x}")


def a_network(
    router: RouterSpec, private_range: str = "10.0.0.0/24", local_range: str = "fd00:10::/64"
) -> NetworkSpec:
    addresses = IPv4Network(private_range)
    return NetworkSpec(
        id=uuid4(),
        router_id=router.id,
        range=addresses,
        gateway=addresses[1],
        gateway_mac="0a:00:00:00:01:01",
        resolvers=(EXTERNAL.gateway,),
        mtu=1442,
        local_range=IPv6Network(local_range),
        joined=True,
    )


def a_port(
    network: NetworkSpec,
    host_number: int = 10,
    external_address: str = "",
    groups: frozenset[UUID] = frozenset(),
) -> PortSpec:
    return PortSpec(
        id=uuid4(),
        network_id=network.id,
        mac=f"0a:00:00:01:00:{host_number:02x}",
        address=network.range[host_number],
        hostname=f"vm-{host_number}",
        external_address=IPv4Address(external_address) if external_address else None,
        leads_out=True,
        groups=groups,
    )


def a_rule(
    protocol: IpProtocol,
    *ports: tuple[int, int],
    id: str = "a",
    inbound: bool = True,
    peer: str = "",
    icmp_type: int | None = None,
) -> RuleSpec:
    return RuleSpec(id, inbound, protocol, ports, ip_network(peer) if peer else None, icmp_type)


SSH = a_rule(IpProtocol.TCP, (22, 22), id="ssh")


class Project:
    """A router with one network, put into a fabric."""

    def __init__(
        self,
        fabric: Fabric,
        router_number: int = 2,
        private_range: str = "10.0.0.0/24",
        external: ExternalSpec = EXTERNAL,
    ) -> None:
        self.fabric = fabric
        self.router = a_router(router_number, external)
        self.network = a_network(self.router, private_range)
        fabric.put_external(external)
        fabric.put_router(self.router)
        fabric.put_network(self.network)

    def port(
        self, host_number: int = 10, external_address: str = "", groups: Collection[UUID] = ()
    ) -> PortSpec:
        port = a_port(self.network, host_number, external_address, frozenset(groups))
        self.fabric.put_port(port)
        return port

    def group(self, *rules: RuleSpec) -> GroupSpec:
        group = GroupSpec(uuid4(), rules)
        self.fabric.put_group(group)
        return group
