"""VMs' ports on Open vSwitch, when something else than libvirt changed them.

libvirt plugs a VM in when it starts and unplugs it when it ends. It does neither when the bridge is deleted under
running VMs, or when the host went down with them: then they would have no network until they are started anew, or
dead ports would block those of the next VMs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import fromstring

from cumulet.doctor.bridges import VSCTL, rows
from cumulet.doctor.command import output_of

STATUS_DIR: Final = Path("/run/libvirt/qemu")
"""Where libvirtd keeps a file on each running VM; reading it asks no daemon anything."""
DEVICES: Final = Path("/sys/class/net")


@dataclass(frozen=True, slots=True)
class Port:
    """A running VM's tap device and how it is plugged in."""

    device: str
    bridge: str
    ids: tuple[str, ...]
    """What OVN and libvirt know it by, as OVS's external_ids."""


def ensure_ports() -> None:
    """Plug running VMs in again that were unplugged, and remove the ports of VMs that are gone."""
    plugged = {row["name"]: row["external_ids"] for row in rows("Interface", "name", "external_ids")}
    for name, ids in plugged.items():
        if "vm-id" in ids and not (DEVICES / name).exists():
            output_of(*VSCTL, "--if-exists", "del-port", name)
    for port in running_ports(STATUS_DIR):
        if port.device not in plugged and (DEVICES / port.device).exists():
            output_of(
                *VSCTL, "--may-exist", "add-port", port.bridge, port.device,
                "--", "set", "Interface", port.device, *(f"external_ids:{id}" for id in port.ids),
            )  # fmt: skip


def running_ports(status_dir: Path) -> Iterator[Port]:
    """The ports of all VMs that libvirtd runs here."""
    for file in status_dir.glob("*.xml"):
        try:
            status = file.read_text()
        except FileNotFoundError:  # it ended just now
            continue
        yield from parse_ports(status)


def parse_ports(status: str) -> Iterator[Port]:
    """The ports on Open vSwitch in libvirtd's file on a running VM."""
    domain = fromstring(status).find("domain")  # noqa: S314 - written by libvirtd
    if domain is None:
        return
    for interface in domain.iterfind("devices/interface[@type='bridge']"):
        plug = interface.find("virtualport[@type='openvswitch']/parameters")
        target, source = interface.find("target"), interface.find("source")
        if plug is None or target is None or source is None:
            continue
        mac = interface.find("mac")
        ids = (
            f"iface-id={plug.get('interfaceid')}",
            f"vm-id={domain.findtext('uuid')}",
            f'attached-mac="{"" if mac is None else mac.get("address")}"',
            "iface-status=active",
        )
        yield Port(target.get("dev", ""), source.get("bridge", ""), ids)
