"""A running machine's domain XML as its other host takes it: the same devices, with that host's own files behind them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from uuid import UUID
from xml.etree import ElementTree as ET

from cumulet.hypervisor import DomainSpec, HypervisorError, serial_of, spec_digest
from cumulet.hypervisor.libvirt.domain_xml import BOOT_TARGET, NAMESPACE, SEED_TARGET
from cumulet.hypervisor.libvirt.paths import HostPaths
from cumulet.hypervisor.libvirt.places import FilePlace, Place


def moved_xml(running: str, spec: DomainSpec, paths: HostPaths, *, disks: Mapping[UUID, Place]) -> str:
    """Describe it on this host; HypervisorError when it has a disk that is not its own any more."""
    root = ET.fromstring(running)  # noqa: S314 - libvirt's, from another host of ours
    by_serial = {serial_of(id): place for id, place in disks.items()}
    for disk in root.findall("devices/disk"):
        place_disk(disk, spec, paths, by_serial)
    for log in root.findall("devices/*/log"):
        log.set("file", str(paths.console(spec.id)))
    for mark in root.findall(f"metadata/{{{NAMESPACE}}}vm"):
        mark.set("term", str(spec.term))
        mark.set("digest", spec_digest(spec))
        mark.set("host", paths.traits)
    return ET.tostring(root, encoding="unicode")


def place_disk(disk: ET.Element, spec: DomainSpec, paths: HostPaths, by_serial: Mapping[str, Place]) -> None:
    """Have a disk lie where this host has it."""
    target, source = disk.find("target"), disk.find("source")
    if target is None or source is None:
        raise HypervisorError(f"the machine of VM {spec.id} has a disk without a file")
    if target.get("dev") == SEED_TARGET:
        source.set("file", str(paths.seed(spec.id)))
        return
    place = by_serial.get(disk.findtext("serial", ""))
    if place is None:
        raise HypervisorError(f"the machine of VM {spec.id} has a disk that is to leave it")
    if not isinstance(place, FilePlace):
        return  # it is called the same on each of its hosts
    source.set("file", place.name)
    base = disk.find("backingStore/source")
    if target.get("dev") == BOOT_TARGET and base is not None:
        base.set("file", str(paths.image(spec.boot_image, paths.pools.shared_with_images(place.path))))


def copied_disks(running: str, shared: AbstractSet[UUID]) -> tuple[str, ...]:
    """Name the disks whose content goes along: all but the seed, which is there already, and those that both hosts share."""
    stays = {serial_of(id) for id in shared}
    disks = ET.fromstring(running).findall("devices/disk")  # noqa: S314 - libvirt's, from another host of ours
    goes = (disk.find("target") for disk in disks if disk.findtext("serial", "") not in stays)
    devices = (target.get("dev", "") for target in goes if target is not None)
    return tuple(device for device in devices if device != SEED_TARGET)


def own_files(running: str) -> None:
    """Give a machine's QEMU the files that it writes: libvirtd of the host that it left, or was to go to, took them from it.

    It leaves them alone only in directories that it takes for shared, and it knows few kinds of these.
    """
    root = ET.fromstring(running)  # noqa: S314 - libvirt's own
    owner = root.findtext("seclabel[@model='dac'][@relabel='yes']/label")
    if owner is None:
        return
    user, group = (int(id) for id in owner.split(":"))
    for disk in root.findall("devices/disk"):
        source = disk.find("source[@file]")
        if source is not None and disk.find("readonly") is None:
            os.chown(source.get("file", ""), user, group)
