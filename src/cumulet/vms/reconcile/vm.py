"""A VM's whole life as one reconciler: a create, a repair, a crashed host, a missed event all take this path.

Every step looks first and does only what is missing, so the reconciler may die at any line and be run again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final, NoReturn
from uuid import UUID

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from cumulet.db import fetch_copies, rows_of, update_row
from cumulet.disks import (
    Disk,
    DiskState,
    DiskType,
    copies_of_disks,
    ensure_contents,
    ensure_made,
    let_go,
    release_disks,
)
from cumulet.events import EventName
from cumulet.fabric import PortSpec
from cumulet.gpus import give_back, gpu_specs
from cumulet.hosts import away, release
from cumulet.hypervisor import DiskSpec, Domain, HypervisorError, Power, Seed
from cumulet.hypervisor import Hypervisor as Host
from cumulet.networks import (
    ensure_ports,
    networks_made,
    port_specs_of,
    release_nics,
    remove_ports,
)
from cumulet.reconcile import NotYet, Run
from cumulet.resource import Event, Wanted, change, changing, log_event, note
from cumulet.security_groups import all_in_force
from cumulet.vm_record.model import Move, Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms.create.plan import hostname_of
from cumulet.vms.reconcile.arrivals import ensure_arrived
from cumulet.vms.reconcile.backends import Backends
from cumulet.vms.reconcile.commitment import end_commitment
from cumulet.vms.reconcile.credentials import ensure_credentials
from cumulet.vms.reconcile.domain import Parts, ensure_domain, ensure_plugged
from cumulet.vms.reconcile.elsewhere import bring_elsewhere
from cumulet.vms.reconcile.image_copy import ensure_image
from cumulet.vms.reconcile.live_move import ensure_moved_live, stay_alone
from cumulet.vms.reconcile.move import Way, ensure_moved
from cumulet.vms.reconcile.observe import observe
from cumulet.vms.reconcile.power import ensure_power, wait_for_image
from cumulet.vms.retained_logs import keep_log

BY_ID: Final = select(rows_of(Vm)).where(Vm.id == bindparam("id"))
UNWOKEN: Final = 5.0
"""Seconds until a VM looks itself for what it waits for: the net under those who wake it."""
AWAY_LOOK: Final = 60.0
"""The same for one whose host does not answer: the first look at the host that is answered wakes it."""
FAILED_AFTER: Final = 5
"""Failures in a row after which a VM that never ran is shown as FAILED; it is tried on all the same."""


def reconcile_vm(run: Run, backends: Backends) -> datetime | None:
    """Bring one VM to where its project wants it, from wherever it is now."""
    loaded = load(run)
    if loaded is None:
        return None
    vm, parts = loaded
    end_commitment(run, vm, backends.fabrics.catalogue)
    ends = vm.wanted is Wanted.DELETED or expired(run, vm)
    has_room = vm.waits_until is None
    if has_room and parts.away and not (ends and parts.away.lost):
        if parts.away.lost:
            bring_elsewhere(run, vm, parts.disks, parts.away, backends.fabrics.catalogue)
        raise NotYet(parts.away.why, AWAY_LOOK)
    if ends:
        is_there = has_room and not parts.away
        tear_down(run, vm, backends.host(vm.host_id) if is_there else None, backends)
        return None
    if not has_room:
        return wait_for_room(run, vm)
    host = backends.host(vm.host_id)
    if vm.moving_to is not None:
        go_on_moving(run, vm, parts, host, backends, to=vm.moving_to)
    show_progress(run, vm)
    if parts.waits_for:
        raise NotYet(parts.waits_for, UNWOKEN)
    ensure_ports(parts.ports, backends.fabrics)
    domain = host.machines.get(vm.id)
    here = [disk for disk in parts.disks if disk.host_id == vm.host_id]
    arrive = partial(ensure_arrived, run, vm, parts.disks, backends)
    ensure_disks(run, vm, here, domain, host, backends)
    domain = ensure_domain(run, vm, parts, domain, host)
    if vm.wanted is Wanted.ACTIVE and not vm.started:
        arrive()  # before it starts: it finds them then
    domain = ensure_power(run, vm, domain, host, seed(vm))
    look_again = observe(run, vm, domain, host)
    ensure_seed_spent(run, vm, host)
    ensure_plugged(run, vm, parts, host)
    ensure_credentials(run, vm, host)
    arrive()
    return look_again


def go_on_moving(run: Run, vm: Vm, parts: Parts, host: Host, backends: Backends, *, to: UUID) -> NoReturn:
    """Bring a VM further on its way to another host, or back; NotYet with how far it is."""
    if vm.move is Move.BACK and parts.target_lost:
        stay_alone(run, vm, host, backends.journeys)
    target = backends.host(to)
    base = ensure_image(run, vm, parts.disks[0], backends, to=to)
    way = Way(host, target, backends.carrier, backends.journeys, backends.fabrics)
    if vm.move is not Move.COLD:
        ensure_moved_live(run, vm, parts, way, base, seed(vm))
    ensure_moved(run, vm, parts.disks, way, base, seed(vm))


def load(run: Run) -> tuple[Vm, Parts] | None:
    """Read the VM with all that belongs to it, in one look; None when it is gone."""
    with run.looking() as db:
        for vm in fetch_copies(db, Vm, BY_ID, id=run.id):
            ports = port_specs_of(db, vm.id)
            gpus = gpu_specs(db, vm.id) if vm.gpus else ()
            disks, waits = copies_of_disks(db, vm.id), waits_for(db, vm, ports)
            there = away(db, vm.moving_to) if vm.moving_to else None
            lost = there is not None and there.lost
            return vm, Parts(ports, disks, gpus, waits, away(db, vm.host_id), target_lost=lost)
        return None


def waits_for(db: Session, vm: Vm, ports: Sequence[PortSpec]) -> str:
    """Say what its NICs cannot be put into yet; whoever makes that wakes the VM then."""
    if any(port.groups for port in ports) and not all_in_force(db, vm.id):
        return "applying its security groups"
    return "" if networks_made(db, vm.id) else "creating the network"


def expired(run: Run, vm: Vm) -> bool:
    """Whether the VM's time is over; the first to see it writes down that it must go."""
    if vm.ends_at is None or vm.ends_at > run.now:
        return False
    gone = {"wanted": Wanted.DELETED, "state": VmState.DELETING}
    with changing(run, vm, gone, Event(EventName.VM_EXPIRED, "expired; terminating")) as db:
        let_go(db, vm.id, now=run.now)
    return True


