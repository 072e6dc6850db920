"""Disks as qcow2 volumes, each disk pool of an installation a pool of libvirt's.

libvirt deletes a base under its overlays, and a disk under a machine, without a word. So the account of which disk is
based on which image is ours to keep: it is read from the disks themselves. And machines are asked before a disk goes.
It also only remembers what lies in a pool; whether a disk is there is asked of the file system.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from uuid import NAMESPACE_URL, UUID, uuid5
from xml.etree import ElementTree as ET

import libvirt

from cumulet.hypervisor import DiskSpec, HypervisorError
from cumulet.hypervisor.libvirt.connection import has_code
from cumulet.hypervisor.libvirt.elements import element, render
from cumulet.hypervisor.libvirt.files import ids_in
from cumulet.hypervisor.libvirt.hotplug import check_unused
from cumulet.hypervisor.libvirt.paths import GIB, HostPaths
from cumulet.hypervisor.libvirt.pools import DiskPool, make_passable


def pool_xml(pool: DiskPool) -> str:
    """Describe a pool; two who define it at once define the same."""
    return render(
        element(
            "pool",
            element("name", pool.name),
            element("uuid", str(uuid5(NAMESPACE_URL, str(pool.directory)))),
            element("target", element("path", str(pool.directory))),
            type="dir",
        )
    )


def volume_xml(disk: DiskSpec, name: str, paths: HostPaths) -> str:
    """Describe an empty disk, or one that holds only what differs from its image.

    Only the newer form of qcow2 can grow when it has snapshots.
    """
    volume = element(
        "volume",
        element("name", name),
        element("capacity", str(disk.size_gib), unit="GiB"),
        element(
            "target",
            element("format", type="qcow2"),
            element("permissions", element("mode", "0600")),
            element("compat", "1.1"),
        ),
    )
    if disk.base:
        path = element("path", str(paths.image(disk.base, paths.pools.find(disk.pool))))
        volume.append(element("backingStore", path, element("format", type=disk.base.format)))
    return render(volume)


def open_pool(link: libvirt.virConnect, pool: DiskPool) -> libvirt.virStoragePool:
    """A pool of libvirt's, made and started if it is not."""
    try:
        found = link.storagePoolLookupByName(pool.name)
    except libvirt.libvirtError as error:
        if not has_code(error, libvirt.VIR_ERR_NO_STORAGE_POOL):
            raise
        found = None
    if found is None or target_of(found) != str(pool.directory):
        found = define_pool(link, pool)
    if not found.isActive():
        start_pool(found)
    return found


def define_pool(link: libvirt.virConnect, pool: DiskPool) -> libvirt.virStoragePool:
    """Define a pool in the place of those that an earlier catalogue had of its name or in its directory."""
    for other in link.listAllStoragePools():
        if (other.name() == pool.name) != (target_of(other) == str(pool.directory)):
            if other.isActive():
                other.destroy()
            other.undefine()
    defined = link.storagePoolDefineXML(pool_xml(pool))
    defined.setAutostart(1)
    return defined


def start_pool(pool: libvirt.virStoragePool) -> None:
    """Have libvirt look at what lies in the pool."""
    try:
        pool.create()
    except libvirt.libvirtError as error:
        if not has_code(error, libvirt.VIR_ERR_OPERATION_INVALID):  # somebody else has just started it
            raise


def target_of(pool: libvirt.virStoragePool) -> str:
    """Where a pool of libvirt's lies."""
    return ET.fromstring(pool.XMLDesc()).findtext("target/path", "")  # noqa: S314 - libvirt's


def create_volume(link: libvirt.virConnect, disk: DiskSpec, paths: HostPaths) -> None:
    """Make the disk, unless it is there whole; what an interrupted making left behind is made anew."""
    pool = paths.pools.find(disk.pool)
    make_passable(pool.directory)
    opened, path = open_pool(link, pool), pool.disk(disk.id)
    volume = look_up(opened, path)
    if volume is not None:
        if ET.fromstring(volume.XMLDesc()).find("target/format[@type='qcow2']") is not None:  # noqa: S314 - libvirt's
            return
        volume.delete()
    opened.createXML(volume_xml(disk, path.name, paths))


