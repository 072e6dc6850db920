"""A host that exists only in this process: what tests, demos and load runs use in the place of libvirt.

It obeys the same contract tests as the real one, refuses what that refuses, and costs microseconds. Beyond the
Protocol it has levers, which do to it what the world does to a host: a machine crashes, a guest powers itself off or
ignores its power button, the host is full or falls silent, a call fails before or after its effect.
"""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final
from urllib.parse import parse_qsl
from uuid import UUID

from cumulet.errors import Invalid
from cumulet.faults import verb
from cumulet.hypervisor import (
    NO_GUEST,
    Domain,
    DomainSpec,
    Guest,
    GuestRefused,
    GuestSilent,
    HostFacts,
    HypervisorError,
    MachineOff,
    OffReason,
    Power,
    Stats,
)
from cumulet.hypervisor.memory_consoles import MadeUpConsoles, made_up_picture
from cumulet.hypervisor.memory_contents import Machine
from cumulet.hypervisor.memory_disks import MemoryDisks
from cumulet.hypervisor.memory_guests import exit_status_of, little_work, panic_of
from cumulet.hypervisor.memory_uri import facts_of, read_query

LEFT_ALONE: Final = "the guest's agent is left alone until the next start: it is wild, which no agent is"

_shared: Final[dict[str, dict[str, MemoryHypervisor]]] = {}
_shared_lock: Final = threading.Lock()


