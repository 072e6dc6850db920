"""Disks on a real host: volumes of libvirt's, with their snapshots inside."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import nullcontext
from uuid import UUID

import libvirt

from cumulet.hypervisor import (
    DiskSpec,
    HypervisorError,
)
from cumulet.hypervisor.file_content import give_file
from cumulet.hypervisor.libvirt import arrivals, domains, hotplug, snapshots, volumes
from cumulet.hypervisor.libvirt.connection import Connection
from cumulet.hypervisor.libvirt.image_copies import CopiesByPool
from cumulet.hypervisor.libvirt.paths import HostPaths


class LibvirtDisks:
    """Disks on one host."""

    def __init__(self, paths: HostPaths, reads: Connection, works: Connection, copies: CopiesByPool) -> None:
        self._paths = paths
        self._reads = reads
        self._works = works
        self._copies = copies

    def create(self, disk: DiskSpec) -> None:
        """Make the disk if it is not there."""
        with self._copies.beside(disk.pool).held(disk.base) if disk.base else nullcontext():
            self._works.call(lambda link: volumes.create_volume(link, disk, self._paths))

    def resize(self, disk_id: UUID, size_gib: int, *, vm_id: UUID | None) -> None:
        """Let the disk grow, under its guest or without one."""
        path = str(self._paths.pools.find_disk(disk_id))

        def grow(link: libvirt.virConnect) -> None:
            domain = domains.find_running(link, vm_id) if vm_id else None
            if domain is not None:
                hotplug.grow(domain, path, size_gib)
            else:
                volumes.grow_volume(link, disk_id, size_gib, self._paths)

        self._works.call(grow)

    def remove(self, disk_id: UUID) -> None:
        """Remove the disk, if it is there and no machine has it."""
        self._works.call(lambda link: volumes.remove_volume(link, disk_id, self._paths))

    def list(self) -> Mapping[UUID, int]:
        """All our disks with their sizes in GiB."""
        return self._reads.call(lambda link: volumes.list_volumes(link, self._paths))

    def send(self, disk_id: UUID) -> socket.socket:
        """Give the disk's file, whole."""
        path = self._paths.pools.find_disk(disk_id)
        self._works.call(lambda link: hotplug.check_idle(link, path))
        return give_file(path)

    def receive(self, disk: DiskSpec) -> socket.socket:
        """Take in a disk's file."""
        if self._paths.pools.find_with(disk.id):
            raise HypervisorError(f"there is a disk {disk.id} on this host already")
        return arrivals.take_disk(disk, self._paths, self._copies.beside(disk.pool))

    def take_snapshot(self, disk_id: UUID, snapshot_id: UUID) -> None:
        """Keep the disk's content of now."""
        snapshots.take(self._paths.pools.find_disk(disk_id), snapshot_id)

    def revert(self, disk_id: UUID, snapshot_id: UUID) -> None:
        """Bring a snapshot's content back."""
        snapshots.revert(self._paths.pools.find_disk(disk_id), snapshot_id)

    def remove_snapshot(self, disk_id: UUID, snapshot_id: UUID) -> None:
        """Forget a snapshot."""
        snapshots.remove(self._paths.pools.find_disk(disk_id), snapshot_id)

    def snapshots(self, disk_id: UUID) -> frozenset[UUID]:
        """The disk's snapshots."""
        return snapshots.found_in(self._paths.pools.find_disk(disk_id))
