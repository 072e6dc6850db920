"""The verbs of private images by themselves; taking one of a VM is the VMs'."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.disks import Disk
from cumulet.errors import Invalid, Refused
from cumulet.events import EventName
from cumulet.operation import Access, Caller, States, operation
from cumulet.private_images.find import image_views
from cumulet.private_images.model import PrivateImage
from cumulet.private_images.wire import GetPrivateVmImageResponse, ListPrivateVmImagesResponse
from cumulet.projects import fetch_page, read_page
from cumulet.resource import Wanted, find, lock_to_change, log_request
from cumulet.wire import Empty

LONGEST_DESCRIPTION: Final = 1000


@operation("GET /v1/projects/{projectId}/images", access=Access.VIEWER)
def list_private_vm_images(
    db: Session,
    *,
    project_id: str,
    page_number: int = 0,
    page_size: int = 0,
    page_token: str = "",
) -> ListPrivateVmImagesResponse:
    """List the project's own images by id."""
    page = read_page(page_number, page_size, page_token)
    wanted = select(PrivateImage).where(PrivateImage.project_id == project_id)
    images, total, token = fetch_page(db, wanted, page, PrivateImage.name)
    return ListPrivateVmImagesResponse(
        images=image_views(db, images),
        total_count=total,
        page_number=page.number,
        page_size=page.size,
        page_token=token,
    )


STATES: Final = States("image", rests=("READY",), vain=frozenset({"FAILED", "DELETING"}))


@operation("GET /v1/projects/{projectId}/images/{id}", access=Access.VIEWER, states=STATES)
def get_private_vm_image(db: Session, *, project_id: str, id: str) -> GetPrivateVmImageResponse:
    """Show one of the project's own images."""
    (answer,) = image_views(db, [find(db, PrivateImage, project_id, id)])
    return GetPrivateVmImageResponse(image=answer)


@operation("POST /v1/projects/{projectId}/images/{id}", access=Access.EDITOR)
def update_private_vm_image(db: Session, *, project_id: str, id: str, description: str = "") -> Empty:
    """Change an image's description."""
    check_description(description)
    find(db, PrivateImage, project_id, id).description = description
    return Empty()


@operation("DELETE /v1/projects/{projectId}/images/{id}", access=Access.EDITOR)
def delete_private_vm_image(db: Session, caller: Caller, *, now: datetime, project_id: str, id: str) -> Empty:
    """Delete an image that no virtual machine is based on; a capture in progress is cancelled."""
    image = lock_to_change(db, find(db, PrivateImage, project_id, id), now=now)
    refuse_in_use(db, image)
    if image.wanted is not Wanted.DELETED:
        image.wanted = Wanted.DELETED
        log_request(
            db, caller, image, EventName.PRIVATE_IMAGE_DELETE_REQUESTED, "deletion requested", now=now
        )
    return Empty()


def refuse_in_use(db: Session, image: PrivateImage) -> None:
    """Refuse to delete what disks are based on."""
    based = db.scalars(select(Disk).where(Disk.private_image_id == image.id).order_by(Disk.name)).all()
    if based:
        names = ", ".join(disk.name for disk in based[:5])
        message = (
            f"cannot delete image {image.name!r}: boot disks are based on it ({names}): "
            "terminate their VMs first"
        )
        passing = all(disk.is_going for disk in based)
        raise Refused(message, reason="IMAGE_IN_USE", subject=image.name, passing=passing)


def check_description(description: str) -> None:
    """Refuse what is too long to show."""
    if len(description) > LONGEST_DESCRIPTION:
        raise Invalid.field("description", f"{len(description)} characters", f"at most {LONGEST_DESCRIPTION}")
