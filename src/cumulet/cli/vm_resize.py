"""`cumulet vm resize`: another number of vCPUs or GPUs, more or less memory, a larger boot disk."""

from __future__ import annotations

from collections.abc import Mapping

from cumulet.cli.asking import ask
from cumulet.cli.client import Client, Declined, Json, connect
from cumulet.cli.disks import DISK, is_at_rest
from cumulet.cli.follow import VM
from cumulet.cli.output import Format, show_one
from cumulet.cli.settling import Resource, Wait, follow
from cumulet.cli.vm_views import FACTS
from cumulet.cli.vms import AT_ONCE, WaitOptions
from cumulet.cli.words import Count, Gib, Project, VmName
from cumulet.errors import Invalid


def resize(
    name: VmName,
    /,
    *,
    vcpus: Count = 0,
    memory: Gib = 0,
    gpus: Count = 0,
    disk: Gib = 0,
    restart: bool = False,
    waiting: WaitOptions = AT_ONCE,
    output: Format = "table",
    project: Project = "default",
) -> None:
    """Resize a virtual machine: vCPUs, memory and GPUs while it is stopped, its boot disk also while it runs.

    :param vcpus: How many vCPUs. Without: as many as before.
    :param memory: How much memory: 4 or 4GiB. Without: as much as before.
    :param gpus: How many GPUs, of the model that it has. Without: as many as before.
    :param disk: How large its boot disk is to grow: 40 or 40GiB, or 2TiB.
    :param restart: Stop it for that if it runs, and start it again; where there is no room it is not stopped.
    """
    if not (vcpus or memory or gpus or disk):
        raise Invalid("--vcpus, --memory, --gpus or --disk: one of them is required")
    client, until = connect(), waiting.deadline()
    vm = client.get(VM, project, name)["VM"]
    if 0 < disk < vm["bootDiskSizeGib"]:
        raise Invalid.field(
            "--disk", f"{disk} GiB", f"at least {vm['bootDiskSizeGib']} GiB: disks never shrink"
        )
    sizes = {"vcpus": vcpus, "memoryGib": memory, "gpus": gpus}
    runs = restart and vm["state"] == "ACTIVE"
    if runs:
        take_size(client, vm, sizes, disk=disk, validate_only=True)
        ask(client, "stop", (name,), project=project, until=until)
    try:
        take_size(client, vm, sizes, disk=disk)
    finally:
        if runs:
            ask(client, "start", (name,), project=project, until=waiting.deadline_if_waiting())
    if disk and waiting.wait:
        grown = Wait(is_at_rest, f"has {disk} GiB", until)
        follow(Resource(client, "disk", DISK, project, vm["bootDisk"]["id"]), grown)
    show_one(client.get(VM, project, name)["VM"], output, FACTS)


def take_size(
    client: Client, vm: Json, sizes: Mapping[str, int], *, disk: int, validate_only: bool = False
) -> None:
    """Ask for a size; a disk that has grown does not shrink again, so what can be refused comes before it."""
    path = vm["projectId"], vm["id"]
    if any(sizes.values()):
        try:
            client.post(f"{VM}/resize", *path, body={**sizes, "validateOnly": validate_only})
        except Declined as declined:
            if "VM_NOT_STOPPED" not in str(declined.details):
                raise
            message = f"{declined.message}; with --restart it is stopped and started again"
            raise Declined(message, code=declined.code, details=declined.details) from None
    if disk:
        grown = {"diskId": vm["bootDisk"]["id"], "sizeGib": disk, "validateOnly": validate_only}
        client.patch(f"{VM}/disks", *path, body=grown)
