"""Networks: where VMs meet, and how the world reaches them."""

from cumulet.networks import operations  # noqa: F401 - declares them
from cumulet.networks.addresses import local_address
from cumulet.networks.allocate import (
    add_nic,
    external_address,
    free_external,
    nics_of,
    release_nics,
    steer_nics,
    take_external,
)
from cumulet.networks.make import default_network, default_network_name, usable
from cumulet.networks.model import CoolingAddress, ExternalAddress, Network, Nic, NicGroup
from cumulet.networks.offered import check_still_offered
from cumulet.networks.reconcile import (
    Fabrics,
    bridge_name,
    bridge_prefix,
    ensure_ports,
    networks_made,
    reconcile_network,
    remove_ports,
)
from cumulet.networks.specs import MTU, port_specs_of
from cumulet.networks.sweep import sweep_fabric

__all__ = [
    "MTU",
    "CoolingAddress",
    "ExternalAddress",
    "Fabrics",
    "Network",
    "Nic",
    "NicGroup",
    "add_nic",
    "bridge_name",
    "bridge_prefix",
    "check_still_offered",
    "default_network",
    "default_network_name",
    "ensure_ports",
    "external_address",
    "free_external",
    "local_address",
    "networks_made",
    "nics_of",
    "port_specs_of",
    "reconcile_network",
    "release_nics",
    "remove_ports",
    "steer_nics",
    "sweep_fabric",
    "take_external",
    "usable",
]
