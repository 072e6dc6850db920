"""A private image's row: of which disk it is taken, how far that is, and what came of it.

    CREATING ──copied──▶ READY ──▶ DELETING ──▶ gone
        └──the host cannot──▶ FAILED ───┘

While it is CREATING, the disk it is taken of is a CLONE in the making: that keeps its VM's power as it is.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from cumulet.due import Kind
from cumulet.events import PrivateImageData
from cumulet.hypervisor import Firmware, TakenFrom
from cumulet.private_images.wire import ImageState
from cumulet.resource import Resource


class PrivateImage(Resource):
    """An image of a VM's boot disk, of one project and in one data center."""

    kind = Kind.PRIVATE_IMAGE
    called = "private image"

    __tablename__ = "private_image"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"))
    description: Mapped[str]
    data_center_id: Mapped[str]
    size_gib: Mapped[int]
    gib_price: Mapped[Decimal]
    """What a GiB of snapshots in the pool that it lies in cost an hour when it was taken: an image costs the same."""
    firmware: Mapped[Firmware] = mapped_column(default=Firmware.BIOS)
    cloud_init: Mapped[bool] = mapped_column(default=True)
    """As the image had it that its VM was made of."""
    create_time: Mapped[datetime]

    host_id: Mapped[UUID] = mapped_column(ForeignKey("host.id"))
    vm_id: Mapped[UUID]
    disk_id: Mapped[UUID]
    """Of which host, VM and boot disk it is taken; the VM may be gone since."""

    state: Mapped[ImageState]
    taken_from: Mapped[TakenFrom | None]
    sha256: Mapped[str] = mapped_column(default="")
    """Of its file, once that is whole."""
    problem: Mapped[str] = mapped_column(default="")
    """Why it failed, in words for its owner."""

    def event_data(self) -> PrivateImageData:
        """Describe its size and its state."""
        return PrivateImageData(
            name=self.name,
            data_center_id=self.data_center_id,
            size_gib=self.size_gib,
            gib_price=self.gib_price,
            state=self.state.value,
        )
