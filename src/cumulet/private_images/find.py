"""Finding and showing private images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from cumulet.db import fetch_columns
from cumulet.errors import Invalid, Refused
from cumulet.images import Image, ImageStore
from cumulet.private_images import wire
from cumulet.private_images.model import PrivateImage
from cumulet.private_images.wire import ImageState
from cumulet.reconcile import Due, Kind
from cumulet.resource import Wanted

LOCK_NAMED: Final = (
    select(PrivateImage)
    .where(PrivateImage.project_id == bindparam("project_id"), PrivateImage.name == bindparam("name"))
    .with_for_update()
)
ID_OF_NAMED: Final = select(PrivateImage.id).where(
    PrivateImage.project_id == bindparam("project_id"), PrivateImage.name == bindparam("name")
)


def find_ready_image(db: Session, project_id: str, name: str, data_center_id: str) -> PrivateImage | None:
    """Find an image that a disk is to be made of, and keep others from deleting it until the transaction ends.

    None when the project has none of that name; Invalid, Refused when it has one that cannot be used.
    """
    image = lock_image(db, project_id, name)
    if image is None:
        return None
    if image.data_center_id != data_center_id:
        accepted = f"an image of data center {data_center_id!r}; this one is in {image.data_center_id!r}"
        raise Invalid.field("bootDiskImageId", name, accepted)
    if image.state is not ImageState.READY or image.wanted is not Wanted.KEPT:
        message = f"cannot make a VM of image {name!r}: it is {api_state(image).value} and must be READY"
        passing = api_state(image) is ImageState.CREATING
        raise Refused(message, reason="IMAGE_NOT_READY", subject=name, passing=passing)
    return image


def lock_image(db: Session, project_id: str, name: str) -> PrivateImage | None:
    """Find a project's image, and keep others from changing it until the transaction ends; most names are no project's."""
    for (id,) in fetch_columns(db, ID_OF_NAMED, project_id=project_id, name=name):
        return db.get(PrivateImage, id, populate_existing=True, with_for_update=True)
    return None


def as_image(row: PrivateImage, store: ImageStore) -> Image:
    """Describe a private image as VMs boot from it."""
    return Image(
        id=row.name,
        name=row.name,
        display_name=row.name,
        description=row.description,
        size_gib=row.size_gib,
        format="qcow2",
        firmware=row.firmware,
        cloud_init=row.cloud_init,
        sha256=row.sha256,
        origin=f"private:{row.id}",
        path=store.private(row.id),
    )


def api_state(image: PrivateImage) -> ImageState:
    """The state as its owner sees it."""
    return ImageState.DELETING if image.wanted is Wanted.DELETED else image.state


def image_views(db: Session, images: Sequence[PrivateImage]) -> list[wire.PrivateImage]:
    """Show images with what each waits for."""
    unsettled = select(Due).where(Due.kind == Kind.PRIVATE_IMAGE, Due.id.in_([image.id for image in images]))
    dues = {due.id: due for due in db.scalars(unsettled)}
    return [image_view(image, dues.get(image.id)) for image in images]


def image_view(image: PrivateImage, due: Due | None = None) -> wire.PrivateImage:
    """Show an image."""
    return wire.PrivateImage(
        project_id=image.project_id,
        id=image.name,
        data_center_id=image.data_center_id,
        description=image.description,
        size_gib=image.size_gib,
        platform="linux",
        state=api_state(image),
        taken_from=image.taken_from.value if image.taken_from else "",
        waiting_for=due.why if due else "",
        problem=(due.error if due else "") or image.problem,
    )
