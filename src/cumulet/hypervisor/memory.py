"""A host that exists only in this process: what tests, demos and load runs use in the place of libvirt.

It obeys the same contract tests as the real one, refuses what that refuses, and costs microseconds. Beyond the
Protocol it has levers, which do to it what the world does to a host: a machine crashes, a guest powers itself off or
ignores its power button, the host falls silent, a call fails before or after its effect.
"""

from __future__ import annotations

import hashlib
import itertools
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Concatenate, Final, ParamSpec, TypeVar
from urllib.parse import parse_qsl
from uuid import UUID

from cumulet.errors import Invalid
from cumulet.hypervisor import (
    NO_GUEST,
    BaseImage,
    DiskSpec,
    Domain,
    DomainSpec,
    Guest,
    GuestRefused,
    GuestSilent,
    HostFacts,
    HostUnreachable,
    HypervisorError,
    ImageCopy,
    ImageOrder,
    ImageTaking,
    MachineOff,
    OffReason,
    Power,
    Seed,
    Stats,
    TakenFrom,
)
from cumulet.hypervisor.memory_consoles import MadeUpConsoles, made_up_picture
from cumulet.hypervisor.memory_contents import Contents, Machine, StoredDisk, read_image, write_image
from cumulet.hypervisor.memory_guests import exit_status_of, little_work, panic_of
from cumulet.hypervisor.memory_uri import facts_of, read_query

_shared: Final[dict[str, dict[str, MemoryHypervisor]]] = {}
_shared_lock: Final = threading.Lock()

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(slots=True)
class _Fault:
    """A failure that waits for its call."""

    call: int
    error: BaseException
    after: bool