class MemoryHypervisor(MemoryDisks):
    """One host in memory: its machines and their guests beside what lies on it."""

    def __init__(self, facts: HostFacts) -> None:
        super().__init__(facts.disk_gib)
        self.mute = False
        """Lever: guests' agents answer nothing."""
        self.stubborn = False
        """Lever: guests refuse passwords and keys."""
        self.wild = False
        """Lever: guests' agents send what no agent sends."""
        self.booting: Guest | None = None
        """Lever: what guests that boot say in the place of being done."""
        self.clinging = False
        """Lever: guests hold on to disks that are to be unplugged."""
        self.full = False
        """Lever: nothing can be written on the host."""
        self._facts = facts
        self._consoles = MadeUpConsoles()
        self._starts = itertools.count(1)
        self._left_alone: dict[UUID, int] = {}
        """By VM, the start of its machine in which its agent was wild."""

    # Levers
    def kill(self, vm_id: UUID) -> None:
        """Let the machine's process die."""
        self._let_go_off(vm_id, OffReason.CRASHED)

    def stall(self, vm_id: UUID) -> None:
        """Let the guest write when the host cannot."""
        with self._lock:
            self._stall(vm_id)
        self._tell_changes()

    def write_to_console(self, vm_id: UUID, text: str) -> None:
        """Let the guest write to its serial console."""
        with self._lock:
            self._contents.consoles.setdefault(vm_id, bytearray()).extend(text.encode())

    def panic(self, vm_id: UUID, why: str, *, at: str = "3.141593") -> None:
        """Let the guest's kernel panic: its last words are on the console, and it hangs."""
        self.mute = True
        self.write_to_console(vm_id, panic_of(why, at))

    def guest_powers_off(self, vm_id: UUID) -> None:
        """Let the guest power itself off."""
        self._let_go_off(vm_id, OffReason.GUEST_SHUTDOWN)

    def write_disk(self, disk_id: UUID, content: str) -> None:
        """Let a guest write to its disk."""
        self._contents.find_disk(disk_id).content = content

    def read_disk(self, disk_id: UUID) -> str:
        """Let a guest read its disk."""
        return self._contents.find_disk(disk_id).content

    # Host
    @verb
    def facts(self) -> HostFacts:
        """Say what the host has."""
        room = {pool: 0 if pool in self._contents.unmounted else gib for pool, gib in self.pools.items()}
        return replace(self._facts, disk_gib=room)

    @verb
    def ping(self) -> None:
        """Return when the host answers."""

    # Machines
    @verb
    def domains(self) -> Mapping[UUID, Domain]:
        """All machines."""
        return {machine.spec.id: machine.found() for machine in self._contents.machines.values()}

    @verb
    def domain(self, vm_id: UUID) -> Domain | None:
        """One machine, or None."""
        machine = self._contents.machines.get(vm_id)
        return machine.found() if machine else None

    @verb
    def define(self, spec: DomainSpec) -> None:
        """Define or redefine the machine; its disks must be there."""
        known = self._contents.machines.get(spec.id)
        if known is None or known.spec != spec:
            for disk_id in (spec.boot_disk, *spec.disks):
                self._contents.find_disk(disk_id)
            self._contents.machines.setdefault(spec.id, Machine(spec)).spec = spec

    @verb
    def start(self, vm_id: UUID) -> None:
        """Start the machine unless it runs; its disk and seed must be there."""
        machine = self._contents.find_machine(vm_id)
        if machine.power is not Power.OFF:
            return
        for disk_id in (machine.spec.boot_disk, *machine.spec.disks):
            if disk_id not in self._contents.disks:
                raise HypervisorError(f"VM {vm_id} cannot start: its disk {disk_id} is missing")
        if vm_id not in self._contents.seeds:
            raise HypervisorError(f"VM {vm_id} cannot start: its seed is missing")
        machine.power, machine.off_reason = Power.RUNNING, OffReason.NONE
        machine.started, machine.looks, machine.measured = next(self._starts), 0, 0
        machine.plugged = set(machine.spec.disks)
        if machine.keys is None:
            seed = self._contents.seeds[vm_id]
            machine.keys, machine.password_hash = seed.ssh_keys, seed.password_hash
            machine.start_script = seed.start_script
        console = self._contents.consoles.setdefault(vm_id, bytearray())
        console += f"start {machine.started} of {machine.spec.name}\n".encode()

    @verb
    def resume(self, vm_id: UUID) -> None:
        """Let a stalled machine go on; on a host that is full it stalls again, which is told like the first time."""
        machine = self._contents.find_machine(vm_id)
        if machine.power is Power.STALLED:
            machine.power = Power.RUNNING
            if self.full:
                self._stall(vm_id)

    @verb
    def plug_disks(self, vm_id: UUID, disks: Sequence[UUID]) -> frozenset[UUID]:
        """Plug and unplug; a guest that clings to its disks lets go of none."""
        machine = self._contents.find_machine(vm_id)
        if machine.power is Power.OFF:
            return frozenset()
        for disk_id in set(disks) - machine.plugged:
            self._contents.find_disk(disk_id)
        held = machine.plugged - set(disks) if self.clinging else set()
        machine.plugged = set(disks) | held
        return frozenset(held)

    @verb
    def press_power_button(self, vm_id: UUID) -> None:
        """Let the guest power off at once, unless guests are deaf."""
        self._contents.find_machine(vm_id)
        if not self.deaf:
            self._go_off(vm_id, OffReason.GUEST_SHUTDOWN)

    @verb
    def pull_plug(self, vm_id: UUID) -> None:
        """End the machine now."""
        self._go_off(vm_id, OffReason.DESTROYED)

    @verb
    def undefine(self, vm_id: UUID) -> None:
        """Forget the machine, running or not."""
        self._contents.machines.pop(vm_id, None)
        self._consoles.end(vm_id)

    @verb
    def guest(self, vm_id: UUID) -> Guest:
        """Answer as a guest that takes a moment to boot and whose start script does nothing but its last `exit`."""
        machine = self._contents.machines.get(vm_id)
        if machine is None or machine.power is not Power.RUNNING:
            return NO_GUEST
        machine.looks += 1
        if not self._agent_answers(machine):
            return NO_GUEST
        if self.booting:
            return self.booting
        status = exit_status_of(machine.start_script) if machine.start_script else None
        return Guest(agent=True, first_boot_done=True, start_script_status=status, has_address=True)

    @verb
    def why_left_alone(self, vm_id: UUID) -> str:
        """Say whether the agent was wild in this start."""
        machine = self._contents.machines.get(vm_id)
        is_left_alone = machine and machine.started and self._left_alone.get(vm_id) == machine.started
        return LEFT_ALONE if is_left_alone else ""

    @verb
    def set_password(self, vm_id: UUID, password_hash: str) -> None:
        """Let the guest take the password."""
        self._find_willing(vm_id).password_hash = password_hash

    @verb
    def replace_keys(self, vm_id: UUID, keys: Sequence[str], *, instead_of: Sequence[str]) -> None:
        """Let the guest take the keys."""
        machine = self._find_willing(vm_id)
        kept = [key for key in machine.keys or () if key not in instead_of]
        machine.keys = tuple(dict.fromkeys([*kept, *keys]))

    # Measuring
    @verb
    def stats(self) -> Mapping[UUID, Stats]:
        """Measure machines that do a little between any two times."""
        running = {id: one for id, one in self._contents.machines.items() if one.power is Power.RUNNING}
        for machine in running.values():
            machine.measured += 1
        return {id: little_work(machine.measured, machine.spec) for id, machine in running.items()}

    @verb
    def ping_guest(self, vm_id: UUID) -> float | None:
        """Answer in no time, or not at all."""
        machine = self._contents.machines.get(vm_id)
        return 1.0 if machine and self._agent_answers(machine) else None

    @verb
    def open_screen(self, vm_id: UUID) -> socket.socket:
        """Open a line that greets as a screen does."""
        return self._consoles.open_screen(self._find_running(vm_id).spec.id)

    @verb
    def open_serial(self, vm_id: UUID) -> socket.socket:
        """Open the line to the serial console, taking it over."""
        return self._consoles.open_serial(self._find_running(vm_id).spec.id)

    @verb
    def screenshot(self, vm_id: UUID) -> bytes:
        """Make up a picture, another one for each start."""
        return made_up_picture(self._find_running(vm_id).started)

    @verb
    def console_log(self, vm_id: UUID, *, max_bytes: int) -> bytes:
        """Answer the newest lines: one for each start."""
        return bytes(self._contents.consoles.get(vm_id, b"")[-max_bytes:])

    @verb
    def remove_console_log(self, vm_id: UUID) -> None:
        """Forget the console."""
        self._contents.consoles.pop(vm_id, None)

    def close(self) -> None:
        """Let go: what is on the host stays, nobody is told of changes any more."""
        self._listeners.clear()

    def _find_willing(self, vm_id: UUID) -> Machine:
        machine = self._contents.find_machine(vm_id)
        if not self._agent_answers(machine):
            if vm_id in self._left_alone:
                raise GuestRefused(LEFT_ALONE)
            raise GuestSilent("the guest's agent does not answer")
        if self.stubborn:
            raise GuestRefused("the guest refuses: it is stubborn")
        return machine

    def _agent_answers(self, machine: Machine) -> bool:
        vm_id = machine.spec.id
        if self._left_alone.get(vm_id) == machine.started:
            return False
        self._left_alone.pop(vm_id, None)
        if self.wild and machine.answers:
            self._left_alone[vm_id] = machine.started
            self._changed.append(vm_id)
        return machine.answers and not self.mute and not self.wild

    def _find_running(self, vm_id: UUID) -> Machine:
        machine = self._contents.find_machine(vm_id)
        if machine.power is Power.OFF:
            raise MachineOff(f"the machine of VM {vm_id} is off")
        return machine

    def _go_off(self, vm_id: UUID, reason: OffReason) -> None:
        machine = self._contents.find_machine(vm_id)
        if machine.power is not Power.OFF:
            machine.power, machine.off_reason, machine.started = Power.OFF, reason, 0
            machine.plugged.clear()
            self._consoles.end(vm_id)
            self._changed.append(vm_id)

    def _stall(self, vm_id: UUID) -> None:
        self._contents.find_machine(vm_id).power = Power.STALLED
        self._changed.append(vm_id)

    def _let_go_off(self, vm_id: UUID, reason: OffReason) -> None:
        with self._lock:
            self._go_off(vm_id, reason)
        self._tell_changes()


