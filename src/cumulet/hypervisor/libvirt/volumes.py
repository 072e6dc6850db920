"""Disks as qcow2 volumes in a pool of libvirt's, one pool for each installation.

libvirt deletes a base under its overlays, and a disk under a machine, without a word. So the account of which disk is
based on which image is ours to keep: it is read from the disks themselves. And machines are asked before a disk goes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from uuid import UUID
from xml.etree import ElementTree as ET

import libvirt

from cumulet.hypervisor import DiskSpec, HypervisorError
from cumulet.hypervisor.libvirt.connection import has_code
from cumulet.hypervisor.libvirt.domain_xml import element, render
from cumulet.hypervisor.libvirt.layout import GIB, HostLayout
from cumulet.hypervisor.libvirt.plugging import domain_with


def pool_xml(layout: HostLayout) -> str:
    """Describe the pool."""
    return render(
        element(
            "pool",
            element("name", layout.name),
            element("target", element("path", str(layout.disks))),
            type="dir",
        )
    )


def volume_xml(disk: DiskSpec, layout: HostLayout) -> str:
    """Describe an empty disk, or one that holds only what differs from its image.

    Only the newer form of qcow2 can grow when it has snapshots.
    """
    volume = element(
        "volume",
        element("name", layout.disk(disk.id).name),
        element("capacity", str(disk.size_gib), unit="GiB"),
        element(
            "target",
            element("format", type="qcow2"),
            element("permissions", element("mode", "0600")),
            element("compat", "1.1"),
        ),
    )
    if disk.base:
        path = element("path", str(layout.image(disk.base)))
        volume.append(element("backingStore", path, element("format", type=disk.base.format)))
    return render(volume)


def find_pool(link: libvirt.virConnect, layout: HostLayout) -> libvirt.virStoragePool:
    """Our pool, made and started if it is not."""
    try:
        pool = link.storagePoolLookupByName(layout.name)
    except libvirt.libvirtError as error:
        if not has_code(error, libvirt.VIR_ERR_NO_STORAGE_POOL):
            raise
        pool = link.storagePoolDefineXML(pool_xml(layout))
        pool.setAutostart(1)
    if not pool.isActive():
        pool.create()
    return pool


def create_volume(link: libvirt.virConnect, disk: DiskSpec, layout: HostLayout) -> None:
    """Make the disk, unless it is there whole; what an interrupted making left behind is made anew."""
    pool = find_pool(link, layout)
    volume = find_volume(pool, layout.disk(disk.id).name)
    if volume is not None:
        if ET.fromstring(volume.XMLDesc()).find("target/format[@type='qcow2']") is not None:  # noqa: S314 - libvirt's
            return
        volume.delete()
    pool.createXML(volume_xml(disk, layout))


def grow_volume(link: libvirt.virConnect, disk_id: UUID, size_gib: int, layout: HostLayout) -> None:
    """Let a disk grow that no running machine has."""
    volume = find_volume(find_pool(link, layout), layout.disk(disk_id).name)
    if volume is None:
        raise HypervisorError(f"the host has no disk {disk_id}")
    if volume.info()[1] < size_gib * GIB:
        volume.resize(size_gib * GIB)


def remove_volume(link: libvirt.virConnect, disk_id: UUID, layout: HostLayout) -> None:
    """Remove the disk, if it is there and no machine has it."""
    volume = find_volume(find_pool(link, layout), layout.disk(disk_id).name)
    if volume is None:
        return
    if machine := domain_with(link, str(layout.disk(disk_id))):
        raise HypervisorError(f"disk {disk_id} belongs to the machine {machine}")
    try:
        volume.delete()
    except libvirt.libvirtError as error:
        if not has_code(error, libvirt.VIR_ERR_NO_STORAGE_VOL):
            raise


def list_volumes(link: libvirt.virConnect, layout: HostLayout) -> Mapping[UUID, int]:
    """Our disks with their sizes in GiB."""
    return {id: volume.info()[1] // GIB for id, volume in our_volumes(link, layout)}


def disks_based_on(link: libvirt.virConnect, image: str, layout: HostLayout) -> list[UUID]:
    """Disks whose content is partly in the image's copy at that path."""
    return [
        id
        for id, volume in our_volumes(link, layout)
        if ET.fromstring(volume.XMLDesc()).findtext("backingStore/path") == image  # noqa: S314 - libvirt's
    ]


def our_volumes(link: libvirt.virConnect, layout: HostLayout) -> Iterator[tuple[UUID, libvirt.virStorageVol]]:
    """The pool's volumes by the disk each holds; a file that somebody else put there is none of them."""
    for volume in find_pool(link, layout).listAllVolumes():
        with suppress(ValueError):
            yield UUID(volume.name().removesuffix(".qcow2")), volume


def find_volume(pool: libvirt.virStoragePool, name: str) -> libvirt.virStorageVol | None:
    """A volume of that name, or None."""
    try:
        return pool.storageVolLookupByName(name)
    except libvirt.libvirtError as error:
        if not has_code(error, libvirt.VIR_ERR_NO_STORAGE_VOL):
            raise
        return None
