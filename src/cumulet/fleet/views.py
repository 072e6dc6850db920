"""From hosts' rows, and all that lies on them, to JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Exists, Select, and_, case, exists, func, or_, select
from sqlalchemy.orm import Session

from cumulet.disks import Disk, DiskState, DiskType
from cumulet.errors import few_of
from cumulet.fleet.wire import HostAnswer, HostFinding, HostImage, HostPool, HostVm
from cumulet.gpus import Gpu
from cumulet.hosts import Host, Taken, reserved_by_host
from cumulet.images import ImageStore
from cumulet.images.copies import NotedCopy
from cumulet.line.ssh import SSH_PORT, fingerprint, read_destination
from cumulet.private_images import PrivateImage
from cumulet.resource import Wanted
from cumulet.vm_record import Vm

MIB: Final = 1024
"""In a GiB."""


GIB: Final = 1 << 30
"""In bytes."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is on all hosts, by host."""

    reserved: Mapping[UUID, Taken]
    gpus: Mapping[UUID, tuple[int, int]]
    """How many there are, and how many of them VMs hold."""
    vms: Mapping[UUID, tuple[int, int]]
    """How many there are, and how many of them are to run."""


def read_load(db: Session) -> Load:
    """Count what is on each host."""
    gpus = select(Gpu.host_id, func.count(), func.count(Gpu.vm_id)).group_by(Gpu.host_id)
    to_run = func.sum(case((Vm.wanted == Wanted.ACTIVE, 1), else_=0))
    vms = select(Vm.host_id, func.count(), to_run).where(Vm.waits_until.is_(None)).group_by(Vm.host_id)
    return Load(
        reserved=reserved_by_host(db),
        gpus={host_id: (total, held) for host_id, total, held in db.execute(gpus)},
        vms={host_id: (total, int(running)) for host_id, total, running in db.execute(vms)},
    )


def host_view(host: Host, load: Load) -> HostAnswer:
    """Show a host with what of it is reserved."""
    reserved = load.reserved.get(host.id) or Taken()
    gpus, held = load.gpus.get(host.id, (0, 0))
    vms, running = load.vms.get(host.id, (0, 0))
    return HostAnswer(
        id=host.name,
        data_center_id=host.data_center_id,
        state=host.state,
        state_time=host.since,
        why=host.why,
        wanted=host.wanted,
        labels=host.labels,
        seen_time=host.seen_at,
        cpu_model=host.cpu_model,
        cpu_group=host.cpu_group,
        accelerator=host.accelerator,
        version=host.version,
        boot_id=host.boot_id,
        cpus=host.cpus,
        reserved_cpus=round(reserved.cores, 2),
        memory_gib=round(host.memory_mib / MIB, 1),
        reserved_memory_gib=round(reserved.memory_mib / MIB, 1),
        disk_pools=[
            HostPool(id=pool, disk_gib=gib, reserved_disk_gib=reserved.disk_gib.get(pool, 0))
            for pool, gib in sorted(host.disk_gib.items())
        ],
        gpus=gpus,
        held_gpus=held,
        vms=vms,
        running_vms=running,
        examined_time=host.examined_at,
        findings=msgspec.convert(host.findings, list[HostFinding]),
        strays=host.strays,
        central=host.is_central,
        to_be_central=host.central,
        proved_until=host.proved_until,
    )


def way_to(host: Host) -> tuple[str, str]:
    """Say where a host's SSH answers, and the fingerprint of its key; nothing of the machine that the server is on."""
    if host.is_here:
        return "", ""
    there = read_destination(host.uri)
    port = "" if there.port == SSH_PORT else f":{there.port}"
    return f"{there.user}@{there.host}{port}", fingerprint(there.host_key) if there.host_key else ""


def vms_on(db: Session, host: Host) -> list[HostVm]:
    """Name the virtual machines that are on a host."""
    there = select(Vm.project_id, Vm.name, Vm.state).where(Vm.host_id == host.id)
    rows = db.execute(there.order_by(Vm.project_id, Vm.name))
    return [HostVm(project_id=project_id, id=name, state=state) for project_id, name, state in rows]


def copies_of_images(db: Session, store: ImageStore, *which: ColumnElement[bool]) -> list[HostImage]:
    """Show the copies of images on hosts, the last used first."""
    private = select(PrivateImage.sha256, PrivateImage.project_id, PrivateImage.name)
    names = {sha256: f"{project}:{name}" for sha256, project, name in db.execute(private)}
    names |= {image.sha256: image.id for image in store.list()}
    copies = select(NotedCopy, Host.name).join(Host, Host.id == NotedCopy.host_id).where(*which)
    return [
        HostImage(
            host_id=host,
            sha256=copy.sha256,
            id=names.get(copy.sha256, ""),
            size_gib=round(copy.size / GIB, 1),
            last_used_time=copy.last_used,
        )
        for copy, host in db.execute(copies.order_by(NotedCopy.last_used.desc(), Host.name))
    ]


def what_remains(db: Session, host: Host) -> Sequence[str]:
    """Say in words what is on a host, the first of each by name; nothing when it can be removed.

    VMs that wait for room are on none, and disks that hold nothing yet lie on none, as long as there is another host where they could.
    """
    vms, holders = (
        select(Vm.project_id, Vm.name),
        select(Vm.project_id, Vm.name).join(Gpu, Gpu.vm_id == Vm.id),
    )
    waiting = (Vm.host_id == host.id, Vm.waits_until.is_not(None), ~_elsewhere(host))
    images = select(PrivateImage.project_id, PrivateImage.name).where(PrivateImage.host_id == host.id)
    named: tuple[tuple[str, Select[str, str]], ...] = (
        ("VM", vms.where(Vm.host_id == host.id, Vm.waits_until.is_(None)).order_by(Vm.project_id, Vm.name)),
        ("VM that waits for room", vms.where(*waiting).order_by(Vm.project_id, Vm.name)),
        ("arriving VM", vms.where(Vm.moving_to == host.id).order_by(Vm.project_id, Vm.name)),
        ("disk", storage_that_stays(host)),
        ("private image", images.order_by(PrivateImage.project_id, PrivateImage.name)),
        ("GPU that a VM holds", holders.where(Gpu.host_id == host.id).order_by(Vm.project_id, Vm.name)),
    )
    found = [(what, [f"{project}:{name}" for project, name in db.execute(those)]) for what, those in named]
    return [f"{_several(what, len(names))} ({few_of(names)})" for what, names in found if names]


def storage_that_stays(host: Host) -> Select[str, str]:
    """Choose the storage disks that lie on a host and do not go with a VM there: those of none, and of VMs elsewhere."""
    with_room_here = select(Vm.id).where(Vm.host_id == host.id, Vm.waits_until.is_(None))
    of_none = and_(Disk.vm_id.is_(None), or_(Disk.state != DiskState.INIT, ~_elsewhere(host)))
    of_others = and_(Disk.vm_id.is_not(None), Disk.vm_id.not_in(with_room_here))
    disks = select(Disk.project_id, Disk.name).where(Disk.host_id == host.id, Disk.type == DiskType.STORAGE)
    return disks.where(or_(of_none, of_others)).order_by(Disk.project_id, Disk.name)


def _elsewhere(host: Host) -> Exists:
    """Whether its data center has another host."""
    return exists().where(Host.data_center_id == host.data_center_id, Host.id != host.id)


def _several(what: str, count: int) -> str:
    first, _, rest = what.partition(" that ")
    plural = f"{first}s{' that ' + rest if rest else ''}"
    return f"1 {what}" if count == 1 else f"{count} {plural}"
