"""The names that our rows have in OVN, for people with ovn-nbctl and where OVN refers by name.

Where OVN wants a name to be unique among all its clients, it holds the id of the thing it belongs to.
"""

from __future__ import annotations

from uuid import UUID


def external_switch(installation: str, bridge: str) -> str:
    """The switch of a data center's external range."""
    return f"external-{bridge}-{installation}"


def bridge_port(installation: str, bridge: str) -> str:
    """The external switch's port that is the host's bridge."""
    return f"bridge-{bridge}-{installation}"


def router(router_id: UUID) -> str:
    """A router."""
    return f"router-{router_id}"


def external_router_port(router_id: UUID) -> str:
    """A router's port in the external range."""
    return f"external-{router_id}"


def external_switch_port(router_id: UUID) -> str:
    """The external switch's port where a router plugs in."""
    return f"plug-{router_id}"


def gateway_chassis(router_id: UUID, chassis: str) -> str:
    """A host where a router's external port may be."""
    return f"external-{router_id}-{chassis}"


def network(network_id: UUID) -> str:
    """A network's switch."""
    return f"network-{network_id}"


def router_port(network_id: UUID) -> str:
    """A router's port in a network."""
    return f"gateway-{network_id}"


def switch_router_port(network_id: UUID) -> str:
    """A network's port where its router plugs in."""
    return f"plug-{network_id}"


def gateway_localport(network_id: UUID) -> str:
    """A stopped network's port that stands in for the gateway; nothing is plugged in there."""
    return f"stand-in-{network_id}"


def group(group_id: UUID) -> str:
    """A group of ports; OVN's matches refer to it, in whose language a name has no dashes."""
    return f"group_{group_id.hex}"


def names_switch(router_id: UUID) -> str:
    """The switch where a router's guests are known by name."""
    return f"names-{router_id}"


def names_router_port(router_id: UUID, part: str) -> str:
    """A router's port in it."""
    return f"{part}-{router_id}"


def names_switch_port(router_id: UUID, part: str) -> str:
    """Its port where the router plugs in."""
    return f"plug-{part}-{router_id}"
