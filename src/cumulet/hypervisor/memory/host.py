"""One host in memory, whole, with the levers that do to it what the world does to a host."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

from cumulet.faults import verb
from cumulet.hypervisor import HostFacts, OffReason, Power
from cumulet.hypervisor.memory.consoles import MemoryConsoles
from cumulet.hypervisor.memory.disks import MemoryDisks
from cumulet.hypervisor.memory.gpus import MemoryGpus
from cumulet.hypervisor.memory.guests import MemoryGuests
from cumulet.hypervisor.memory.images import MemoryImages
from cumulet.hypervisor.memory.live_moves import MemoryLiveMoves
from cumulet.hypervisor.memory.machines import MemoryMachines
from cumulet.hypervisor.memory.made_up import panic_of
from cumulet.hypervisor.memory.seeds import MemorySeeds
from cumulet.hypervisor.memory.state import State


class MemoryHypervisor(State):
    """One host in memory."""

    def __init__(self, facts: HostFacts) -> None:
        super().__init__(facts.disk_gib)
        self._facts = facts
        self.images = MemoryImages(self)
        self.disks = MemoryDisks(self)
        self.seeds = MemorySeeds(self)
        self.machines = MemoryMachines(self)
        self.moves = MemoryLiveMoves(self, self.disks)
        self.guests = MemoryGuests(self)
        self.consoles = MemoryConsoles(self)
        self.gpus = MemoryGpus(self)

    @verb
    def facts(self) -> HostFacts:
        """Say what the host has."""
        unmounted = self.contents.unmounted
        room = {pool: 0 if pool in unmounted else gib for pool, gib in self.pools.items()}
        shared = {
            pool: "" if pool in unmounted else one.identity for pool, one in self.contents.shared.items()
        }
        return replace(self._facts, disk_gib=room, shared_pools=shared)

    @verb
    def ping(self) -> None:
        """Return when the host answers."""

    # Levers
    def boot(self) -> None:
        """Let the host boot anew: all its machines are off, and nobody knows why."""
        self._facts = replace(self._facts, boot_id=str(uuid4()))
        for vm_id, machine in tuple(self.contents.machines.items()):
            if machine.power is not Power.OFF:
                self._let_go_off(vm_id, OffReason.UNKNOWN)
            elif machine.off_reason is not OffReason.NONE:
                machine.off_reason = OffReason.UNKNOWN

    def go_down(self) -> None:
        """Let the host's system be shut down, which has its guests power off; it still answers."""
        for vm_id, machine in tuple(self.contents.machines.items()):
            if machine.power is not Power.OFF:
                self._let_go_off(vm_id, OffReason.HOST_SHUTDOWN)

    def change_processors(self, group: str) -> None:
        """Let machines find other processors here than on hosts of other groups."""
        self._facts = replace(self._facts, cpu_group=group)

    def kill(self, vm_id: UUID) -> None:
        """Let the machine's process die."""
        self._let_go_off(vm_id, OffReason.CRASHED)

    def stall(self, vm_id: UUID) -> None:
        """Let the guest write when the host cannot."""
        with self._lock:
            self.pause_on_io_error(vm_id)
        self._notify_changes()

    def fault(self, vm_id: UUID) -> None:
        """Let a device of a running machine report errors."""
        with self._lock:
            self.contents.find_machine(vm_id).power = Power.FAULTED
            self.changed.append(vm_id)
        self._notify_changes()

    def write_to_console(self, vm_id: UUID, text: str) -> None:
        """Let the guest write to its serial console."""
        with self._lock:
            self.contents.consoles.setdefault(vm_id, bytearray()).extend(text.encode())

    def panic(self, vm_id: UUID, why: str, *, at: str = "3.141593") -> None:
        """Let the guest's kernel panic: its last words are on the console, and it hangs."""
        self.mute = True
        self.write_to_console(vm_id, panic_of(why, at))

    def guest_powers_off(self, vm_id: UUID) -> None:
        """Let the guest power itself off."""
        self._let_go_off(vm_id, OffReason.GUEST_SHUTDOWN)

    def write_disk(self, disk_id: UUID, content: str) -> None:
        """Let a guest write to its disk; one that is cut off from it stands still."""
        machine = self.contents.machine_with(disk_id)
        if machine and disk_id in machine.cut_off_from:
            self.stall(machine.spec.id)
        else:
            self.contents.find_disk(disk_id).content = content

    def read_disk(self, disk_id: UUID) -> str:
        """Let a guest read its disk."""
        return self.contents.find_disk(disk_id).content

    def unmount(self, pool: str) -> None:
        """Let a disk pool's file system be mounted no more: what lies there is not seen until it is again."""
        with self._lock:
            self.contents.unmount(pool)

    def mount(self, pool: str) -> None:
        """Let it be mounted again."""
        with self._lock:
            self.contents.mount(pool)

    def _let_go_off(self, vm_id: UUID, reason: OffReason) -> None:
        with self._lock:
            self.go_off(vm_id, reason)
        self._notify_changes()
