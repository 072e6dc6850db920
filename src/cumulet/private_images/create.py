"""Taking an image of a VM."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue
from cumulet.disks import Disk, DiskState, find_boot_disk, refuse_moved
from cumulet.errors import Refused
from cumulet.events import EventName
from cumulet.hosts import Requirements, lock_pool, place_disk, reserve
from cumulet.ids import check_id
from cumulet.operation import Access, Caller, operation
from cumulet.private_images.find import image_view
from cumulet.private_images.model import PrivateImage
from cumulet.private_images.operations import check_description
from cumulet.private_images.wire import CreatePrivateVmImageResponse, ImageState
from cumulet.quotas import lock_allowance
from cumulet.reconcile import Kind, find_due, wake
from cumulet.resource import Wanted, lock, log_request, refuse_taken
from cumulet.vm_record.accepts import AT_REST
from cumulet.vm_record.find import find_vm, find_vm_to_change
from cumulet.vm_record.model import Vm
from cumulet.vm_record.wire import VmState


@operation("POST /v1/projects/{projectId}/images", access=Access.EDITOR)
def create_private_vm_image(
    db: Session,
    caller: Caller,
    *,
    catalogue: Catalogue,
    now: datetime,
    project_id: str,
    vm_id: str,
    id: str,
    description: str = "",
) -> CreatePrivateVmImageResponse:
    """Capture an image of a virtual machine's boot disk, running or stopped; it is READY once copied.

    A guest whose agent answers freezes its file systems for that moment. Until the image is READY, starts,
    stops, restarts and the end of the virtual machine wait for it.
    """
    seen = find_vm(db, project_id=project_id, id=vm_id)
    check_id("id", id)
    check_description(description)
    pool = catalogue.find_data_center(seen.data_center_id).own_pool  # the image grows there and stays there
    capacity = lock_pool(db, seen.data_center_id, seen.host_id, pool.id)
    allowance = lock_allowance(db, project_id, catalogue.quotas)
    vm = find_vm_to_change(db, now=now, project_id=project_id, id=vm_id)
    refuse_taken(db, PrivateImage, project_id, id, field="id")
    disk = lock(db, find_boot_disk(db, vm.id))
    accept_image(vm, disk, under_way=image_under_way(db, disk))
    refuse_moved(vm, capacity.host_id)
    allowance.take(db, {"images": 1})
    place_disk(disk.size_gib, [capacity], pool=pool.id)
    image = image_row(vm, disk, id, description, gib_price=pool.snapshot_gib_price_hr, now=now)
    db.add(image)
    db.flush()
    required = Requirements(project_id=project_id, disk_gib=disk.size_gib, pool=pool.id)
    reserve(db, image.id, disk.host_id, required)
    disk.state = DiskState.CLONE
    text = f"image {id} of its boot disk requested"
    log_request(db, caller, vm, EventName.VM_IMAGE_REQUESTED, text, now=now, image_id=id)
    text = f"image of VM {vm.name} requested"
    log_request(db, caller, image, EventName.PRIVATE_IMAGE_CREATE_REQUESTED, text, now=now)
    wake(db, Kind.PRIVATE_IMAGE, image.id, now=now)
    return CreatePrivateVmImageResponse(image=image_view(image))


def image_under_way(db: Session, disk: Disk) -> str:
    """Say which image is being taken of a disk, and how far that is; "" for none."""
    creating = (PrivateImage.disk_id == disk.id, PrivateImage.state == ImageState.CREATING)
    image = db.scalar(select(PrivateImage).where(*creating))
    if image is None:
        return ""
    due = find_due(db, Kind.PRIVATE_IMAGE, image.id)
    return f"image {image.name!r}" + (f" ({due.why})" if due and due.why else "")


def accept_image(vm: Vm, disk: Disk, *, under_way: str) -> None:
    """Return when an image can be taken of the VM now; Refused (code 9) otherwise."""
    if vm.state not in AT_REST:
        message = (
            f"cannot take an image of VM {vm.name!r}: it is {vm.state.value} and must be ACTIVE or STOPPED"
        )
        passing = vm.is_passing
        raise Refused(message, reason="VM_NOT_ACTIVE_OR_STOPPED", subject=vm.name, passing=passing)
    settled = vm.wanted is (Wanted.ACTIVE if vm.state is VmState.ACTIVE else Wanted.STOPPED)
    if under_way:
        message = (
            f"cannot take an image of VM {vm.name!r}: {under_way} is being taken of it; wait for its end"
        )
        raise Refused(message, reason="VM_NOT_READY", subject=vm.name, passing=True)
    if not settled or vm.reboot_pending or disk.state is not DiskState.USED:
        message = f"cannot take an image of VM {vm.name!r}: it or its boot disk is being changed"
        raise Refused(message, reason="VM_NOT_READY", subject=vm.name, passing=True)


def image_row(
    vm: Vm, disk: Disk, name: str, description: str, *, gib_price: Decimal, now: datetime
) -> PrivateImage:
    """Put what was asked for into a row."""
    return PrivateImage(
        id=uuid4(),
        project_id=vm.project_id,
        name=name,
        description=description,
        data_center_id=vm.data_center_id,
        size_gib=disk.size_gib,
        gib_price=gib_price,
        firmware=vm.image_firmware,
        cloud_init=vm.image_cloud_init,
        create_time=now,
        host_id=disk.host_id,
        vm_id=vm.id,
        disk_id=disk.id,
        wanted=Wanted.KEPT,
        state=ImageState.CREATING,
        taken_from=None,
        sha256="",
        problem="",
    )
