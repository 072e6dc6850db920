"""Machines on a host in memory: they start and end at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from cumulet.faults import verb
from cumulet.hypervisor import (
    Domain,
    DomainSpec,
    HypervisorError,
    OffReason,
    Power,
    Stats,
    spec_digest,
)
from cumulet.hypervisor.gpu_partitions import to_join
from cumulet.hypervisor.memory.contents import Machine
from cumulet.hypervisor.memory.made_up import little_work
from cumulet.hypervisor.memory.state import Part


class MemoryMachines(Part):
    """Machines on one host."""

    @verb
    def list(self) -> Mapping[UUID, Domain]:
        """All machines."""
        return {machine.spec.id: machine.found() for machine in self._contents.machines.values()}

    @verb
    def get(self, vm_id: UUID) -> Domain | None:
        """One machine, or None."""
        machine = self._contents.machines.get(vm_id)
        return machine.found() if machine else None

    @verb
    def define(self, spec: DomainSpec) -> None:
        """Define or redefine the machine; its disks and GPUs must be there."""
        self._contents.keep_term(spec.id, spec.term)
        known = self._contents.machines.get(spec.id)
        if known is None or known.spec != spec:
            self._state.find_gpus(spec)
            for disk_id in (spec.boot_disk, *spec.disks):
                self._contents.find_disk(disk_id)
            digest = spec_digest(spec)
            machine = self._contents.machines.setdefault(spec.id, Machine(spec, digest))
            machine.spec, machine.digest = spec, digest

    @verb
    def start(self, vm_id: UUID, *, term: int = 0) -> None:
        """Start the machine unless it runs; its disks, its seed and its GPUs must be there."""
        self._contents.keep_term(vm_id, term)
        machine = self._contents.find_machine(vm_id)
        if machine.power is not Power.OFF:
            return
        for disk_id in (machine.spec.boot_disk, *machine.spec.disks):
            if disk_id not in self._contents.disks:
                raise HypervisorError(f"VM {vm_id} cannot start: its disk {disk_id} is missing")
        if vm_id not in self._contents.seeds:
            raise HypervisorError(f"VM {vm_id} cannot start: its seed is missing")
        self._state.find_gpus(machine.spec)
        others, wanted = to_join(self._state.gpu_partitions, [gpu.functions[0] for gpu in machine.spec.gpus])
        self._contents.active_partitions.difference_update(others)
        self._contents.active_partitions.update(wanted)
        self._contents.use_gpus(machine.spec)
        machine.power, machine.off_reason = Power.RUNNING, OffReason.NONE
        machine.started, machine.looks, machine.measured = next(self._state.starts), 0, 0
        machine.plugged, machine.cut_off_from = set(machine.spec.disks), set()
        if machine.keys is None:
            seed = self._contents.seeds[vm_id]
            machine.keys, machine.password_hash = seed.ssh_keys, seed.password_hash
            machine.start_script = seed.start_script
        console = self._contents.consoles.setdefault(vm_id, bytearray())
        console += f"start {machine.started} of {machine.spec.name}\n".encode()

    @verb
    def resume(self, vm_id: UUID, *, term: int = 0) -> None:
        """Let a machine go on that is paused on an I/O error; on a full host it pauses again, which is told like the first time."""
        self._contents.keep_term(vm_id, term)
        machine = self._contents.find_machine(vm_id)
        if machine.power is Power.PAUSED_ON_IO_ERROR:
            machine.power = Power.RUNNING
            if self._state.full or machine.cut_off_from:
                self._state.pause_on_io_error(vm_id)

    @verb
    def hotplug(self, vm_id: UUID, disks: Sequence[UUID]) -> frozenset[UUID]:
        """Plug and unplug; a guest that clings to its disks lets go of none."""
        machine = self._contents.find_machine(vm_id)
        if machine.power is Power.OFF:
            return frozenset()
        for disk_id in set(disks) - machine.plugged:
            self._contents.find_disk(disk_id)
        held = machine.plugged - set(disks) if self._state.clinging else set()
        machine.plugged = set(disks) | held
        return frozenset(held)

    @verb
    def request_shutdown(self, vm_id: UUID) -> None:
        """Let the guest power off at once, unless guests are deaf, or a fault has stopped it."""
        machine = self._contents.find_machine(vm_id)
        if not self._state.deaf and machine.power is not Power.FAULTED:
            self._state.go_off(vm_id, OffReason.GUEST_SHUTDOWN)

    @verb
    def force_off(self, vm_id: UUID) -> None:
        """End the machine now."""
        self._state.go_off(vm_id, OffReason.DESTROYED)

    @verb
    def undefine(self, vm_id: UUID) -> None:
        """Forget the machine, running or not."""
        self._contents.machines.pop(vm_id, None)
        self._state.lines.end(vm_id)

    @verb
    def keep_term(self, vm_id: UUID, term: int) -> None:
        """Keep a term of the VM."""
        self._contents.keep_term(vm_id, term)

    @verb
    def terms(self) -> Mapping[UUID, int]:
        """The terms that are kept."""
        return dict(self._contents.terms)

    @verb
    def forget_term(self, vm_id: UUID) -> None:
        """Forget one."""
        self._contents.forget_term(vm_id)

    @verb
    def stats(self) -> Mapping[UUID, Stats]:
        """Measure machines that do a little between any two times."""
        running = {id: one for id, one in self._contents.machines.items() if one.power is Power.RUNNING}
        for machine in running.values():
            machine.measured += 1
        return {id: little_work(machine.measured, machine.spec) for id, machine in running.items()}
