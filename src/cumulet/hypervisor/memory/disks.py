"""Disks on a host in memory."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from cumulet.faults import verb
from cumulet.hypervisor import (
    DiskSpec,
    HypervisorError,
    Power,
)
from cumulet.hypervisor.memory.contents import StoredDisk, read_image
from cumulet.hypervisor.memory.state import Part


class MemoryDisks(Part):
    """Disks on one host."""

    @verb
    def create(self, disk: DiskSpec) -> None:
        """Make the disk if it is not there."""
        if disk.pool not in self._state.pools:
            raise HypervisorError(f"the host has no disk pool {disk.pool!r}")
        self._contents.check_mounted(disk.pool)
        if disk.id in self._contents.disks:
            return
        if disk.base and self._contents.copies.get(disk.base.sha256) != 1.0:
            raise HypervisorError(
                f"image {disk.base.sha256[:12]}, the base of disk {disk.id}, is not on this host"
            )
        content = read_image(disk.base.path) if disk.base else ""
        self._contents.disks[disk.id] = StoredDisk(disk, disk.size_gib, content)

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
        self._contents.disks.pop(disk_id, None)

    @verb
    def list(self) -> Mapping[UUID, int]:
        """All disks with their sizes in GiB."""
        return {id: disk.size_gib for id, disk in self._contents.disks.items()}

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
