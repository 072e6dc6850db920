"""The host's Open vSwitch bridges: the one where VMs plug in, and those that lead out.

Every function makes the host right from whatever it is, and is cheap when it is right already; the server repeats
them, so that a bridge deleted by hand comes back.
"""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path
from typing import Final

from cumulet.doctor.command import output_of, succeeds
from cumulet.doctor.daemons import SOUTHBOUND_SOCKET

INTEGRATION_BRIDGE: Final = "br-int"
CHASSIS_FILE: Final = Path("/etc/openvswitch/system-id.conf")


def choose_datapath() -> str:
    """`system` where the kernel has the openvswitch module, else `netdev`, OVS's userspace datapath."""
    if Path("/sys/module/openvswitch").exists() or succeeds("modprobe", "openvswitch"):
        return "system"
    return "netdev"


def read_chassis() -> str:
    """This host's name in OVN, kept in the file where OVS's own scripts keep it; made up on first use."""
    with contextlib.suppress(FileNotFoundError):
        return CHASSIS_FILE.read_text().strip()
    chassis = str(uuid.uuid4())
    CHASSIS_FILE.parent.mkdir(parents=True, exist_ok=True)
    CHASSIS_FILE.write_text(chassis + "\n")
    return chassis


def integration_command(datapath: str, chassis: str) -> tuple[str, ...]:
    """The ovs-vsctl command that prepares OVS for OVN; what the operator set already is kept (`add` keeps)."""
    settings = {
        "system-id": chassis,
        "ovn-remote": f'"unix:{SOUTHBOUND_SOCKET}"',
        "ovn-encap-type": "geneve",
        "ovn-encap-ip": "127.0.0.1",
        "ovn-bridge-datapath-type": datapath,
    }
    return (
        "ovs-vsctl", "--no-wait",
        "init",
        "--", "add", "Open_vSwitch", ".", "external_ids", *(f"{key}={value}" for key, value in settings.items()),
        "--", "--may-exist", "add-br", INTEGRATION_BRIDGE,
        "--", "set", "Bridge", INTEGRATION_BRIDGE, f"datapath_type={datapath}", "fail_mode=secure",
        "other_config:disable-in-band=true",
    )  # fmt: skip


def ensure_integration_bridge(datapath: str) -> None:
    """Mend br-int and OVS's settings for OVN."""
    output_of(*integration_command(datapath, read_chassis()))
