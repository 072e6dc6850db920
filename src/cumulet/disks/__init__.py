"""Disks: what outlives the VMs that use them, and what those boot from."""

from cumulet.disks import operations, snapshot_operations, vm_operations
from cumulet.disks.accepts import accept_attach, accept_change, accept_detach
from cumulet.disks.allocate import (
    add_disk,
    attach,
    copies_of_disks,
    disks_of,
    find_boot_disk,
    find_free_disks,
    go_to,
    home_elsewhere,
    home_of,
    let_go,
    note_arrival,
    refuse_moved,
    release_disks,
    reserve_disk,
    rooms_of,
    set_free,
    snapshot_views,
    take_more_capacity,
    without,
)
from cumulet.disks.model import Disk, Snapshot
from cumulet.disks.plan import MOST_DISK_GIB, check_disk_gib, check_disk_id, plan_pool
from cumulet.disks.reconcile import ensure_contents, ensure_made, reconcile_disk
from cumulet.disks.views import DiskRow, disk_view
from cumulet.disks.wire import DiskState, DiskType

__all__ = [
    "MOST_DISK_GIB",
    "Disk",
    "DiskRow",
    "DiskState",
    "DiskType",
    "Snapshot",
    "accept_attach",
    "accept_change",
    "accept_detach",
    "add_disk",
    "attach",
    "check_disk_gib",
    "check_disk_id",
    "copies_of_disks",
    "disk_view",
    "disks_of",
    "ensure_contents",
    "ensure_made",
    "find_boot_disk",
    "find_free_disks",
    "go_to",
    "home_elsewhere",
    "home_of",
    "let_go",
    "note_arrival",
    "operations",
    "plan_pool",
    "reconcile_disk",
    "refuse_moved",
    "release_disks",
    "reserve_disk",
    "rooms_of",
    "set_free",
    "snapshot_operations",
    "snapshot_views",
    "take_more_capacity",
    "vm_operations",
    "without",
]
