"""What the forms of disks do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cumulet.disks.operations import (
    create_storage_disk,
    delete_storage_disk,
    get_disk,
    update_disk_deletion_protection,
)
from cumulet.disks.snapshot_operations import create_disk_snapshot, delete_disk_snapshot, revert_disk
from cumulet.disks.vm_operations import attach_storage_disk, detach_storage_disk, resize_vm_disk
from cumulet.disks.wire import CreateDiskSnapshot, CreateStorageDisk, UpdateDiskDeletionProtection
from cumulet.operation import OPERATIONS
from cumulet.web.pages.disks import (
    DISK,
    NEW,
    SNAPSHOT,
    delete_page,
    delete_snapshot_page,
    disk_page,
    new_page,
    of_disk,
    revert_page,
)
from cumulet.web.pages.vm_changes import check_typed_name
from cumulet.web.site import form
from cumulet.web.visit import Gone, Visit
from cumulet.wire import decode


@form(NEW, on=new_page)
def create(visit: Visit) -> Gone:
    """Create an empty one."""
    raw: dict[str, Any] = {name: visit.given(name) for name in ("id", "dataCenterId", "sizeGib")}
    if visit.given("storageClass"):
        raw["storageClass"] = visit.given("storageClass")
    raw["deletionProtection"] = visit.given("deletionProtection") == "yes"
    data = decode(CreateStorageDisk, raw)
    visit.ask(create_storage_disk, project_id=visit.project_id, data=data)
    return Gone(visit.url("disks", data.id))


@form(f"{DISK}/attach", on=disk_page)
def attach(visit: Visit) -> Gone:
    """Give it to a VM."""
    return done(visit, attach_storage_disk, vm_id=visit.given("vmId"))


@form(f"{DISK}/detach", on=disk_page)
def detach(visit: Visit) -> Gone:
    """Take it from its VM."""
    return done(visit, detach_storage_disk)


@form(f"{DISK}/size", on=disk_page)
def resize(visit: Visit) -> Gone:
    """Enlarge it."""
    query = OPERATIONS["resize_vm_disk"].query
    assert query is not None  # noqa: S101 - it has a size
    asked: Any = decode(query, {"diskId": visit.names["id"], "sizeGib": visit.given("sizeGib")})
    vm_id = visit.ask(get_disk, **of_disk(visit)).disk.vm_id
    visit.ask(
        resize_vm_disk,
        project_id=visit.project_id,
        id=vm_id,
        disk_id=asked.disk_id,
        size_gib=asked.size_gib,
    )
    return Gone(disk_url(visit))


@form(f"{DISK}/protection", on=disk_page)
def protection(visit: Visit) -> Gone:
    """Protect it from deletion, or not any more."""
    data = UpdateDiskDeletionProtection(deletion_protection=visit.given("deletionProtection") == "yes")
    return done(visit, update_disk_deletion_protection, data=data)


@form(f"{DISK}/delete", on=delete_page)
def delete(visit: Visit) -> Gone:
    """Delete it; one that is protected only when its name was typed."""
    disk = visit.ask(get_disk, **of_disk(visit)).disk
    if disk.deletion_protection:
        check_typed_name(visit, disk.id)
        lift = UpdateDiskDeletionProtection(deletion_protection=False)
        visit.ask(update_disk_deletion_protection, **of_disk(visit), data=lift)
    visit.ask(delete_storage_disk, **of_disk(visit))
    return Gone(visit.url("disks"))


@form(f"{DISK}/snapshots", on=disk_page)
def snapshot(visit: Visit) -> Gone:
    """Take a snapshot of it, and go back to where that was asked."""
    data = CreateDiskSnapshot(snapshot_id=visit.given("snapshotId"))
    visit.ask(create_disk_snapshot, **of_disk(visit), data=data)
    return Gone(visit.came_from(disk_url(visit)))


@form(f"{SNAPSHOT}/revert", on=revert_page)
def revert(visit: Visit) -> Gone:
    """Have it hold again what it held at a snapshot."""
    return done(visit, revert_disk, snapshot_id=visit.names["snapshot"])


@form(f"{SNAPSHOT}/delete", on=delete_snapshot_page)
def forget_snapshot(visit: Visit) -> Gone:
    """Delete a snapshot."""
    return done(visit, delete_disk_snapshot, snapshot_id=visit.names["snapshot"])


def done(visit: Visit, operation: Callable[..., Any], **sent: object) -> Gone:
    """Do it, and go to the disk."""
    visit.ask(operation, **of_disk(visit), **sent)
    return Gone(disk_url(visit))


def disk_url(visit: Visit) -> str:
    """Give the page of the disk that the address names."""
    return visit.url("disks", visit.names["id"])
