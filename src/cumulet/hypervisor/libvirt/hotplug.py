"""Disks in machines that run: plugging, unplugging, growing, and which machine has which.

libvirt's usual way to unplug waits seconds for the guest; by the device's alias it only asks, and an event tells when
the guest has let go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final
from uuid import UUID
from xml.etree import ElementTree as ET

import libvirt

from cumulet.hypervisor import HypervisorError
from cumulet.hypervisor.libvirt.connection import has_code
from cumulet.hypervisor.libvirt.domain_xml import BOOT_TARGET, STORAGE_TARGETS, disk
from cumulet.hypervisor.libvirt.domains import absent_is_fine, find_domain
from cumulet.hypervisor.libvirt.elements import render
from cumulet.hypervisor.libvirt.paths import GIB, HostPaths
from cumulet.hypervisor.libvirt.places import Place

NOTHING_TO_ASK: Final = ("in the process of unplug", "no device found with alias")
"""The guest has been asked a moment ago, as QEMU says it; or it has let go since we looked, as libvirt does."""


def plug(link: libvirt.virConnect, vm_id: UUID, disks: Sequence[UUID], paths: HostPaths) -> frozenset[UUID]:
    """Plug what is missing, ask the guest to let go of what is too much; answers the latter."""
    domain = find_domain(link, vm_id)
    if not domain.isActive():
        return frozenset()
    plugged = plugged_disks(domain, paths)
    free = [target for target in STORAGE_TARGETS if target not in targets(domain)]
    for id, target in zip((id for id in disks if id not in plugged), free, strict=False):
        place = paths.pools.find_disk(id)
        domain.attachDeviceFlags(render(disk(id, target, place)), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    leaving = plugged.keys() - set(disks)
    for id in leaving:
        ask_to_let_go(domain, plugged[id])
    return frozenset(leaving)


def ask_to_let_go(domain: libvirt.virDomain, alias: str) -> None:
    """Ask the guest to let go of a device, unless it has been asked a moment ago or has done so."""
    try:
        domain.detachDeviceAlias(alias, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    except libvirt.libvirtError as error:
        if not has_code(error, libvirt.VIR_ERR_DEVICE_MISSING) and not any(
            words in str(error) for words in NOTHING_TO_ASK
        ):
            raise


def grow(domain: libvirt.virDomain, place: Place, size_gib: int) -> None:
    """Let a disk grow under a running guest, which is told; HypervisorError when it does not have it."""
    target = next((target for source, target, _ in disks_of(domain) if source == place.name), None)
    if target is None:
        raise HypervisorError(f"{place.name} is not in the machine {domain.name()}")
    if domain.blockInfo(target)[0] < size_gib * GIB:
        domain.blockResize(target, size_gib * GIB, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)


def plugged_disks(domain: libvirt.virDomain, paths: HostPaths) -> Mapping[UUID, str]:
    """The storage disks that a running domain has, with the aliases of their devices."""
    storage = ((source, alias) for source, target, alias in disks_of(domain) if target != BOOT_TARGET)
    found = ((paths.pools.disk_at(source), alias) for source, alias in storage)
    return {id: alias for id, alias in found if id}


def disks_of(domain: libvirt.virDomain) -> Iterator[tuple[str, str, str]]:
    """The disks of a running domain: the name of the place of each, its target and its alias."""
    for device in ET.fromstring(domain.XMLDesc()).iterfind("devices/disk"):  # noqa: S314 - libvirt's
        source, target, alias = (device.find(tag) for tag in ("source", "target", "alias"))
        if source is not None and target is not None and alias is not None:
            name = source.get("file") or source.get("name") or ""
            yield name, target.get("dev", ""), alias.get("name", "")


def targets(domain: libvirt.virDomain) -> set[str]:
    """The names under which a running domain has its disks."""
    devices = ET.fromstring(domain.XMLDesc()).iterfind("devices/disk/target")  # noqa: S314 - libvirt's
    return {device.get("dev", "") for device in devices}


def check_idle(link: libvirt.virConnect, path: Path) -> None:
    """Return when nothing that runs has a file; HypervisorError."""
    for domain in link.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
        with absent_is_fine():
            if str(path) in domain.XMLDesc():
                raise HypervisorError(f"{path.name} is in use by the machine {domain.name()}")


def check_unused(link: libvirt.virConnect, disk_id: UUID, name: str) -> None:
    """Return when no machine, ours or not, is defined or runs with a disk in the place of that name; HypervisorError."""
    for domain in link.listAllDomains():
        with absent_is_fine():
            if name in domain.XMLDesc() or name in domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE):
                raise HypervisorError(f"disk {disk_id} belongs to the machine {domain.name()}")