def _verb(
    body: Callable[Concatenate[MemoryHypervisor, P], R],
) -> Callable[Concatenate[MemoryHypervisor, P], R]:
    """Count the call, let it fail where a lever says so, and tell afterwards whose machine changed."""

    @wraps(body)
    def counted(self: MemoryHypervisor, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._lock:
            fault = self._count_call()
            if fault and not fault.after:
                raise fault.error
            result = body(self, *args, **kwargs)
        self._tell_changes()
        if fault:
            raise fault.error
        return result

    return counted


class MemoryHypervisor:
    """One host in memory. `notify` of `on_change` is called in the thread that caused the change."""

    def __init__(self, facts: HostFacts, *, gpus: int = 0, gpu_model: str = "") -> None:
        self.gpus = gpus
        self.gpu_model = gpu_model
        self.unreachable = False
        """Lever: every verb raises HostUnreachable."""
        self.deaf = False
        """Lever: guests ignore their power button."""
        self.mute = False
        """Lever: guests' agents answer nothing."""
        self.stubborn = False
        """Lever: guests refuse passwords and keys."""
        self.booting: Guest | None = None
        """Lever: what guests that boot say in the place of being done."""
        self.clinging = False
        """Lever: guests hold on to disks that are to be unplugged."""
        self.copy_step = 1.0
        """Lever: how much of an image's copy gets done with each look at it."""
        self.call_count = 0
        """Verbs called so far."""
        self._facts = facts
        self._contents = Contents()
        self._consoles = MadeUpConsoles()
        self._lock = threading.RLock()
        self._starts = itertools.count(1)
        self._fault: _Fault | None = None
        self._listeners: list[Callable[[UUID], None]] = []
        self._changed: list[UUID] = []

    # Levers
    def crash_on_call(self, n: int, error: BaseException, *, after: bool) -> None:
        """Raise `error` at the n-th verb call from now (1 is the next), before or after that call's effect."""
        with self._lock:
            self._fault = _Fault(self.call_count + n, error, after)

    def kill(self, vm_id: UUID) -> None:
        """Let the machine's process die."""
        self._let_go_off(vm_id, OffReason.CRASHED)

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
    @_verb
    def facts(self) -> HostFacts:
        """Say what the host has."""
        return self._facts

    @_verb
    def ping(self) -> None:
        """Return when the host answers."""

    def on_change(self, notify: Callable[[UUID], None]) -> None:
        """Call `notify(vm id)` when a machine changed by itself or its guest came up."""
        self._listeners.append(notify)

    # Images and disks
    @_verb
    def ensure_image_copy(self, image: BaseImage) -> ImageCopy:
        """Copy a bit more of the image."""
        fraction = min(1.0, self._contents.copies.get(image.sha256, 0.0) + self.copy_step)
        self._contents.copies[image.sha256] = fraction
        return ImageCopy(ready=fraction == 1.0, fraction=fraction)

    @_verb
    def image_copies(self) -> frozenset[str]:
        """Digests of the complete copies."""
        return frozenset(sha256 for sha256, fraction in self._contents.copies.items() if fraction == 1.0)

    @_verb
    def remove_image_copy(self, sha256: str) -> None:
        """Remove a copy, unless a disk is based on it."""
        based = self._contents.disks_based_on(sha256)
        if based:
            raise HypervisorError(f"image {sha256[:12]} is the base of {len(based)} disks, first {based[0]}")
        self._contents.copies.pop(sha256, None)

    @_verb
    def create_disk(self, disk: DiskSpec) -> None:
        """Make the disk if it is not there."""
        if disk.id in self._contents.disks:
            return
        if disk.base and self._contents.copies.get(disk.base.sha256) != 1.0:
            raise HypervisorError(
                f"image {disk.base.sha256[:12]}, the base of disk {disk.id}, is not on this host"
            )
        content = read_image(disk.base.path) if disk.base else ""
        self._contents.disks[disk.id] = StoredDisk(disk, disk.size_gib, content)

    @_verb
    def resize_disk(self, disk_id: UUID, size_gib: int, *, vm_id: UUID | None) -> None:
        """Let the disk grow."""
        machine = self._contents.machine_with(disk_id)
        if machine and machine.power is not Power.OFF and machine.spec.id != vm_id:
            raise HypervisorError(f"disk {disk_id} is in use by the machine of VM {machine.spec.id}")
        disk = self._contents.find_disk(disk_id)
        disk.size_gib = max(disk.size_gib, size_gib)

    @_verb
    def remove_disk(self, disk_id: UUID) -> None:
        """Remove the disk, if it is there and no machine has it."""
        machine = self._contents.machine_with(disk_id)
        if machine:
            raise HypervisorError(f"disk {disk_id} belongs to the machine of VM {machine.spec.id}")
        self._contents.disks.pop(disk_id, None)

    @_verb
    def disks(self) -> Mapping[UUID, int]:
        """All disks with their sizes in GiB."""
        return {id: disk.size_gib for id, disk in self._contents.disks.items()}

    @_verb
    def take_snapshot(self, disk_id: UUID, snapshot_id: UUID) -> None:
        """Keep the disk's content."""
        self._contents.find_idle_disk(disk_id).take_snapshot(snapshot_id)

    @_verb
    def revert_disk(self, disk_id: UUID, snapshot_id: UUID) -> None:
        """Bring back a snapshot's content and size."""
        self._contents.find_idle_disk(disk_id).revert(snapshot_id)

    @_verb
    def remove_snapshot(self, disk_id: UUID, snapshot_id: UUID) -> None:
        """Forget a snapshot, if it is there."""
        self._contents.find_idle_disk(disk_id).snapshots.pop(snapshot_id, None)

    @_verb
    def snapshots(self, disk_id: UUID) -> frozenset[UUID]:
        """The disk's snapshots."""
        return frozenset(self._contents.find_disk(disk_id).snapshots)

    @_verb
    def ensure_image_taken(self, order: ImageOrder) -> ImageTaking:
        """Copy a bit more of the disk; what is whole is not taken again."""
        known = self._contents.takings.get(order.image_id, ImageTaking(0.0))
        if known.taken_from and order.target.exists():
            return known
        disk = self._contents.find_disk(order.disk_id)
        taking = ImageTaking(min(1.0, known.fraction + self.copy_step))
        if taking.fraction == 1.0:
            write_image(order.target, disk.content)
            sha256 = hashlib.sha256(order.target.read_bytes()).hexdigest()
            taking = ImageTaking(1.0, self._taken_from(order.vm_id), sha256)
        self._contents.takings[order.image_id] = taking
        return taking

    @_verb
    def takings(self) -> frozenset[UUID]:
        """Images whose taking is not forgotten."""
        return frozenset(self._contents.takings)

    @_verb
    def forget_taking(self, image_id: UUID) -> None:
        """Forget it."""
        self._contents.takings.pop(image_id, None)

    @_verb
    def write_seed(self, seed: Seed) -> None:
        """Keep the VM's seed."""
        self._contents.seeds[seed.vm_id] = seed

    @_verb
    def remove_seed(self, vm_id: UUID) -> None:
        """Forget the VM's seed."""
        self._contents.seeds.pop(vm_id, None)

    @_verb
    def seeds(self) -> frozenset[UUID]:
        """VMs that have a seed."""
        return frozenset(self._contents.seeds)

    # Machines
    @_verb
    def domains(self) -> Mapping[UUID, Domain]:
        """All machines."""
        return {machine.spec.id: machine.found() for machine in self._contents.machines.values()}

    @_verb
    def domain(self, vm_id: UUID) -> Domain | None:
        """One machine, or None."""
        machine = self._contents.machines.get(vm_id)
        return machine.found() if machine else None

    @_verb
    def define(self, spec: DomainSpec) -> None:
        """Define or redefine the machine."""
        machine = self._contents.machines.setdefault(spec.id, Machine(spec))
        machine.spec = spec

    @_verb
    def start(self, vm_id: UUID) -> None:
        """Start the machine unless it runs; its disk and seed must be there."""
        machine = self._find_machine(vm_id)
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
        console = self._contents.consoles.setdefault(vm_id, bytearray())
        console += f"start {machine.started} of {machine.spec.name}\n".encode()
        self._changed.append(vm_id)

    @_verb
    def plug_disks(self, vm_id: UUID, disks: Sequence[UUID]) -> frozenset[UUID]:
        """Plug and unplug; a guest that clings to its disks lets go of none."""
        machine = self._find_machine(vm_id)
        if machine.power is Power.OFF:
            return frozenset()
        for disk_id in disks:
            self._contents.find_disk(disk_id)
        held = machine.plugged - set(disks) if self.clinging else set()
        machine.plugged = set(disks) | held
        return frozenset(held)

    @_verb
    def press_power_button(self, vm_id: UUID) -> None:
        """Let the guest power off at once, unless guests are deaf."""
        self._find_machine(vm_id)
        if not self.deaf:
            self._go_off(vm_id, OffReason.GUEST_SHUTDOWN)

    @_verb
    def pull_plug(self, vm_id: UUID) -> None:
        """End the machine now."""
        self._go_off(vm_id, OffReason.DESTROYED)

    @_verb
    def undefine(self, vm_id: UUID) -> None:
        """Forget the machine, running or not."""
        self._contents.machines.pop(vm_id, None)
        self._consoles.end(vm_id)

    @_verb
    def guest(self, vm_id: UUID) -> Guest:
        """Answer as a guest that takes a moment to boot and whose start script does nothing but its last `exit`."""
        machine = self._contents.machines.get(vm_id)
        if machine is None or machine.power is not Power.RUNNING:
            return NO_GUEST
        machine.looks += 1
        seed = self._contents.seeds.get(vm_id)
        if not machine.answers or seed is None or self.mute:
            return NO_GUEST
        if self.booting:
            return self.booting
        status = exit_status_of(seed.start_script) if seed.start_script else None
        return Guest(agent=True, first_boot_done=True, start_script_status=status, has_address=True)

    @_verb
    def set_password(self, vm_id: UUID, password_hash: str) -> None:
        """Let the guest take the password."""
        self._find_willing(vm_id).password_hash = password_hash

    @_verb
    def replace_keys(self, vm_id: UUID, keys: Sequence[str], *, instead_of: Sequence[str]) -> None:
        """Let the guest take the keys."""
        machine = self._find_willing(vm_id)
        kept = [key for key in machine.keys or () if key not in instead_of]
        machine.keys = tuple(dict.fromkeys([*kept, *keys]))

    # Measuring
    @_verb
    def stats(self) -> Mapping[UUID, Stats]:
        """Measure machines that do a little between any two times."""
        running = {id: one for id, one in self._contents.machines.items() if one.power is Power.RUNNING}
        for machine in running.values():
            machine.measured += 1
        return {id: little_work(machine.measured, machine.spec) for id, machine in running.items()}

    @_verb
    def ping_guest(self, vm_id: UUID) -> float | None:
        """Answer in no time, or not at all."""
        machine = self._contents.machines.get(vm_id)
        return 1.0 if machine and machine.answers and not self.mute else None

    @_verb
    def open_screen(self, vm_id: UUID) -> socket.socket:
        """Open a line that greets as a screen does."""
        return self._consoles.open_screen(self._find_running(vm_id).spec.id)

    @_verb
    def open_serial(self, vm_id: UUID) -> socket.socket:
        """Open the line to the serial console, taking it over."""
        return self._consoles.open_serial(self._find_running(vm_id).spec.id)

    @_verb
    def screenshot(self, vm_id: UUID) -> bytes:
        """Make up a picture, another one for each start."""
        return made_up_picture(self._find_running(vm_id).started)

    @_verb
    def console_log(self, vm_id: UUID, *, max_bytes: int) -> bytes:
        """Answer the newest lines: one for each start."""
        return bytes(self._contents.consoles.get(vm_id, b"")[-max_bytes:])

    @_verb
    def remove_console_log(self, vm_id: UUID) -> None:
        """Forget the console."""
        self._contents.consoles.pop(vm_id, None)

    def close(self) -> None:
        """Let go: what is on the host stays, nobody is told of changes any more."""
        self._listeners.clear()

    def _count_call(self) -> _Fault | None:
        self.call_count += 1
        if self.unreachable:
            raise HostUnreachable(f"{self._facts.name} does not answer")
        if self._fault is None or self._fault.call != self.call_count:
            return None
        fault, self._fault = self._fault, None
        return fault

    def _taken_from(self, vm_id: UUID) -> TakenFrom:
        """Guests hold still when they are asked, unless they are deaf."""
        if self._find_machine(vm_id).power is Power.OFF:
            return TakenFrom.STOPPED
        return TakenFrom.RUNNING if self.deaf else TakenFrom.FROZEN

    def _find_machine(self, vm_id: UUID) -> Machine:
        try:
            return self._contents.machines[vm_id]
        except KeyError:
            raise HypervisorError(f"{self._facts.name} has no machine for VM {vm_id}") from None

    def _find_willing(self, vm_id: UUID) -> Machine:
        machine = self._find_machine(vm_id)
        if not machine.answers or self.mute:
            raise GuestSilent("the guest's agent does not answer")
        if self.stubborn:
            raise GuestRefused("the guest refuses: it is stubborn")
        return machine

    def _find_running(self, vm_id: UUID) -> Machine:
        machine = self._find_machine(vm_id)
        if machine.power is Power.OFF:
            raise MachineOff(f"the machine of VM {vm_id} is off")
        return machine

    def _go_off(self, vm_id: UUID, reason: OffReason) -> None:
        machine = self._find_machine(vm_id)
        if machine.power is not Power.OFF:
            machine.power, machine.off_reason, machine.started = Power.OFF, reason, 0
            machine.plugged.clear()
            self._consoles.end(vm_id)
            self._changed.append(vm_id)

    def _let_go_off(self, vm_id: UUID, reason: OffReason) -> None:
        with self._lock:
            self._go_off(vm_id, reason)
        self._tell_changes()

    def _tell_changes(self) -> None:
        with self._lock:
            changed, self._changed = self._changed, []
        for vm_id in changed:
            for notify in self._listeners:
                notify(vm_id)


def memory_hosts(uri: str) -> dict[str, MemoryHypervisor]:
    """Make the hosts of a `memory:` URI, by name; Invalid names what is wrong in it.

    `memory:?hosts=100&vcpus=64&memory_gib=512&disk_gib=4096&gpus=8&gpu_model=H100` makes a hundred new ones;
    `memory:NAME?…` answers the same hosts, with all that is on them, to everyone in this process who asks again.
    """
    if not uri.startswith("memory:"):
        raise Invalid.field("hypervisor", uri, "memory:, memory:?hosts=… or memory:NAME?hosts=…")
    name, _, query = uri.removeprefix("memory:").partition("?")
    if not name:
        return _make_hosts(query)
    with _shared_lock:
        if uri not in _shared:
            _shared[uri] = _make_hosts(query)
        return _shared[uri]


def _make_hosts(query: str) -> dict[str, MemoryHypervisor]:
    sizes, gpu_model = read_query(parse_qsl(query, keep_blank_values=True))
    names = [f"memory-{number}" for number in range(1, sizes["hosts"] + 1)]
    return {
        name: MemoryHypervisor(facts_of(name, sizes), gpus=sizes["gpus"], gpu_model=gpu_model)
        for name in names
    }
