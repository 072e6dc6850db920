"""A private image's life as one reconciler: its host copies the disk, and the whole image joins the others of the store.

It lies in the store, on the machine that Cumulet runs on, and not on the host of its VM: from there it gets to every
host as public images do, by its digest, and no host's end takes it away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.disks import Disk, DiskState
from cumulet.events import EventName
from cumulet.hosts import release
from cumulet.hypervisor import Hypervisor as Host
from cumulet.hypervisor import HypervisorError, ImageOrder
from cumulet.images import ImageStore
from cumulet.private_images.model import PrivateImage
from cumulet.private_images.wire import ImageState
from cumulet.reconcile import Kind, NotYet, Run, wake
from cumulet.resource import Wanted, log_event
from cumulet.vm_record import Vm

log = structlog.get_logger()

SETTLED_AS: Final = {
    ImageState.READY: (EventName.PRIVATE_IMAGE_READY, EventName.VM_IMAGE_READY),
    ImageState.FAILED: (EventName.PRIVATE_IMAGE_FAILED, EventName.VM_IMAGE_FAILED),
}
"""How it ended, in its own timeline and in its VM's."""
SHORTEST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 2.0
"""Seconds between looks at a copy in the making."""
ENDING_PAUSE: Final = 0.3
"""Seconds between looks at one that ends."""
NOT_TAKEN: Final = "the host failed to copy the disk, and the operator's log says why"


def reconcile_image(
    run: Run, find_host: Callable[[UUID], Host], hosts: Mapping[UUID, Host], store: ImageStore
) -> None:
    """Bring one private image to where its project wants it, from wherever it is now."""
    with run.reading() as db:
        image = db.get(PrivateImage, run.id)
    if image is None:
        return
    if image.wanted is Wanted.DELETED:
        tear_down(run, image, find_host(image.host_id), hosts, store)
        return
    if image.state is ImageState.CREATING:
        ensure_taken(run, image, find_host(image.host_id), store)
    ensure_forgotten(image, find_host(image.host_id))


def ensure_taken(run: Run, image: PrivateImage, host: Host, store: ImageStore) -> None:
    """Have the image taken; NotYet while it is being copied."""
    target = store.private(image.id)
    order = ImageOrder(image_id=image.id, disk_id=image.disk_id, vm_id=image.vm_id, target=target)
    capture = host.images.capture(order)
    if capture.error:
        log.warning("an image could not be captured", image=str(image.id), problem=capture.error)
        failed = {"state": ImageState.FAILED, "problem": NOT_TAKEN}
        settle(run, image, failed, f"image {image.name} could not be captured: {NOT_TAKEN}")
    elif capture.taken_from is None:
        raise NotYet(f"copying image, {capture.fraction:.0%}", pause(run, image))
    else:
        ready = {"state": ImageState.READY, "taken_from": capture.taken_from, "sha256": capture.sha256}
        seconds = (run.now - image.create_time).total_seconds()
        text = f"image {image.name} is ready after {seconds:.0f} s, captured {capture.taken_from.value}"
        settle(run, image, ready, text)


def ensure_forgotten(image: PrivateImage, host: Host) -> None:
    """Have the host end and forget its part; NotYet while that takes a moment."""
    if not host.images.forget_capture(image.id):
        raise NotYet("cancelling the copy of the disk", ENDING_PAUSE)


def pause(run: Run, image: PrivateImage) -> float:
    """Seconds until the next look: a tenth of what it has taken so far, so that none ends long before that is seen."""
    return min(max((run.now - image.create_time).total_seconds() / 10, SHORTEST_PAUSE), LONGEST_PAUSE)


def settle(run: Run, image: PrivateImage, values: Mapping[str, Any], text: str) -> None:
    """Write down how it ended, in the timeline of the VM too, whose power may change again."""
    with run.writing() as db:
        let_go(db, run, image)
        row = db.get_one(PrivateImage, image.id)
        for name, value in values.items():
            setattr(row, name, value)
        if row.state is ImageState.FAILED:
            release(db, image.id, now=run.now)
        of_image, of_vm = SETTLED_AS[row.state]
        log_event(db, row, of_image, text, now=run.now)
        vm = db.get(Vm, image.vm_id)
        if vm is not None:
            log_event(db, vm, of_vm, text, now=run.now, image_id=image.name)


def let_go(db: Session, run: Run, image: PrivateImage) -> None:
    """Let the disk that the image was taken of be used freely again."""
    if image.state is not ImageState.CREATING:
        return
    wake(db, Kind.VM, image.vm_id, now=run.now)
    disk = db.scalar(select(Disk).where(Disk.id == image.disk_id, Disk.state == DiskState.CLONE))
    if disk is not None:
        disk.state = DiskState.USED


def tear_down(
    run: Run, image: PrivateImage, host: Host, hosts: Mapping[UUID, Host], store: ImageStore
) -> None:
    """Remove the image with its copies; its row goes last, with its room."""
    ensure_forgotten(image, host)
    store.remove_private(image.id)
    with run.reading() as db:
        twins = select(PrivateImage.id).where(
            PrivateImage.sha256 == image.sha256, PrivateImage.id != image.id
        )
        shared = not image.sha256 or db.scalar(twins.limit(1)) is not None
    for each in hosts.values() if not shared else ():
        with suppress(HypervisorError):  # a leftover disk is still based on it: the sweep comes back to it
            each.images.remove_copy(image.sha256)
    with run.writing() as db:
        let_go(db, run, image)
        release(db, image.id, now=run.now)
        db.delete(db.get_one(PrivateImage, image.id))
        text = "deleted, with its reserved capacity"
        log_event(db, image, EventName.PRIVATE_IMAGE_DELETED, text, now=run.now)
