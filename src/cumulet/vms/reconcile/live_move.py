"""The way of a VM to another host while it runs: what is seen on both hosts says how far it came, whoever looks.

    here        there                                    then
    any         runs, or ran since it arrived            it is there: its row says so, and what is left here goes
    not off     anything else                            what is there goes, and its journey begins (anew)
    off         arrived, held still or about to go on    it goes on there
    off         anything else                            it goes on its way as one that is off

It goes on there only when it is off here, and is started nowhere while it moves: so it runs once at most, whatever dies
meanwhile. What is on its way already is told to stay before both hosts are looked at: nothing arrives behind what is seen.
Whoever calls it back raises its term on both hosts first: a journey of before lets it go on nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NoReturn

from cumulet.disks import Disk
from cumulet.hypervisor import BaseImage, DiskSpec, Domain, OffReason, Power, Seed
from cumulet.hypervisor import Hypervisor as Host
from cumulet.hypervisor.journey import Journey, Journeys, Stage
from cumulet.networks import ensure_ports
from cumulet.reconcile import NotYet, Run
from cumulet.resource import changing
from cumulet.vm_record.model import Move, Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms.moves import end_second_place
from cumulet.vms.reconcile.domain import Parts, domain_spec
from cumulet.vms.reconcile.move import Way, check_whole, leave, settle, target_of
from cumulet.vms.reconcile.power import guest_left
from cumulet.vms.retained_logs import CONSOLE_LOG_BYTES

LOOK: Final = 0.5
"""Seconds between looks at a journey that is under way."""
HELD: Final = (Power.IN_MOVE, Power.ARRIVED)
"""A machine that did not go on there, or not yet."""
STOOD: Final = (Power.IN_MOVE, Power.PAUSED)
"""A machine that did not leave, and was not told to go on."""


def ensure_moved_live(run: Run, vm: Vm, parts: Parts, way: Way, base: BaseImage, seed: Seed) -> None:
    """Bring a VM to the other host, or have it stay where it was called back; NotYet until then, with how far it is.

    Returns when it is off and goes as such.
    """
    journey = way.journeys.look(vm.id) if vm.move is Move.LIVE else None
    if journey is not None and not journey.still.done():
        raise NotYet(f"moving while it runs, {journey.over:.0%}", LOOK)
    # or a journey of before, of whatever server, went on behind what is seen now
    way.source.moves.stay(vm.id)
    if vm.move is Move.BACK:
        way.target.machines.keep_term(vm.id, vm.term)
    way.source.machines.keep_term(vm.id, vm.term)
    here, there = way.source.machines.get(vm.id), way.target.machines.get(vm.id)
    is_off = here is None or here.power is Power.OFF
    if there is not None and there.power in (Power.ARRIVED, Power.PAUSED) and is_off:
        way.target.moves.go_on(vm.id, term=vm.term)
        there = way.target.machines.get(vm.id)
    if there is not None and went_on(there):
        settle_there(run, vm, parts.disks, way, journey)
    if is_off and vm.move is Move.LIVE:
        if here is not None:
            guest_left(run, vm, here)
        return
    clear(vm, parts.disks, way)
    if vm.move is Move.BACK:
        settle_here(run, vm, way.source, here, way.journeys)
    if here is not None and here.power in STOOD:
        way.source.moves.go_on(vm.id, term=vm.term)
    begin(vm, parts, way, base, seed)


def went_on(there: Domain) -> bool:
    """Whether a machine on the other host has run since it arrived: what its disks held before is of no use any more."""
    if there.power is Power.OFF:
        return there.off_reason is not OffReason.NONE
    return there.power not in HELD


def settle_there(run: Run, vm: Vm, disks: Sequence[Disk], way: Way, journey: Journey | None) -> NoReturn:
    """Have its row say that it is on the other host, and remove what is left of it here."""
    still = f"; it stood still for {journey.still.result():.2f} s" if journey else ""
    settle(run, vm, f"moved to another host while it ran{still}", state=VmState.ACTIVE, started=vm.started)
    way.journeys.forget(vm.id)
    leave(vm, [disk for disk in disks if disk.is_made], way)
    raise NotYet("it was moved", 0)


def stay_alone(run: Run, vm: Vm, source: Host, journeys: Journeys) -> NoReturn:
    """Have it stay whose other host is lost: nothing runs there any more, nor is it asked."""
    source.moves.stay(vm.id)
    source.machines.keep_term(vm.id, vm.term)
    settle_here(run, vm, source, source.machines.get(vm.id), journeys)


def settle_here(run: Run, vm: Vm, source: Host, here: Domain | None, journeys: Journeys) -> NoReturn:
    """Have it stay, and go on if it stood still for its move."""
    if here is not None and here.power in STOOD:
        source.moves.go_on(vm.id, term=vm.term)
    journeys.forget(vm.id)
    stays = {"moving_to": None, "move": None, "state": VmState.STARTING}
    to = target_of(vm)
    with changing(run, vm, stays) as db:
        end_second_place(db, vm.id, is_on=vm.host_id, not_on=to, now=run.now)
    raise NotYet("it stays where it is", 0)


def clear(vm: Vm, disks: Sequence[Disk], way: Way) -> None:
    """Remove from the other host what an earlier journey left there."""
    way.target.machines.undefine(vm.id)
    for disk in way.carried(disks):
        way.target.disks.remove(disk.id)
    way.target.consoles.remove_log(vm.id)


def begin(vm: Vm, parts: Parts, way: Way, base: BaseImage, seed: Seed) -> NoReturn:
    """Have both hosts and the network be ready for it, and let it go."""
    ensure_ports(parts.ports, way.fabrics)
    carried = {disk.id for disk in way.carried(parts.disks)}
    shared = [disk for disk in parts.disks if disk.id not in carried]
    for host in (way.source, way.target):
        check_whole(vm, shared, host)
    way.target.seeds.write(seed)
    disks = [
        DiskSpec(disk.id, disk.size_gib, base if disk.id == vm.boot_disk_id else None, disk.pool)
        for disk in parts.disks
    ]
    running = way.source.moves.prepare(vm.id)
    spec = domain_spec(vm, parts)
    expected = way.target.moves.expect(spec, disks, running, shared=frozenset(disk.id for disk in shared))
    way.journeys.begin(
        Stage(
            vm_id=vm.id,
            term=vm.term,
            source=way.source,
            target=way.target,
            expected=expected,
            log_bytes=CONSOLE_LOG_BYTES,
        )
    )
    raise NotYet("moving while it runs", 0)
