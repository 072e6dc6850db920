"""The VM's machine: described whole, defined while it is off, its storage disks plugged and unplugged while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from cumulet.disks import Disk, DiskState, DiskType, ensure_contents, set_free
from cumulet.events import EventName
from cumulet.fabric import PortSpec
from cumulet.hosts import Away
from cumulet.hypervisor import Domain, DomainSpec, GpuSpec, ImageName, NicSpec, Power, Topology, spec_digest
from cumulet.hypervisor import Hypervisor as Host
from cumulet.networks import MTU
from cumulet.reconcile import NotYet, Run
from cumulet.resource import Wanted, log_event
from cumulet.vm_record.model import Vm

CLINGING: Final = 1.0
"""Seconds until a guest is asked again to let go of a disk; the host tells when it has done so."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What belongs to a VM, by one look: what its owner changes of it afterwards is for the run that this wakes."""

    ports: Sequence[PortSpec]
    disks: Sequence[Disk]
    """Those that it has or is to leave, the boot disk first."""
    gpus: Sequence[GpuSpec]
    waits_for: str
    """What its NICs cannot be put into yet, in words for its owner; empty for nothing."""
    away: Away | None
    """Why its host cannot be asked."""
    target_lost: bool = False
    """The host that it is being moved to is lost."""


def ensure_domain(run: Run, vm: Vm, parts: Parts, domain: Domain | None, host: Host) -> Domain | None:
    """Have the machine defined as planned, and give it as it is then.

    One that runs is left as it is until it is off, if it is defined at all.
    """
    spec = domain_spec(vm, parts)
    if domain is None or is_outdated(domain, spec):
        host.machines.define(spec)
        domain = host.machines.get(vm.id)
    if domain is None or domain.power is Power.OFF:
        settle_disks(run, vm, parts.disks, held=frozenset())
    return domain


def is_outdated(domain: Domain, spec: DomainSpec) -> bool:
    """Whether a machine is to be defined anew: while it is off when it differs, else only when it is none of ours yet."""
    if domain.power is not Power.OFF:
        return not domain.spec_digest
    return domain.spec_digest != spec_digest(spec)


def ensure_plugged(run: Run, vm: Vm, parts: Parts, host: Host) -> None:
    """Have a running machine's storage disks as wanted; NotYet while its guest holds on to one that is to go."""
    disks = parts.disks
    if not any(changes(vm, disk) or disk.state is DiskState.LOCKED for disk in disks):
        return
    for disk in disks:
        ensure_contents(run, disk, host)
    spec = domain_spec(vm, parts)
    held = host.machines.hotplug(vm.id, spec.disks)
    host.machines.define(spec)  # for its next start; and what has left it can be deleted
    settle_disks(run, vm, disks, held=held)
    if held:
        names = ", ".join(disk.name for disk in disks if disk.id in held)
        raise NotYet(f"the guest has not released disk {names}: unmount it there", CLINGING)


def changes(vm: Vm, disk: Disk) -> bool:
    """Whether a storage disk is to be plugged or unplugged; one that is still to be brought is left out of it."""
    if disk.type is not DiskType.STORAGE or disk.vm_id is None or disk.host_id != vm.host_id:
        return False
    return disk.wanted is Wanted.DETACHED or disk.state is DiskState.READY


def settle_disks(run: Run, vm: Vm, disks: Sequence[Disk], *, held: AbstractSet[UUID]) -> None:
    """Note which disks have come and gone; what its owner asked of one meanwhile stays to be done.

    The copies at hand follow: one that has gone is no VM's.
    """
    settled = [disk for disk in disks if changes(vm, disk) and disk.id not in held]
    if not settled:
        return
    with run.writing() as db:
        for disk in settled:
            row = db.get_one(Disk, disk.id)
            if row.wanted is not disk.wanted:
                continue
            if row.wanted is Wanted.DETACHED:
                set_free(db, row, now=run.now)
                disk.vm_id = None
                log_event(db, vm, EventName.VM_DISK_DETACHED, f"disk {disk.name} detached", now=run.now)
            else:
                row.state = disk.state = DiskState.USED
                log_event(db, vm, EventName.VM_DISK_ATTACHED, f"disk {disk.name} attached", now=run.now)


def domain_spec(vm: Vm, parts: Parts) -> DomainSpec:
    """Describe the VM's machine."""
    return DomainSpec(
        id=vm.id,
        name=vm.name,
        project=vm.project_id,
        vcpus=vm.vcpus,
        memory_mib=vm.memory_gib * 1024,
        topology=Topology(vm.sockets, vm.cores, vm.threads) if vm.sockets else None,
        boot_disk=vm.boot_disk_id,
        boot_image=ImageName(vm.image_sha256, vm.image_format),
        disks=tuple(
            disk.id
            for disk in parts.disks
            if disk.type is DiskType.STORAGE
            and disk.is_made
            and disk.host_id == vm.host_id
            and disk.wanted is not Wanted.DETACHED
        ),
        nics=tuple(NicSpec(port_id=port.id, mac=port.mac, mtu=MTU) for port in parts.ports),
        firmware=vm.image_firmware,
        gpus=tuple(parts.gpus),
        term=vm.term,
    )