def grow_volume(link: libvirt.virConnect, disk_id: UUID, size_gib: int, paths: HostPaths) -> None:
    """Let a disk grow that no running machine has."""
    volume = find_volume(link, disk_id, paths)
    if volume is None:
        raise HypervisorError(f"the host has no disk {disk_id}")
    if volume.info()[1] < size_gib * GIB:
        volume.resize(size_gib * GIB)


def remove_volume(link: libvirt.virConnect, disk_id: UUID, paths: HostPaths) -> bool:
    """Remove the disk, if it is there and no machine has it; says whether it was."""
    volume = find_volume(link, disk_id, paths)
    if volume is None:
        return False
    check_unused(link, disk_id, volume.path())
    try:
        volume.delete()
    except libvirt.libvirtError as error:
        if not has_code(error, libvirt.VIR_ERR_NO_STORAGE_VOL):
            raise
    return True


def list_volumes(link: libvirt.virConnect, paths: HostPaths) -> Mapping[UUID, int]:
    """Our disks with their sizes in GiB."""
    return {id: volume.info()[1] // GIB for id, volume in our_volumes(link, paths)}


def disks_based_on(link: libvirt.virConnect, image: str, paths: HostPaths) -> list[UUID]:
    """Disks whose content is partly in the image's copy at that path; HypervisorError when some cannot be looked at."""
    for problem in filter(None, paths.pools.problems().values()):
        raise HypervisorError(f"disks may be based on it that are not there now: {problem}")
    return [
        id
        for id, volume in our_volumes(link, paths)
        if ET.fromstring(volume.XMLDesc()).findtext("backingStore/path") == image  # noqa: S314 - libvirt's
    ]


def our_volumes(link: libvirt.virConnect, paths: HostPaths) -> Iterator[tuple[UUID, libvirt.virStorageVol]]:
    """The volumes by the disk each holds; a file that somebody else put there is none of them."""
    for pool in paths.pools.usable():
        there, opened = ids_in(pool.directory, ".qcow2"), open_pool(link, pool)
        known = volumes_of(opened)
        if there - known.keys():
            refresh(opened)
            known = volumes_of(opened)
        yield from ((id, known[id]) for id in there & known.keys())


def volumes_of(pool: libvirt.virStoragePool) -> dict[UUID, libvirt.virStorageVol]:
    """The volumes that libvirt remembers of a pool, by the disk each holds."""
    found = {}
    for volume in pool.listAllVolumes():
        with suppress(ValueError):
            found[UUID(volume.name().removesuffix(".qcow2"))] = volume
    return found


def find_volume(link: libvirt.virConnect, disk_id: UUID, paths: HostPaths) -> libvirt.virStorageVol | None:
    """The volume that holds a disk, in whichever pool; None when there is none."""
    pool = paths.pools.find_with(disk_id)
    return look_up(open_pool(link, pool), pool.disk(disk_id)) if pool else None


def look_up(pool: libvirt.virStoragePool, path: Path) -> libvirt.virStorageVol | None:
    """The volume of a file, or None; libvirt looks into the pool again when the file system says otherwise."""
    volume = remembered(pool, path.name)
    if (volume is not None) is path.exists():
        return volume
    refresh(pool)
    return remembered(pool, path.name)


def refresh(pool: libvirt.virStoragePool) -> None:
    """Have libvirt look at what lies in a pool now; it will not while it makes a disk there, which then is known."""
    try:
        pool.refresh()
    except libvirt.libvirtError as error:
        if not has_code(error, libvirt.VIR_ERR_INTERNAL_ERROR):
            raise


def remembered(pool: libvirt.virStoragePool, name: str) -> libvirt.virStorageVol | None:
    """A volume that libvirt remembers, or None."""
    try:
        return pool.storageVolLookupByName(name)
    except libvirt.libvirtError as error:
        if not has_code(error, libvirt.VIR_ERR_NO_STORAGE_VOL):
            raise
        return None
