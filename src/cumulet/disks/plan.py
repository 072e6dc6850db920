"""From a request to a plan: pure. Every rule of a disk's fields stands here, each with its refusal."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from cumulet.catalogue import StorageClass
from cumulet.disks.wire import CreateStorageDisk
from cumulet.errors import Invalid

DISK_ID: Final = re.compile(r"[a-z0-9]([a-z0-9_-]{0,126}[a-z0-9])?")
"""dstack sends `<vm id>_disk_id`."""
MOST_DISK_GIB: Final = 65_536
OFFERED: Final = frozenset({StorageClass.UNKNOWN, StorageClass.LOCAL})
"""There is one pool on each host; who names no class gets that."""


@dataclass(frozen=True, slots=True)
class DiskPlan:
    """What a valid request comes to."""

    name: str
    size_gib: int


def plan_disk(data: CreateStorageDisk) -> DiskPlan:
    """Check every field, in either form of the body; Invalid names the field as the caller wrote it."""
    given, path = (data, "") if data.disk is None else (data.disk, "disk.")
    check_disk_id(f"{path}id", given.id)
    check_disk_gib(f"{path}sizeGib", given.size_gib, least=1)
    if given.storage_class not in OFFERED:
        accepted = f"{StorageClass.LOCAL.value}, the only class that is offered, or none"
        raise Invalid.field(f"{path}storageClass", given.storage_class.value, accepted)
    return DiskPlan(name=given.id, size_gib=given.size_gib)


def check_disk_id(field: str, value: str) -> None:
    """Refuse an id of a disk or a snapshot that is out of its rule."""
    if not DISK_ID.fullmatch(value):
        accepted = "1 to 128 of a-z, 0-9, '-' and '_', not beginning or ending with '-' or '_'"
        raise Invalid.field(field, value, accepted)


def check_disk_gib(field: str, value: int, *, least: int) -> None:
    """Refuse a size out of its bounds."""
    if not least <= value <= MOST_DISK_GIB:
        raise Invalid.field(field, value, f"{least} to {MOST_DISK_GIB}")
