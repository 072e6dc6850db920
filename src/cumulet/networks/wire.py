"""The JSON of networks: one answer that clients of 2024 and of 2026 both find their members in."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from cumulet.catalogue import RouterSize
from cumulet.wire import Amount, ProtoEnum, Wire


class NetworkState(ProtoEnum):
    """`Network.State` of 2026; those of them that clients of 2024 wait for have the same names there."""

    UNKNOWN = "STATE_UNKNOWN", 0
    ACTIVE = "ACTIVE", 1
    CREATING = "CREATING", 2
    DELETED = "DELETED", 3
    DELETING = "DELETING", 4
    FAILED = "FAILED", 5
    STARTING = "STARTING", 6
    STOPPED = "STOPPED", 7
    STOPPING = "STOPPING", 8
    UPDATING = "UPDATING", 9


class CreateNetwork(Wire, kw_only=True):
    """A new network. Clients of 2024 write its range as `cidrPrefix`, and a size, which ours do not have."""

    id: Annotated[str, Meta(examples=["backend"])]
    data_center_id: Annotated[str, Meta(examples=["local"])]
    ip_range: Annotated[str, Meta(examples=["10.1.0.0/24"])] = ""
    cidr_prefix: str = ""
    vrouter_size: RouterSize = RouterSize.UNKNOWN


class NetworkAnswer(Wire, kw_only=True):
    """A network. Members that no version of the contract has are named last."""

    project_id: str
    id: str
    data_center_id: str
    ip_range: str
    gateway: str
    size: RouterSize = RouterSize.SMALL
    price_hr: Amount
    external_ip_address: str
    """Of its router: what the world sees when a VM without an address of its own calls."""
    internal_ip_address: str
    """Of its router: the gateway."""
    short_state: str
    state: NetworkState
    vm_state: str
    """The state by its name among those of VMs."""
    create_time: datetime
    ipv6_range: str
    """Unique local addresses: VMs of the project reach each other by them, and nobody else does."""
    waiting_for: str
    """What it waits for now, in words; `""` when it is settled."""
    problem: str
    """The last failure, in words; `""` when there is none."""


class GetNetworkResponse(NetworkAnswer, kw_only=True):
    """A network, flat as in 2026, and wrapped as in 2024."""

    network: NetworkAnswer


class ListNetworksResponse(Wire, kw_only=True):
    """A page of networks."""

    networks: list[NetworkAnswer]
    total_count: int
    page_number: int
    """0 when the page was asked for by its token."""
    page_size: int
    page_token: str
