"""What is this machine's own, or beside it: what its kernel reaches without a gateway."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

import msgspec

from cumulet.doctor.command import output_of
from cumulet.doctor.uplink import WIDEST_NETWORK


def is_near(address: str) -> bool:
    """Whether an IP address is this machine's own or of a network that it is in; CommandFailed when no route leads there."""
    found = output_of("ip", "-json", "route", "get", "fibmatch", address)
    route: Mapping[str, Any] = msgspec.json.decode(found)[0]
    return is_local(route)


def is_local(route: Mapping[str, Any]) -> bool:
    """Whether a route, as `ip -json route get fibmatch` tells it, leads to no gateway."""
    if route.get("type") == "local":
        return True
    if route["dst"] == "default" or not {"gateway", "via", "nexthops"}.isdisjoint(route):
        return False
    return ip_network(route["dst"]).prefixlen >= WIDEST_NETWORK
