"""Disks on a host in memory."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from threading import Thread
from uuid import UUID

from cumulet.faults import verb
from cumulet.hypervisor import (
    DiskSpec,
    HypervisorError,
    Power,
)
from cumulet.hypervisor.memory.arrivals import give, take_in
from cumulet.hypervisor.memory.contents import StoredDisk, read_image
from cumulet.hypervisor.memory.state import Part


class MemoryDisks(Part):
    """Disks on one host."""

    @verb
    def create(self, disk: DiskSpec) -> None:
        """Make the disk if it is not there."""
        self.check_pool(disk)
        if disk.id in self._contents.disks:
            return
        self.check_base(disk)
        content = read_image(disk.base.path) if disk.base else ""
        self._contents.disks_in(disk.pool)[disk.id] = StoredDisk(disk, disk.size_gib, content)

    def check_pool(self, disk: DiskSpec) -> None:
        """Return when the pool that a disk is to lie in can be used; HypervisorError."""
        if disk.pool not in self._state.pools:
            raise HypervisorError(f"the host has no disk pool {disk.pool!r}")
        self._contents.check_mounted(disk.pool)

    def check_base(self, disk: DiskSpec) -> None:
        """Return when the image that a disk is based on is here; HypervisorError."""
        if disk.base and self._contents.copies_in(disk.pool).get(disk.base.sha256) != 1.0:
            raise HypervisorError(
                f"image {disk.base.sha256[:12]}, the base of disk {disk.id}, is not on this host"
            )

    @verb
    def resize(self, disk_id: UUID, size_gib: int, *, vm_id: UUID | None) -> None:
        """Let the disk grow."""
        machine = self._contents.machine_with(disk_id)
        if machine and machine.power is not Power.OFF and machine.spec.id != vm_id:
            raise HypervisorError(f"disk {disk_id} is in use by the machine of VM {machine.spec.id}")
        disk = self._contents.find_disk(disk_id)
        disk.size_gib = max(disk.size_gib, size_gib)

    @verb
    def remove(self, disk_id: UUID) -> None:
        """Remove the disk, if it is there and no machine has it."""
        machine = self._contents.machine_with(disk_id)
        if machine:
            raise HypervisorError(f"disk {disk_id} belongs to the machine of VM {machine.spec.id}")
        self._contents.forget_disk(disk_id)

    @verb
    def list(self) -> Mapping[UUID, int]:
        """All disks with their sizes in GiB."""
        return {id: disk.size_gib for id, disk in self._contents.disks.items()}

    @verb
    def cut_off(self, disk_id: UUID) -> tuple[str, ...]:
        """Have machines on all hosts write to it no more."""
        self._contents.find_disk(disk_id)
        for directory in self._contents.shared_there:
            if disk_id in directory.disks:
                return directory.cut_off(disk_id)
        raise HypervisorError(f"disk {disk_id} is on this host alone: nobody is kept from writing to it")

    @verb
    def send(self, disk_id: UUID) -> socket.socket:
        """Give all that it holds."""
        return give(self._contents.find_idle_disk(disk_id))

    @verb
    def receive(self, disk: DiskSpec) -> socket.socket:
        """Take in what comes, once it is whole."""
        self.check_pool(disk)
        self.check_base(disk)
        if disk.id in self._contents.disks:
            raise HypervisorError(f"there is a disk {disk.id} on this host already")
        ours, theirs = socket.socketpair()
        Thread(target=take_in, args=(ours, disk, self._state), daemon=True).start()
        return theirs

    @verb
    def take_snapshot(self, disk_id: UUID, snapshot_id: UUID) -> None:
        """Keep the disk's content."""
        self._contents.find_idle_disk(disk_id).take_snapshot(snapshot_id)

    @verb
    def revert(self, disk_id: UUID, snapshot_id: UUID) -> None:
        """Bring back a snapshot's content and size."""
        self._contents.find_idle_disk(disk_id).revert(snapshot_id)

    @verb
    def remove_snapshot(self, disk_id: UUID, snapshot_id: UUID) -> None:
        """Forget a snapshot, if it is there."""
        self._contents.find_idle_disk(disk_id).snapshots.pop(snapshot_id, None)

    @verb
    def snapshots(self, disk_id: UUID) -> frozenset[UUID]:
        """The disk's snapshots."""
        return frozenset(self._contents.find_disk(disk_id).snapshots)
