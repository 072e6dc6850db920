"""The verbs of disks by themselves; those that a VM takes part in are the VMs'."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue
from cumulet.disks.accepts import accept_delete, accept_protection
from cumulet.disks.allocate import add_disk, lock_home, log_disk_end, reserve_disk, snapshot_views
from cumulet.disks.model import Disk
from cumulet.disks.plan import DiskPlan, plan_disk
from cumulet.disks.views import disk_views
from cumulet.disks.wire import (
    CreateStorageDisk,
    DiskState,
    DiskType,
    GetDiskResponse,
    ListDisksResponse,
    UpdateDiskDeletionProtection,
)
from cumulet.errors import Invalid
from cumulet.events import EventName
from cumulet.operation import Access, Caller, States, operation
from cumulet.projects import WHOLE, fetch_page, read_page
from cumulet.quotas import lock_allowance
from cumulet.resource import Wanted, find, lock, lock_to_change, log_request
from cumulet.wire import Empty


@operation("GET /v1/projects/{projectId}/disks", access=Access.VIEWER)
def list_disks(
    db: Session,
    *,
    project_id: str,
    page_number: int = 0,
    page_size: int = 0,
    page_token: str = "",
    data_center_id: str = "",
) -> ListDisksResponse:
    """List the project's disks by id, boot disks too; with `dataCenterId` only those there."""
    page = read_page(page_number, page_size, page_token)
    wanted = select(Disk).where(Disk.project_id == project_id)
    if data_center_id:
        wanted = wanted.where(Disk.data_center_id == data_center_id)
    disks, total, token = fetch_page(db, wanted, page, Disk.name)
    return ListDisksResponse(
        disks=disk_views(db, disks),
        total_count=total,
        page_number=page.number,
        page_size=page.size,
        page_token=token,
    )


STATES: Final = States(
    "disk",
    field="diskState",
    prefix="DISK_STATE_",
    rests=("DISK_STATE_READY", "DISK_STATE_USED"),
    vain=frozenset({"DISK_STATE_ERROR", "DISK_STATE_DELETE"}),
)


@operation("GET /v1/projects/{projectId}/disks/{id}", access=Access.VIEWER, states=STATES)
def get_disk(db: Session, *, project_id: str, id: str) -> GetDiskResponse:
    """Show a disk with its snapshots."""
    disk = find(db, Disk, project_id, id)
    (answer,) = disk_views(db, [disk])
    snapshots, _ = snapshot_views(db, disk, WHOLE)
    return GetDiskResponse(disk=answer, snapshots=snapshots)


@operation("POST /v1/projects/{projectId}/disks", access=Access.EDITOR)
def create_storage_disk(
    db: Session,
    caller: Caller,
    *,
    catalogue: Catalogue,
    now: datetime,
    project_id: str,
    data: CreateStorageDisk,
) -> Empty:
    """Create an empty storage disk, READY for any virtual machine; it outlives those that it is attached to.

    Its capacity is reserved at once; it lies on the host of the virtual machine that it was attached to last.
    """
    with Invalid.reference("dataCenterId"):
        data_center = catalogue.find_data_center(data.data_center_id)
    plan = plan_disk(data, data_center)
    disk = disk_row(plan, project_id, data_center.id, now=now)
    disk.host_id = lock_home(db, disk)
    lock_allowance(db, project_id, catalogue.quotas).take(db, {"disk_gib": disk.size_gib})
    add_disk(db, disk, field="disk.id" if data.disk else "id", actor=caller.email)
    reserve_disk(db, disk)
    return Empty()


@operation("DELETE /v1/projects/{projectId}/disks/{id}", access=Access.EDITOR)
def delete_storage_disk(db: Session, caller: Caller, *, now: datetime, project_id: str, id: str) -> Empty:
    """Delete a storage disk that is attached to no VM, with its snapshots."""
    seen = find(db, Disk, project_id, id)
    accept_delete(seen)
    disk = lock_to_change(db, seen, now=now)
    accept_delete(disk)
    if disk.wanted is not Wanted.DELETED:
        disk.wanted = Wanted.DELETED
        log_disk_end(db, disk, now=now, actor=caller.email)
    return Empty()


@operation("POST /v1/projects/{projectId}/disks/{id}/deletion-protection", access=Access.EDITOR)
def update_disk_deletion_protection(
    db: Session,
    caller: Caller,
    *,
    now: datetime,
    project_id: str,
    id: str,
    data: UpdateDiskDeletionProtection,
) -> Empty:
    """Protect a storage disk from deletion, or lift that; it can be attached and detached all the same."""
    disk = lock(db, find(db, Disk, project_id, id))
    accept_protection(disk)
    if data.deletion_protection is not disk.deletion_protection:
        disk.deletion_protection = data.deletion_protection
        name = EventName.DISK_PROTECTED if disk.deletion_protection else EventName.DISK_UNPROTECTED
        text = "protected from deletion" if disk.deletion_protection else "no longer protected from deletion"
        log_request(db, caller, disk, name, text, now=now)
    return Empty()


def disk_row(plan: DiskPlan, project_id: str, data_center_id: str, *, now: datetime) -> Disk:
    """Put the plan into a row; its host is chosen after."""
    return Disk(
        id=uuid4(),
        project_id=project_id,
        name=plan.name,
        type=DiskType.STORAGE,
        data_center_id=data_center_id,
        size_gib=plan.size_gib,
        storage_class=plan.storage_class,
        pool=plan.pool.id,
        gib_price=plan.pool.disk_gib_price_hr,
        create_time=now,
        deletion_protection=plan.deletion_protection,
        wanted=Wanted.KEPT,
        state=DiskState.INIT,
    )
