"""Takes away what Cumulet made on a host besides data and images."""

from __future__ import annotations

from cumulet.doctor.bridges import external_bridges, remove_external_bridge
from cumulet.doctor.command import output_of
from cumulet.doctor.daemons import stop_daemons
from cumulet.doctor.taps import listen_on_taps


def clear_host(bridge_prefix: str) -> None:
    """Remove our external bridges whose names begin so, and stop the daemons that we run unless machines need them."""
    for name in external_bridges():
        if name.startswith(bridge_prefix):
            remove_external_bridge(name)
    if not output_of("virsh", "--connect", "qemu:///system", "list", "--name").strip():
        listen_on_taps()
        stop_daemons()
