"""The JSON of disks and their snapshots, member for member as the contract has it, and what we add."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from cumulet.catalogue import StorageClass
from cumulet.wire import ProtoEnum, Wire


class DiskType(ProtoEnum):
    """`Disk.DiskType`."""

    UNKNOWN = "DISK_TYPE_UNKNOWN", 0
    BOOT = "DISK_TYPE_BOOT", 1
    STORAGE = "DISK_TYPE_STORAGE", 2


class DiskState(ProtoEnum):
    """`Disk.DiskState` with the names of the reference's time, which the Python client knows."""

    INIT = "DISK_STATE_INIT", 0
    READY = "DISK_STATE_READY", 1
    USED = "DISK_STATE_USED", 2
    DISABLED = "DISK_STATE_DISABLED", 3
    LOCKED = "DISK_STATE_LOCKED", 4
    ERROR = "DISK_STATE_ERROR", 5
    CLONE = "DISK_STATE_CLONE", 6
    DELETE = "DISK_STATE_DELETE", 7


class Disk(Wire, kw_only=True):
    """A disk; as a request only `id`, `sizeGib` and `storageClass` count."""

    id: str = ""
    project_id: str = ""
    data_center_id: str = ""
    vm_id: str = ""
    size_gib: int = 0
    storage_class: StorageClass = StorageClass.UNKNOWN
    disk_type: DiskType = DiskType.UNKNOWN
    public_image_id: str = ""
    private_image_id: str = ""
    create_time: datetime | None = None
    disk_state: DiskState = DiskState.INIT
    serial: str = ""
    """By which its guest finds it: `/dev/disk/by-id/virtio-SERIAL`. This and the next three no contract has."""
    waiting_for: str = ""
    """What it, or the VM that has it, waits for now, in words; `""` when that is settled."""
    problem: str = ""
    """The last failure of it, or of the VM that has it, in words; `""` when there is none."""
    deletion_protection: bool = False
    """It cannot be deleted before that is lifted; a boot disk is protected with its VM."""


class CreateStorageDisk(Wire, kw_only=True):
    """The body of CreateStorageDisk: the disk flat, or under `disk` as older clients send it."""

    data_center_id: Annotated[str, Meta(examples=["local"])] = ""
    id: Annotated[str, Meta(examples=["data"])] = ""
    size_gib: Annotated[int, Meta(examples=[10])] = 0
    storage_class: StorageClass = StorageClass.UNKNOWN
    deletion_protection: bool = False
    """Ours, beyond the contract."""
    disk: Disk | None = None


class UpdateDiskDeletionProtection(Wire, kw_only=True):
    """Whether a disk is protected from deletion."""

    deletion_protection: Annotated[bool, Meta(examples=[True])]


class Snapshot(Wire, kw_only=True):
    """`Snapshot`: what a disk held once."""

    id: str
    active: bool
    """What the disk holds now began as this."""
    size_gib: int
    create_time: datetime


class ListDisksResponse(Wire, kw_only=True):
    """One page of a project's disks."""

    disks: list[Disk]
    total_count: int
    page_number: int
    """0 when the page was asked for by its token."""
    page_size: int
    page_token: str


class GetDiskResponse(Wire, kw_only=True):
    """A disk with its snapshots."""

    disk: Disk
    snapshots: list[Snapshot]


class ListVmDisksResponse(Wire, kw_only=True):
    """The boot disk of a VM, and its storage disks by id."""

    disks: list[Disk]


class CreateDiskSnapshot(Wire, kw_only=True):
    """The body of CreateDiskSnapshot."""

    snapshot_id: Annotated[str, Meta(examples=["before-upgrade"])]
    vm_id: str = ""
    """The VM that has the disk; older clients always name it."""


class ListDiskSnapshotsResponse(Wire, kw_only=True):
    """A disk's snapshots, oldest first."""

    snapshots: list[Snapshot]
    page_token: str = ""
