"""What the host's ends of VMs' NICs are called: the host tells by it what it must never listen to."""

from __future__ import annotations

from typing import Final
from uuid import UUID

TAP_PREFIX: Final = "cmlt-"
"""How the tap devices of all installations begin, and nobody else's. Not `vnet`, which libvirt keeps for itself."""
DIGITS: Final = 10
"""Of the port's id: as many as the kernel's 15 characters leave room for."""


def tap_name(port_id: UUID) -> str:
    """Name the tap device of the NIC that belongs to a port."""
    return f"{TAP_PREFIX}{port_id.hex[:DIGITS]}"
