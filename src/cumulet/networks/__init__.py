"""Networks: where VMs meet, and how the world reaches them."""

from cumulet.networks.allocate import (
    add_nic,
    default_network,
    external_address,
    free_external,
    nics_of,
    release_nics,
    take_external,
)
from cumulet.networks.model import ExternalAddress, Network, Nic
from cumulet.networks.offered import check_still_offered
from cumulet.networks.reconcile import (
    MTU,
    Fabrics,
    bridge_name,
    bridge_prefix,
    ensure_ports,
    reconcile_network,
    remove_ports,
)
from cumulet.networks.sweep import sweep_fabric

__all__ = [
    "MTU",
    "ExternalAddress",
    "Fabrics",
    "Network",
    "Nic",
    "add_nic",
    "bridge_name",
    "bridge_prefix",
    "check_still_offered",
    "default_network",
    "ensure_ports",
    "external_address",
    "free_external",
    "nics_of",
    "reconcile_network",
    "release_nics",
    "remove_ports",
    "sweep_fabric",
    "take_external",
]
