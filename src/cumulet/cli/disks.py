"""`cumulet disk`: storage disks, which outlive the VMs that have them, and what disks held once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

from cyclopts import App

from cumulet.cli.client import Client, Json, connect
from cumulet.cli.create import StorageClass, class_of, only_data_center
from cumulet.cli.output import AS_TABLE, OPTIONS, Columns, Format, Listing, local_time, show, show_one
from cumulet.cli.settling import Resource, Wait, follow, state
from cumulet.cli.several import each
from cumulet.cli.vms import AT_ONCE, WaitOptions
from cumulet.cli.words import DiskName, DiskNames, Gib, NewId, Project, VmName, identifier
from cumulet.errors import Invalid

DISKS: Final = "/v1/projects/{}/disks"
DISK: Final = "/v1/projects/{}/disks/{}"
SNAPSHOTS: Final = "/v1/projects/{}/disks/{}/snapshots"
Snapshot = Annotated[str, identifier("The snapshot's id.")]


def storage_class_of(disk: Json) -> str:
    """Tell a disk's storage class as it is asked for."""
    return str(disk["storageClass"]).removeprefix("STORAGE_CLASS_").lower()


COLUMNS: Final[Columns] = {
    "NAME": lambda disk: disk["id"],
    "STATE": state,
    "SIZE": lambda disk: f"{disk['sizeGib']} GiB",
    "TYPE": lambda disk: str(disk["diskType"]).removeprefix("DISK_TYPE_").lower(),
    "CLASS": storage_class_of,
    "VM": lambda disk: disk["vmId"],
    "NOW": lambda disk: disk["problem"] or disk["waitingFor"],
}
MORE: Final[Columns] = {
    "DATA CENTER": lambda disk: disk["dataCenterId"],
    "CREATED": lambda disk: local_time(disk["createTime"]),
}
FACTS: Final[Columns] = {
    "name": lambda disk: disk["id"],
    "state": state,
    "waits for": lambda disk: disk["waitingFor"],
    "problem": lambda disk: disk["problem"],
    "size": lambda disk: f"{disk['sizeGib']} GiB",
    "storage class": storage_class_of,
    "VM": lambda disk: disk["vmId"],
    "in its guest": lambda disk: f"/dev/disk/by-id/virtio-{disk['serial']}",
    "image": lambda disk: disk["publicImageId"] or disk["privateImageId"],
    "lies in": lambda disk: disk["dataCenterId"],
    "created": lambda disk: local_time(disk["createTime"]),
    "protected": lambda disk: "from deletion" if disk["deletionProtection"] else "",
}
SNAPSHOT_COLUMNS: Final[Columns] = {
    "NAME": lambda snapshot: snapshot["id"],
    "SIZE": lambda snapshot: f"{snapshot['sizeGib']} GiB",
    "ACTIVE": lambda snapshot: "yes" if snapshot["active"] else "",
    "TAKEN": lambda snapshot: local_time(snapshot["createTime"]),
}

app = App(name="disk", default_parameter=OPTIONS)
snapshots = App(
    name="snapshot", help="Take snapshots of disks, and revert to them.", default_parameter=OPTIONS
)
app.command(snapshots)


@app.command
def create(
    name: NewId,
    /,
    size: Gib,
    *,
    data_center: str = "",
    storage_class: StorageClass | None = None,
    protect: bool = False,
    waiting: WaitOptions = AT_ONCE,
    output: Format = "table",
    project: Project = "default",
) -> None:
    """Create an empty storage disk; with --wait return when it can be attached.

    :param size: Its size: 20 or 20GiB, or 2TiB.
    :param data_center: Where it lies; needed only where there are several.
    :param storage_class: Which kind of disk. Without: the data center's first.
    :param protect: Protect it from deletion.
    """
    client, until = connect(), waiting.deadline()
    body = {
        "id": name,
        "sizeGib": size,
        "dataCenterId": data_center or only_data_center(client),
        "storageClass": class_of(storage_class),
        "deletionProtection": protect,
    }
    client.post(DISKS, project, body=body)
    disk = one(client, project, name).look()
    if waiting.wait:
        disk = follow(
            one(client, project, name), Wait(lambda disk: state(disk) == "READY", "is ready", until)
        )
    show_one(disk, output, FACTS)


@app.command(name="list", alias="ls")
def list_(*, listing: Listing = AS_TABLE, project: Project = "default") -> None:
    """List the project's disks, boot disks too."""
    show(connect().list(DISKS, project, member="disks"), listing, COLUMNS, more=MORE)


@app.command
def get(name: DiskName, /, *, output: Format = "table", project: Project = "default") -> None:
    """Show a disk."""
    show_one(connect().get(DISK, project, name)["disk"], output, FACTS)