def wait_for_room(run: Run, vm: Vm) -> datetime | None:
    """Leave a VM alone that has no room, and if it was given up, as it is; gives when its time is over."""
    if vm.state not in {VmState.PENDING, VmState.FAILED}:
        note(run, vm, {"state": VmState.FAILED})
    return vm.ends_at


def show_progress(run: Run, vm: Vm) -> None:
    """Show that work on a new VM began, or that it fails again and again."""
    never_ran = vm.state in {VmState.PENDING, VmState.STARTING} or (
        vm.state is VmState.STOPPING and not vm.started
    )
    if run.claim.attempts >= FAILED_AFTER and never_ran:
        note(run, vm, {"state": VmState.FAILED})
    elif vm.state is VmState.PENDING:
        note(run, vm, {"state": VmState.STARTING})


def ensure_disks(
    run: Run, vm: Vm, disks: Sequence[Disk], domain: Domain | None, host: Host, backends: Backends
) -> None:
    """Have the disks on their host before the machine starts; NotYet while its image is being copied there.

    A disk that was made once is never made anew: an empty one in its place would hide the loss.
    """
    for disk in disks[1:]:
        ensure_made(run, disk, host)
    if domain is not None and domain.power is not Power.OFF:
        return
    if disks[0].state is DiskState.INIT:
        make_boot_disk(run, vm, disks[0], host, backends)
    else:
        refuse_loss(run, vm, disks, host)
    for disk in disks:
        ensure_contents(run, disk, host)


