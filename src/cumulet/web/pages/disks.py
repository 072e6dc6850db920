"""Disks: those of VMs and those that are free, each with its snapshots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from cumulet.disks.operations import get_disk, list_disks
from cumulet.disks.wire import Disk, DiskState, DiskType
from cumulet.errors import NotFound
from cumulet.vm_record.wire import VmState
from cumulet.vms.offers import list_vm_data_centers
from cumulet.web.listings import ConnectedVm, all_of, all_vms
from cumulet.web.paging import Paged
from cumulet.web.site import page
from cumulet.web.visit import Shown, Visit
from cumulet.web.vm_states import State

DISKS: Final = "/p/{project_id:str}/disks"
DISK: Final = f"{DISKS}/{{id:str}}"
SNAPSHOT: Final = f"{DISK}/snapshots/{{snapshot:str}}"
NEW: Final = "/p/{project_id:str}/new-disk"
AT_REST: Final = (VmState.ACTIVE, VmState.STOPPED)
WORDS: Final[Mapping[DiskState, tuple[str, str]]] = {
    DiskState.READY: ("off", "Free"),
    DiskState.USED: ("good", "Attached"),
    DiskState.INIT: ("wait", "Being made"),
    DiskState.LOCKED: ("wait", "Being changed"),
    DiskState.CLONE: ("wait", "Being copied"),
    DiskState.DELETE: ("wait", "Going"),
    DiskState.DISABLED: ("bad", "Disabled"),
}
OTHER: Final = ("bad", "Failed")
KINDS: Final = {"storage": "Storage", "boot": "Boot", "free": "Free"}
"""What a list can be narrowed to."""


@page(DISKS, live=True)
def disks_page(visit: Visit) -> Shown:
    """List them."""
    every: list[Disk] = all_of(visit, list_disks, "disks")
    words = visit.given("q").lower().split()
    fitting = [one for one in every if all(w in one.id or w in one.vm_id for w in words)]
    kind = visit.given("kind")
    counts = Counter(kind for one in fitting for kind in kinds_of(one))
    chosen = [one for one in fitting if kind not in KINDS or kind in kinds_of(one)]
    return visit.show(
        "disks/list.html",
        pages=Paged(visit, chosen, ("q", "kind")),
        total=len(every),
        fitting=len(fitting),
        choices=[(kind, name, counts[kind], "") for kind, name in KINDS.items()],
        state_of=state_of,
        is_boot=is_boot,
    )


@page(NEW)
def new_page(visit: Visit) -> Shown:
    """Show the form for a new one."""
    data_centers = visit.ask(list_vm_data_centers).data_centers
    return visit.show("disks/create.html", data_centers=data_centers)


@page(DISK, live=True)
def disk_page(visit: Visit) -> Shown:
    """Show one, with its snapshots."""
    return show(visit, "disks/disk.html")


@page(f"{DISK}/delete")
def delete_page(visit: Visit) -> Shown:
    """Say what goes with it, before it is deleted."""
    return show(visit, "disks/delete.html")


@page(f"{SNAPSHOT}/revert")
def revert_page(visit: Visit) -> Shown:
    """Say what is lost when a disk goes back to a snapshot."""
    return show_snapshot(visit, "revert")


@page(f"{SNAPSHOT}/delete")
def delete_snapshot_page(visit: Visit) -> Shown:
    """Say what goes with a snapshot."""
    return show_snapshot(visit, "delete")


def show_snapshot(visit: Visit, verb: str) -> Shown:
    """Show the question about a snapshot that the address names; NotFound."""
    id = visit.names["snapshot"]
    snapshots = visit.ask(get_disk, **of_disk(visit)).snapshots
    found = next((one for one in snapshots if one.id == id), None)
    if found is None:
        raise NotFound.named(
            f"snapshot of disk {visit.names['id']!r} called", id, [one.id for one in snapshots]
        )
    return show(visit, "disks/snapshot.html", verb=verb, snapshot=found)


def show(visit: Visit, template: str, **shown: object) -> Shown:
    """Show a page of a disk, with what all of them have."""
    answer = visit.ask(get_disk, **of_disk(visit))
    disk = answer.disk
    vms = [one for one in all_vms(visit, ConnectedVm) if one.datacenter_id == disk.data_center_id]
    holder = next((one for one in vms if one.id == disk.vm_id), None)
    return visit.show(
        template,
        disk=disk,
        snapshots=answer.snapshots,
        state=state_of(disk),
        is_boot=is_boot(disk),
        why_not=why_not(disk, holder),
        vms=[one for one in vms if one.state in AT_REST],
        **shown,
    )


def of_disk(visit: Visit) -> dict[str, Any]:
    """Name it, as operations want that."""
    return {"project_id": visit.project_id, "id": visit.names["id"]}


def is_boot(disk: Disk) -> bool:
    """Whether a VM has booted from it and takes it along when it goes."""
    return disk.disk_type is DiskType.BOOT


def kinds_of(disk: Disk) -> Sequence[str]:
    """Name the kinds that lists can be narrowed to of which a disk is."""
    kind = "boot" if is_boot(disk) else "storage"
    return (kind,) if disk.vm_id else (kind, "free")


def state_of(disk: Disk) -> State:
    """Say how a disk is."""
    tone, word = WORDS.get(disk.disk_state, OTHER)
    return State(tone, word, disk.waiting_for or disk.problem)


def why_not(disk: Disk, holder: ConnectedVm | None) -> Mapping[str, str]:
    """Say of each verb why the disk does not accept it now; empty for one that it does."""
    word = WORDS.get(disk.disk_state, OTHER)[1].lower()
    moving = "" if disk.disk_state in {DiskState.READY, DiskState.USED} else f"it is {word}"
    awake = "its VM must be running or off" if holder and holder.state not in AT_REST else ""
    running = "its VM must be off" if holder and holder.state is not VmState.STOPPED else ""
    attached = f"{disk.vm_id} has it: detach it first" if disk.vm_id else ""
    return {
        "detach": moving or awake,
        "resize": moving or awake if disk.vm_id else "attach it to a VM first",
        "snapshot": moving or running,
        "delete": "it goes with its VM" if is_boot(disk) else attached,
    }