@app.command
def attach(
    name: DiskName, vm: VmName, /, *, waiting: WaitOptions = AT_ONCE, project: Project = "default"
) -> None:
    """Attach a storage disk to a VM that is running or stopped; with --wait return when it is attached."""
    client, until = connect(), waiting.deadline()
    client.patch("/v1/projects/{}/disk/{}/attach", project, name, vmId=vm)
    if waiting.wait:
        follow(
            one(client, project, name),
            Wait(lambda disk: state(disk) == "USED", f"is in {vm}", until),
        )


@app.command
def detach(name: DiskName, /, *, waiting: WaitOptions = AT_ONCE, project: Project = "default") -> None:
    """Detach a storage disk from its VM: unmount it there first; with --wait return when the guest has released it."""
    client, until = connect(), waiting.deadline()
    client.put("/v1/projects/{}/disk/{}/detach", project, name)
    if waiting.wait:
        follow(one(client, project, name), Wait(lambda disk: disk.get("vmId") == "", "is free", until))


@app.command
def resize(
    name: DiskName, size: Gib, /, *, waiting: WaitOptions = AT_ONCE, project: Project = "default"
) -> None:
    """Enlarge a VM's disk, running or stopped; with --wait return when it is done.

    :param size: Its new size: 20 or 20GiB, or 2TiB.
    """
    client, until = connect(), waiting.deadline()
    vm = client.get(DISK, project, name)["disk"]["vmId"]
    if not vm:
        raise Invalid(f"disk {name!r} is not attached to a VM: attach it, then resize it")
    client.patch("/v1/projects/{}/vms/{}/disks", project, vm, diskId=name, sizeGib=size)
    if waiting.wait:
        follow(one(client, project, name), Wait(is_at_rest, f"has {size} GiB", until))


@app.command
def protect(name: DiskName, /, *more: DiskNames, project: Project = "default") -> None:
    """Protect storage disks from deletion."""
    set_protection((name, *more), project, protected=True)


@app.command
def unprotect(name: DiskName, /, *more: DiskNames, project: Project = "default") -> None:
    """Let storage disks be deleted again."""
    set_protection((name, *more), project, protected=False)


def set_protection(names: Iterable[str], project: str, *, protected: bool) -> None:
    """Say of disks whether they are protected from deletion."""
    client, body = connect(), {"deletionProtection": protected}
    each(names, lambda disk: client.post(f"{DISK}/deletion-protection", project, disk, body=body))


@app.command(alias="rm")
def delete(
    name: DiskName, /, *more: DiskNames, waiting: WaitOptions = AT_ONCE, project: Project = "default"
) -> None:
    """Delete storage disks that are attached to no VM, with their snapshots; with --wait return when they are deleted."""
    client, until = connect(), waiting.deadline()
    gone = Wait(lambda disk: not disk, "is deleted", until)
    wait = [lambda disk: follow(one(client, project, disk), gone)] if waiting.wait else []
    each((name, *more), lambda disk: client.delete(DISK, project, disk), *wait)


@snapshots.command(name="create")
def create_snapshot(
    disk: DiskName, snapshot: Snapshot, /, *, waiting: WaitOptions = AT_ONCE, project: Project = "default"
) -> None:
    """Take a snapshot of a disk; its VM must be stopped."""
    client, until = connect(), waiting.deadline()
    client.post(SNAPSHOTS, project, disk, body={"snapshotId": snapshot})
    if waiting.wait:
        follow(one(client, project, disk), Wait(is_at_rest, f"has its snapshot {snapshot}", until))


@snapshots.command(name="list", alias="ls")
def list_snapshots(disk: DiskName, /, *, listing: Listing = AS_TABLE, project: Project = "default") -> None:
    """List a disk's snapshots, oldest first."""
    show(connect().list(SNAPSHOTS, project, disk, member="snapshots"), listing, SNAPSHOT_COLUMNS)


@snapshots.command(name="delete", alias="rm")
def delete_snapshot(
    disk: DiskName, snapshot: Snapshot, /, *, waiting: WaitOptions = AT_ONCE, project: Project = "default"
) -> None:
    """Delete a snapshot; the disk's contents stay. Its VM must be stopped."""
    client, until = connect(), waiting.deadline()
    client.delete(SNAPSHOTS, project, disk, snapshotId=snapshot)
    if waiting.wait:
        follow(one(client, project, disk), Wait(is_at_rest, f"has no snapshot {snapshot}", until))


@snapshots.command
def revert(
    disk: DiskName, snapshot: Snapshot, /, *, waiting: WaitOptions = AT_ONCE, project: Project = "default"
) -> None:
    """Revert a disk to a snapshot; its present contents are lost. Its VM must be stopped."""
    client, until = connect(), waiting.deadline()
    client.post(f"{DISK}/revert", project, disk, snapshotId=snapshot)
    if waiting.wait:
        follow(one(client, project, disk), Wait(is_at_rest, f"was reverted to {snapshot}", until))


def one(client: Client, project: str, name: str) -> Resource:
    """Name a disk."""
    return Resource(client, "disk", DISK, project, name)


def is_at_rest(disk: Json) -> bool:
    """Whether nothing of a disk is being changed."""
    return state(disk) in {"READY", "USED"}
