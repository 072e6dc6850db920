"""Disks on a host, with their snapshots."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from cumulet.hypervisor.images import BaseImage

MOST_STORAGE_DISKS: Final = 8
"""How many storage disks a machine has room for beside its boot disk."""


@dataclass(frozen=True, slots=True)
class DiskSpec:
    """A disk of its own size: a copy-on-write overlay of an image, or empty."""

    id: UUID
    size_gib: int
    base: BaseImage | None
    pool: str
    """The data center's disk pool it is made in; from then on it is found wherever it lies."""


class Disks(Protocol):
    """Disks on one host."""

    def create(self, disk: DiskSpec) -> None:
        """Make the disk if it is not there; the copy of its image, if it has one, must be ready."""

    def resize(self, disk_id: UUID, size_gib: int, *, vm_id: UUID | None) -> None:
        """Let the disk grow to this size, unless it is as large; a guest that runs with it sees that at once.

        `vm_id` is the VM whose machine has it.
        """

    def remove(self, disk_id: UUID) -> None:
        """Remove the disk with its content and snapshots, if it is there; HypervisorError while a machine has it."""

    def list(self) -> Mapping[UUID, int]:
        """All our disks on the host with their sizes in GiB."""

    def cut_off(self, disk_id: UUID) -> tuple[str, ...]:
        """Have those who have the disk open, on whichever host, never write to it again, and say who they are.

        HypervisorError where it lies in a pool that cannot keep anybody from writing.
        """

    def send(self, disk_id: UUID) -> socket.socket:
        """Open a line that gives the disk with its snapshots, as `hypervisor.content` says; for `receive` alone to read.

        HypervisorError while a running machine has it.
        """

    def receive(self, disk: DiskSpec) -> socket.socket:
        """Open a line that takes a disk as `send` gives it, and answers once it is there; an earlier one of it ends.

        The copy of its image, if it has one, must be ready. HypervisorError when there is such a disk already.
        """

    def take_snapshot(self, disk_id: UUID, snapshot_id: UUID) -> None:
        """Keep the disk's content of now under that id, unless there is such a snapshot.

        This verb and the next two raise HypervisorError while a running machine has the disk.
        """

    def revert(self, disk_id: UUID, snapshot_id: UUID) -> None:
        """Bring back the content, and the size, that the disk had when the snapshot was taken."""

    def remove_snapshot(self, disk_id: UUID, snapshot_id: UUID) -> None:
        """Forget a snapshot, if it is there; what the disk holds stays."""

    def snapshots(self, disk_id: UUID) -> frozenset[UUID]:
        """The disk's snapshots."""


def serial_of(disk_id: UUID) -> str:
    """The serial number by which a guest finds a disk: virtio carries 20 characters."""
    return disk_id.hex[:20]
