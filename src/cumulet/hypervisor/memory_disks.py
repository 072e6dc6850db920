"""The half of a host in memory that keeps things: copies of images, disks with their snapshots, and seeds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from uuid import UUID

from cumulet.faults import verb
from cumulet.hypervisor import (
    BaseImage,
    DiskSpec,
    HypervisorError,
    ImageCopy,
    ImageOrder,
    ImageTaking,
    Power,
    Seed,
    TakenFrom,
)
from cumulet.hypervisor.memory_contents import Contents, StoredDisk, read_image, write_image
from cumulet.hypervisor.memory_faults import FaultyHost


class MemoryDisks(FaultyHost):
    """What lies on one host in memory."""

    def __init__(self, pools: Mapping[str, int]) -> None:
        super().__init__()
        self.pools = dict(pools)
        """Lever: how many GiB each disk pool has while it is mounted."""
        self.deaf = False
        """Lever: guests ignore their power button, and do not hold still for an image."""
        self.copy_step = 1.0
        """Lever: how much of an image's copy gets done with each look at it."""
        self._contents = Contents()

    # Levers
    def unmount(self, pool: str) -> None:
        """Let a disk pool's file system be mounted no more: what lies there is not seen until it is again."""
        with self._lock:
            self._contents.unmount(pool)

    def mount(self, pool: str) -> None:
        """Let it be mounted again."""
        with self._lock:
            self._contents.mount(pool)

    # Verbs
    @verb
    def ensure_image_copy(self, image: BaseImage) -> ImageCopy:
        """Copy a bit more of the image."""
        fraction = min(1.0, self._contents.copies.get(image.sha256, 0.0) + self.copy_step)
        self._contents.copies[image.sha256] = fraction
        return ImageCopy(ready=fraction == 1.0, fraction=fraction)

    @verb
    def image_copies(self) -> frozenset[str]:
        """Digests of the complete copies."""
        return frozenset(sha256 for sha256, fraction in self._contents.copies.items() if fraction == 1.0)

    @verb
    def remove_image_copy(self, sha256: str) -> None:
        """Remove a copy, unless a disk is based on it, or may be."""
        for pool in self._contents.unmounted:
            self._contents.check_mounted(pool)
        based = self._contents.disks_based_on(sha256)
        if based:
            raise HypervisorError(f"image {sha256[:12]} is the base of {len(based)} disks, first {based[0]}")
        self._contents.copies.pop(sha256, None)

    @verb
    def create_disk(self, disk: DiskSpec) -> None:
        """Make the disk if it is not there."""
        if disk.pool not in self.pools:
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
    def resize_disk(self, disk_id: UUID, size_gib: int, *, vm_id: UUID | None) -> None:
        """Let the disk grow."""
        machine = self._contents.machine_with(disk_id)
        if machine and machine.power is not Power.OFF and machine.spec.id != vm_id:
            raise HypervisorError(f"disk {disk_id} is in use by the machine of VM {machine.spec.id}")
        disk = self._contents.find_disk(disk_id)
        disk.size_gib = max(disk.size_gib, size_gib)

    @verb
    def remove_disk(self, disk_id: UUID) -> None:
        """Remove the disk, if it is there and no machine has it."""
        machine = self._contents.machine_with(disk_id)
        if machine:
            raise HypervisorError(f"disk {disk_id} belongs to the machine of VM {machine.spec.id}")
        self._contents.disks.pop(disk_id, None)

    @verb
    def disks(self) -> Mapping[UUID, int]:
        """All disks with their sizes in GiB."""
        return {id: disk.size_gib for id, disk in self._contents.disks.items()}

    @verb
    def take_snapshot(self, disk_id: UUID, snapshot_id: UUID) -> None:
        """Keep the disk's content."""
        self._contents.find_idle_disk(disk_id).take_snapshot(snapshot_id)

    @verb
    def revert_disk(self, disk_id: UUID, snapshot_id: UUID) -> None:
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

    @verb
    def ensure_image_taken(self, order: ImageOrder) -> ImageTaking:
        """Copy a bit more of the disk; what is whole is not taken again."""
        known = self._contents.takings.get(order.image_id, ImageTaking(0.0))
        if known.taken_from and order.target.exists():
            return known
        disk = self._contents.find_disk(order.disk_id)
        taking = ImageTaking(min(1.0, known.fraction + self.copy_step))
        if taking.fraction == 1.0:
            write_image(order.target, disk.content)
            sha256 = hashlib.sha256(order.target.read_bytes()).hexdigest()
            taking = ImageTaking(1.0, self._taken_from(order.vm_id), sha256)
        self._contents.takings[order.image_id] = taking
        return taking

    @verb
    def takings(self) -> frozenset[UUID]:
        """Images whose taking is not forgotten."""
        return frozenset(self._contents.takings)

    @verb
    def forget_taking(self, image_id: UUID) -> bool:
        """Forget it."""
        self._contents.takings.pop(image_id, None)
        return True

    @verb
    def write_seed(self, seed: Seed) -> None:
        """Keep the VM's seed."""
        self._contents.seeds[seed.vm_id] = seed

    @verb
    def remove_seed(self, vm_id: UUID) -> None:
        """Forget the VM's seed."""
        self._contents.seeds.pop(vm_id, None)

    @verb
    def seeds(self) -> frozenset[UUID]:
        """VMs that have a seed."""
        return frozenset(self._contents.seeds)

    def _taken_from(self, vm_id: UUID) -> TakenFrom:
        """Guests hold still when they are asked, unless they are deaf."""
        if self._contents.find_machine(vm_id).power is Power.OFF:
            return TakenFrom.STOPPED
        return TakenFrom.RUNNING if self.deaf else TakenFrom.FROZEN