def make_boot_disk(run: Run, vm: Vm, disk: Disk, host: Host, backends: Backends) -> None:
    """Make the boot disk of a new VM, unless it is there."""
    base = ensure_image(run, vm, disk, backends, to=vm.host_id)
    host.disks.create(DiskSpec(id=disk.id, size_gib=disk.size_gib, base=base, pool=disk.pool))
    with run.writing() as db:
        update_row(db, Disk, disk.id, state=DiskState.USED)
        disk.state = DiskState.USED
        log_event(db, disk, EventName.DISK_CREATED, "created on its host", now=run.now)


def refuse_loss(run: Run, vm: Vm, disks: Sequence[Disk], host: Host) -> None:
    """Go no further when a disk has gone from the host; the VM goes on if it comes back."""
    there = host.disks.list()
    for disk in disks:
        if disk.id in there or disk.wanted is Wanted.DETACHED:
            continue
        uplink = "terminate the VM" if disk.type is DiskType.BOOT else "detach it"
        where = f"{disk.id} in pool {disk.pool!r}"
        text = f"its disk {disk.name!r} ({where}) is missing from the host: restore it, or {uplink}"
        if vm.state is not VmState.FAILED:
            change(run, vm, {"state": VmState.FAILED}, Event(EventName.VM_DISK_LOST, text))
        raise HypervisorError(text, for_owner=text)


def ensure_seed_spent(run: Run, vm: Vm, host: Host) -> None:
    """Have the seed's secrets leave the host when its guest has read them, or nobody expects a word of it any more."""
    if vm.seed_spent_at is None and (vm.first_boot_at is not None or vm.guest_silent):
        host.seeds.write(seed(vm).without_secrets())
        note(run, vm, {"seed_spent_at": run.now})


def seed(vm: Vm) -> Seed:
    """Describe what the guest learns about itself; from its first boot on that is only who it is."""
    whole = Seed(
        vm_id=vm.id,
        instance_id=str(vm.id),
        hostname=hostname_of(vm.name),
        ssh_keys=tuple(vm.ssh_keys.splitlines()),
        password_hash=vm.password_hash,
        start_script=vm.start_script,
    )
    return whole.without_secrets() if vm.seed_spent_at else whole


def remove_disks(run: Run, vm: Vm, host: Host) -> None:
    """Remove the VM's boot disk, and what there may be of storage disks that were not made in time; the others outlive it."""
    with run.reading() as db:
        unmade = [disk.id for disk in copies_of_disks(db, vm.id) if not disk.is_made]
    for disk_id in {vm.boot_disk_id, *unmade}:
        host.disks.remove(disk_id)


def clear_host(run: Run, vm: Vm, host: Host, backends: Backends) -> None:
    """Remove what is of the VM on its host."""
    wait_for_image(run, vm)
    host.machines.undefine(vm.id)
    keep_log(run, vm, host, backends.fabrics.catalogue.limits)
    remove_disks(run, vm, host)
    host.seeds.remove(vm.id)
    host.consoles.remove_log(vm.id)


def tear_down(run: Run, vm: Vm, host: Host | None, backends: Backends) -> None:
    """Remove every part of the VM, whatever is left of it; its row goes last, with all that it holds.

    Without its host, which is lost, the rest; the look at a host that is back removes what it still has.
    """
    if host is not None:
        clear_host(run, vm, host, backends)
    remove_ports(run, vm.id, backends.fabrics)
    with run.writing() as db:
        release_disks(db, vm.id, now=run.now)
        release_nics(db, vm.id, now=run.now)
        if vm.gpus:
            give_back(db, vm.id, now=run.now)
        release(db, vm.id, now=run.now)
        row = db.get_one(Vm, vm.id)
        text = "deleted, with its boot disk, addresses and reserved capacity"
        log_event(db, row, EventName.VM_DELETED, text, now=run.now)
        db.delete(row)
