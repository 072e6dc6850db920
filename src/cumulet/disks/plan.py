"""From a request to a plan: pure. Every rule of a disk's fields stands here, each with its refusal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from cumulet.catalogue import DataCenter, DiskPool, StorageClass
from cumulet.disks.wire import CreateStorageDisk
from cumulet.errors import Invalid

DISK_ID: Final = re.compile(r"[a-z0-9]([a-z0-9_-]{0,126}[a-z0-9])?")
"""dstack sends `<vm id>_disk_id`."""
MOST_DISK_GIB: Final = 65_536


@dataclass(frozen=True, slots=True)
class DiskPlan:
    """What a valid request comes to."""

    name: str
    size_gib: int
    storage_class: StorageClass
    pool: DiskPool
    deletion_protection: bool


def plan_disk(data: CreateStorageDisk, data_center: DataCenter) -> DiskPlan:
    """Check every field, in either form of the body; Invalid names the field as the caller wrote it."""
    given, path = (data, "") if data.disk is None else (data.disk, "disk.")
    check_disk_id(f"{path}id", given.id)
    check_disk_gib(f"{path}sizeGib", given.size_gib, least=1)
    storage_class, pool = plan_pool(f"{path}storageClass", given.storage_class, data_center)
    return DiskPlan(
        name=given.id,
        size_gib=given.size_gib,
        storage_class=storage_class,
        pool=pool,
        deletion_protection=given.deletion_protection,
    )


def plan_pool(field: str, requested: StorageClass, data_center: DataCenter) -> tuple[StorageClass, DiskPool]:
    """Choose the pool that serves a storage class, or without a wish the first class; Invalid names those served."""
    served = data_center.served_classes
    storage_class = next(iter(served)) if requested is StorageClass.UNKNOWN else requested
    if storage_class not in served:
        names = " or ".join(str(one.value) for one in served)
        raise Invalid.field(
            field, requested.value, f"{names}, which data center {data_center.id!r} serves, or none"
        )
    return storage_class, served[storage_class]


def check_disk_id(field: str, value: str) -> None:
    """Refuse an id of a disk or a snapshot that is out of its rule."""
    if not DISK_ID.fullmatch(value):
        accepted = "1 to 128 of a-z, 0-9, '-' and '_', not beginning or ending with '-' or '_'"
        raise Invalid.field(field, value, accepted)


def check_disk_gib(field: str, value: int, *, least: int) -> None:
    """Refuse a size out of its bounds."""
    if not least <= value <= MOST_DISK_GIB:
        raise Invalid.field(field, value, f"{least} to {MOST_DISK_GIB}")
