"""Disks on a real host: volumes of libvirt's with their snapshots inside, or images in Ceph."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Final
from uuid import UUID

import libvirt

from cumulet.hypervisor import (
    DiskSpec,
    HypervisorError,
)
from cumulet.hypervisor.file_content import give_file
from cumulet.hypervisor.libvirt import arrivals, domains, hotplug, volumes
from cumulet.hypervisor.libvirt.ceph.disks import RbdDisk, create, find, sizes
from cumulet.hypervisor.libvirt.connection import Connection
from cumulet.hypervisor.libvirt.copies import CopiesByPool
from cumulet.hypervisor.libvirt.paths import HostPaths
from cumulet.hypervisor.libvirt.places import FilePlace

CARRIED: Final = "hosts of one cluster share it, and hosts of two carry none of its disks between them"


class LibvirtDisks:
    """Disks on one host."""

    def __init__(self, paths: HostPaths, reads: Connection, works: Connection, copies: CopiesByPool) -> None:
        self._paths = paths
        self._reads = reads
        self._works = works
        self._copies = copies

    def create(self, disk: DiskSpec) -> None:
        """Make the disk if it is not there."""
        if pool := self._paths.pools.find_ceph(disk.pool):
            create(pool, disk)
            return
        with self._copies.in_files_beside(disk.pool).held(disk.base) if disk.base else nullcontext():
            self._works.call(lambda link: volumes.create_volume(link, disk, self._paths))

    def resize(self, disk_id: UUID, size_gib: int, *, vm_id: UUID | None) -> None:
        """Let the disk grow, under its guest or without one."""
        place = self._paths.pools.find_disk(disk_id)

        def grow(link: libvirt.virConnect) -> None:
            domain = domains.find_running(link, vm_id) if vm_id else None
            if domain is not None:
                hotplug.grow(domain, place, size_gib)
            elif isinstance(place, RbdDisk):
                place.grow(size_gib)
            else:
                volumes.grow_volume(link, disk_id, size_gib, self._paths)

        self._works.call(grow)

    def remove(self, disk_id: UUID) -> None:
        """Remove the disk, if it is there and no machine has it."""
        self._works.call(lambda link: self._remove(link, disk_id))

    def list(self) -> Mapping[UUID, int]:
        """All our disks with their sizes in GiB."""
        in_files = self._reads.call(lambda link: volumes.list_volumes(link, self._paths))
        return dict(in_files) | {
            id: gib for pool in self._paths.pools.ceph for id, gib in sizes(pool).items()
        }

    def cut_off(self, disk_id: UUID) -> tuple[str, ...]:
        """Have Ceph refuse those who have the disk open."""
        place = self._paths.pools.find_disk(disk_id)
        if not isinstance(place, RbdDisk):
            raise HypervisorError(f"disk {disk_id} is a file: nobody is kept from writing to it")
        return place.cut_off()

    def send(self, disk_id: UUID) -> socket.socket:
        """Give the disk's file, whole."""
        place = self._paths.pools.find_disk(disk_id)
        if not isinstance(place, FilePlace):
            raise HypervisorError(
                f"disk {disk_id} lies in Ceph, where its other host finds it too: {CARRIED}"
            )
        self._works.call(lambda link: hotplug.check_idle(link, place.path))
        return give_file(place.path)

    def receive(self, disk: DiskSpec) -> socket.socket:
        """Take in a disk's file."""
        if self._paths.pools.find_ceph(disk.pool):
            raise HypervisorError(f"disk {disk.id} would come into Ceph: {CARRIED}")
        if self._paths.pools.find_with(disk.id):
            raise HypervisorError(f"there is a disk {disk.id} on this host already")
        return arrivals.take_disk(disk, self._paths, self._copies.in_files_beside(disk.pool))

    def take_snapshot(self, disk_id: UUID, snapshot_id: UUID) -> None:
        """Keep the disk's content of now."""
        self._paths.pools.find_disk(disk_id).take(snapshot_id)

    def revert(self, disk_id: UUID, snapshot_id: UUID) -> None:
        """Bring a snapshot's content back."""
        self._paths.pools.find_disk(disk_id).revert(snapshot_id)

    def remove_snapshot(self, disk_id: UUID, snapshot_id: UUID) -> None:
        """Forget a snapshot."""
        self._paths.pools.find_disk(disk_id).forget(snapshot_id)

    def snapshots(self, disk_id: UUID) -> frozenset[UUID]:
        """The disk's snapshots."""
        return self._paths.pools.find_disk(disk_id).snapshots()

    def _remove(self, link: libvirt.virConnect, disk_id: UUID) -> None:
        if volumes.remove_volume(link, disk_id, self._paths):
            return
        for disk in filter(None, (find(pool, disk_id) for pool in self._paths.pools.ceph)):
            hotplug.check_unused(link, disk_id, disk.name)
            disk.remove()