def memory_hosts(uri: str, *, pools: Collection[str]) -> dict[str, MemoryHypervisor]:
    """Make the hosts of a `memory:` URI, by name, each with these disk pools; Invalid names what is wrong in it.

    `memory:?hosts=100&vcpus=64&memory_gib=512&disk_gib=4096&gpus=8&gpu_model=H100` makes a hundred new ones, whose
    pools have 4096 GiB each;
    `memory:NAME?…` answers the same hosts, with all that is on them, to everyone in this process who asks again.
    """
    if not uri.startswith("memory:"):
        raise Invalid.field("hypervisor", uri, "memory:, memory:?hosts=… or memory:NAME?hosts=…")
    name, _, query = uri.removeprefix("memory:").partition("?")
    if not name:
        return _make_hosts(query, pools)
    with _shared_lock:
        if uri not in _shared:
            _shared[uri] = _make_hosts(query, pools)
        return _shared[uri]


def gpu_model_of(uri: str) -> str:
    """Say which GPU model the hosts of a `memory:` URI have; `""` for none."""
    sizes, gpu_model = read_query(parse_qsl(uri.partition("?")[2], keep_blank_values=True))
    return gpu_model if sizes["gpus"] else ""


def _make_hosts(query: str, pools: Collection[str]) -> dict[str, MemoryHypervisor]:
    sizes, gpu_model = read_query(parse_qsl(query, keep_blank_values=True))
    names = [f"memory-{number}" for number in range(1, sizes["hosts"] + 1)]
    return {name: MemoryHypervisor(facts_of(name, sizes, pools, gpu_model)) for name in names}
