"""Machines in memory that go to another host while they run: all they have goes as one message through one gate."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event, Thread
from uuid import UUID

import msgspec

from cumulet.faults import verb
from cumulet.hypervisor import DiskSpec, DomainSpec, Expected, HypervisorError, OffReason, Power, spec_digest
from cumulet.hypervisor.content import (
    KEPT,
    LONGEST_WORDS,
    Broken,
    announce,
    answer,
    read_exactly,
    read_length,
)
from cumulet.hypervisor.memory.contents import Machine, StoredDisk
from cumulet.hypervisor.memory.disks import MemoryDisks
from cumulet.hypervisor.memory.state import Part, State

MEMORY_AND_DISKS = b"m"


class Traveller(msgspec.Struct, frozen=True):
    """A machine on its way."""

    expected: str
    """By what its other host knows it."""
    machine: Machine
    contents: dict[UUID, str]
    """Of its disks that come along."""


class MemoryLiveMoves(Part):
    """Machines that leave this host, or come to it."""

    def __init__(self, state: State, disks: MemoryDisks) -> None:
        super().__init__(state)
        self._disks = disks

    @verb
    def prepare(self, vm_id: UUID) -> str:
        """Open its gates."""
        self.find_running(vm_id)
        self.close_gates(vm_id)
        self._state.gates[vm_id] = []
        return str(vm_id)

    @verb
    def expect(
        self,
        spec: DomainSpec,
        disks: Sequence[DiskSpec],
        running: str,
        *,
        shared: frozenset[UUID] = frozenset(),
    ) -> Expected:
        """Make its disks, and know what is to come."""
        self._contents.keep_term(spec.id, spec.term)
        if spec.id in self._contents.machines:
            raise HypervisorError(f"the host has a machine for VM {spec.id} already")
        if spec.id not in self._contents.seeds:
            raise HypervisorError(f"VM {spec.id} cannot come: its seed is missing")
        for disk in disks:
            self._disks.check_pool(disk)
            self._disks.check_base(disk)
            if disk.id in shared:
                self._contents.find_disk(disk.id)
            else:
                self._contents.disks_in(disk.pool).setdefault(disk.id, StoredDisk(disk, disk.size_gib))
        self._state.expected[spec.id] = spec
        copied = tuple(str(disk.id) for disk in disks if disk.id not in shared)
        return Expected(running, spec_digest(spec), copied)

    @verb
    def open_gate(self, vm_id: UUID) -> socket.socket:
        """Wait at a gate."""
        if vm_id not in self._state.gates:
            raise HypervisorError(f"the machine of VM {vm_id} is not leaving")
        ours, theirs = socket.socketpair()
        self._state.gates[vm_id].append(ours)
        return theirs

    @verb
    def enter(self, vm_id: UUID, way: str) -> socket.socket:
        """Take in what comes, once it is whole."""
        if way.encode() != MEMORY_AND_DISKS or vm_id not in self._state.expected:
            raise HypervisorError(f"no machine of VM {vm_id} is expected")
        ours, theirs = socket.socketpair()
        Thread(target=take_in, args=(ours, self._state, vm_id), daemon=True).start()
        return theirs

    @verb
    def leave(
        self, vm_id: UUID, expected: Expected, hear: Callable[[float], None], *, term: int = 0
    ) -> float:
        """Go through the gate that is open."""
        self._contents.keep_term(vm_id, term)
        machine = self.find_running(vm_id)
        if vm_id in self._state.leaving:
            raise HypervisorError(f"the machine of VM {vm_id} is leaving already")
        disks = [id for id in (machine.spec.boot_disk, *machine.plugged) if str(id) in expected.copied]
        traveller = Traveller(
            expected.defined, machine, {id: self._contents.find_disk(id).content for id in disks}
        )
        left = self._state.leaving[vm_id] = Event()
        try:
            self._state.on_leave()
            hear(0.5)
            packed = msgspec.msgpack.encode(traveller)
            with self._state.answering_meanwhile():
                pass_through(self._state.gates.get(vm_id, []), packed)
        finally:
            self.close_gates(vm_id)
            del self._state.leaving[vm_id]
            left.set()
        self._state.go_off(vm_id, OffReason.MOVED)
        return 0.2

    @verb
    def stay(self, vm_id: UUID) -> None:
        """Close its gates, and wait until it is not leaving any more."""
        self.close_gates(vm_id)
        if left := self._state.leaving.get(vm_id):
            with self._state.answering_meanwhile():
                left.wait()

    @verb
    def go_on(self, vm_id: UUID, *, term: int = 0) -> None:
        """Let it run."""
        self._contents.keep_term(vm_id, term)
        machine = self._contents.find_machine(vm_id)
        if machine.power in {Power.ARRIVED, Power.IN_MOVE, Power.PAUSED}:
            machine.power = Power.RUNNING
            self._state.changed.append(vm_id)

    def find_running(self, vm_id: UUID) -> Machine:
        """A machine that runs; HypervisorError."""
        machine = self._contents.find_machine(vm_id)
        if machine.power is not Power.RUNNING:
            raise HypervisorError(f"the machine of VM {vm_id} does not run")
        return machine

    def close_gates(self, vm_id: UUID) -> None:
        """Tell those who wait at its gates that nothing comes."""
        for gate in self._state.gates.pop(vm_id, []):
            with suppress(OSError):  # nobody is at its other end any more
                gate.shutdown(socket.SHUT_RDWR)
            gate.close()


def pass_through(gates: list[socket.socket], traveller: bytes) -> None:
    """Send a machine through a gate and wait until it is taken in; HypervisorError when it is not."""
    if not gates:
        raise HypervisorError("nobody carries it")
    gate = gates[0]
    try:
        gate.sendall(MEMORY_AND_DISKS)
        announce(gate, len(traveller))
        gate.sendall(traveller)
        words = gate.recv(LONGEST_WORDS)
    except OSError as error:
        raise HypervisorError(f"the line broke: {error}") from error
    if words != KEPT:
        raise HypervisorError(words.decode(errors="replace") or "the line broke")


def take_in(line: socket.socket, state: State, vm_id: UUID) -> None:
    """Take a machine in, held still."""
    with line, suppress(Broken, OSError):  # whoever carried it has gone
        received = b"".join(read_exactly(line, read_length(line)))
        traveller = msgspec.msgpack.decode(received, type=Traveller)
        taken = state.take_machine_in(vm_id, traveller.expected, traveller.machine, traveller.contents)
        answer(line, "" if taken else "it is not expected any more")
