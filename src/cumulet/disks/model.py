"""Disks and their snapshots: what their project wants of them, and what we last saw.

    INIT ──made──▶ READY ◀──plugged──▶ USED          of either, while its size or its snapshots change: LOCKED
                     ▲                        a boot disk while an image is taken of it: CLONE
                     ▼
                   ERROR: it has gone from its host

A storage disk is made when a VM gets it for the first time. Until then its row keeps room for it on some host, and moves
to the host of that VM; shown it is READY. Attached to a VM on another host it is brought there, and counts where its row says:
until all of it is there that is where it was. A VM's boot disk is made with its VM, always plugged into it, and goes with it.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from cumulet.catalogue import StorageClass
from cumulet.db import Row
from cumulet.disks.wire import DiskState, DiskType
from cumulet.due import Kind
from cumulet.events import DiskData
from cumulet.resource import Resource, Wanted
from cumulet.vm_record.model import Vm


class Disk(Resource):
    """A disk on one host."""

    kind = Kind.DISK
    called = "disk"

    __tablename__ = "disk"
    __table_args__ = (
        UniqueConstraint("project_id", "name"),
        Index("ix_disk_sums", "project_id", "size_gib"),
    )

    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"))
    type: Mapped[DiskType]
    data_center_id: Mapped[str]
    host_id: Mapped[UUID] = mapped_column(ForeignKey("host.id"), index=True)
    size_gib: Mapped[int]
    storage_class: Mapped[StorageClass]
    pool: Mapped[str]
    """The data center's disk pool in which it lies."""
    gib_price: Mapped[Decimal]
    """What a GiB of that pool cost an hour when it was made."""
    create_time: Mapped[datetime]
    deletion_protection: Mapped[bool] = mapped_column(default=False)
    """Of a storage disk: nobody deletes it before that is lifted."""

    state: Mapped[DiskState]
    """A disk that was made once is never made anew."""
    brought_in_term: Mapped[int] = mapped_column(default=0)
    """The term of its VM's move in which all of it came to be on the host that the VM is moved to."""
    vm_id: Mapped[UUID | None] = mapped_column(index=True)
    """The VM that has it."""
    attached_at: Mapped[datetime | None]
    """Since when; guests find their storage disks in this order."""
    private_image_id: Mapped[UUID | None] = mapped_column(index=True)
    """The private image that a boot disk is based on."""
    snapshot_id: Mapped[UUID | None]
    """The snapshot that what it holds now began as."""
    reverting: Mapped[bool] = mapped_column(default=False)
    """It is to hold again what that snapshot holds."""

    def event_data(self) -> DiskData:
        """Describe its size, its place and its rate."""
        return DiskData(
            name=self.name,
            data_center_id=self.data_center_id,
            type=self.type.value,
            storage_class=self.storage_class.value,
            pool=self.pool,
            size_gib=self.size_gib,
            gib_price=self.gib_price,
            state=self.state.value,
            vm_id=str(self.vm_id) if self.vm_id else "",
        )

    @property
    def is_made(self) -> bool:
        """It is, or was once, on its host, with what was written to it."""
        return self.state is not DiskState.INIT

    def is_coming_to(self, vm: Vm) -> bool:
        """It lies on another host than the VM that got it, and that has its room."""
        return self.host_id != vm.host_id and vm.waits_until is None

    @property
    def is_going(self) -> bool:
        """It is being deleted, by itself or with the VM that boots from it."""
        return self.wanted is Wanted.DELETED or (
            self.type is DiskType.BOOT and self.wanted is Wanted.DETACHED
        )


class Snapshot(Row):
    """What a disk held once. It lies in the disk's own file and goes with it."""

    __tablename__ = "snapshot"
    __table_args__ = (UniqueConstraint("disk_id", "name"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    disk_id: Mapped[UUID] = mapped_column(ForeignKey("disk.id"))
    name: Mapped[str]
    """The owner's id for it, unique on its disk."""
    size_gib: Mapped[int]
    """Of the disk at that time: as much room is kept for what differs since."""
    gib_price: Mapped[Decimal]
    """What a GiB of snapshots in the disk's pool cost an hour when it was taken."""
    create_time: Mapped[datetime]
    made: Mapped[bool] = mapped_column(default=False)
    deleting: Mapped[bool] = mapped_column(default=False)
