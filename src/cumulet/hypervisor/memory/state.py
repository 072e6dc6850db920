"""A host in memory as all its parts know it: what is on it, its levers, and who is told when its machines change."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from uuid import UUID

from cumulet.faults import Faulty
from cumulet.hypervisor import (
    DomainSpec,
    GpuMissing,
    GpuPartition,
    Guest,
    HostGpus,
    HostUnreachable,
    Iommu,
    OffReason,
    Power,
    spec_digest,
)
from cumulet.hypervisor.memory.contents import Contents, Machine, StoredDisk
from cumulet.hypervisor.memory.lines import Lines


class State(Faulty):
    """A host that can fail. `notify` of `on_change` is called in the thread that caused the change."""

    def __init__(self, pools: Mapping[str, int]) -> None:
        super().__init__(lambda: HostUnreachable("the host does not answer"))
        self.pools = dict(pools)
        """Lever: how many GiB each disk pool has while it is mounted."""
        self.copy_step = 1.0
        """Lever: how much of an image's copy gets done with each look at it."""
        self.full = False
        """Lever: nothing can be written on the host."""
        self.deaf = False
        """Lever: guests ignore their power button, and do not hold still for an image."""
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
        self.host_gpus = HostGpus(Iommu.NO_TABLE, ())
        """Lever: which GPUs are in it."""
        self.sick_gpus: dict[str, str] = {}
        """Lever: GPUs that cannot be cleaned, by address, and why not."""
        self.halved_gpus: set[str] = set()
        """Lever: GPUs, by address, of which guests find neither BARs nor bus mastering."""
        self.contents = Contents()
        self.lines = Lines()
        self.gates: dict[UUID, list[socket.socket]] = {}
        """Lines that wait for machines that are to leave."""
        self.leaving: dict[UUID, threading.Event] = {}
        """Machines that are leaving, and what is set once they do so no more."""
        self.expected: dict[UUID, DomainSpec] = {}
        """Machines that are to come."""
        self.on_leave: Callable[[], object] = lambda: None
        """Lever: what happens while a machine leaves."""
        self.starts = itertools.count(1)
        self.left_alone: dict[UUID, int] = {}
        """By VM, the start of its machine in which its agent was wild."""
        self.changed: list[UUID] = []
        """Machines of which listeners are told after the verb that changed them."""
        self._listeners: list[Callable[[UUID], None]] = []

    @property
    def gpu_partitions(self) -> tuple[GpuPartition, ...]:
        """The partitions of its GPUs, as they are now."""
        active = self.contents.active_partitions
        return tuple(replace(one, active=one.number in active) for one in self.host_gpus.partitions)

    def on_change(self, notify: Callable[[UUID], None]) -> None:
        """Call `notify(vm id)` when a machine changed by itself or its guest came up."""
        self._listeners.append(notify)

    def close(self) -> None:
        """Let go: what is on the host stays, nobody is told of changes any more."""
        self._listeners.clear()

    def go_off(self, vm_id: UUID, reason: OffReason) -> None:
        """End a machine if it runs."""
        machine = self.contents.find_machine(vm_id)
        if machine.power is not Power.OFF:
            machine.power, machine.off_reason, machine.started = Power.OFF, reason, 0
            machine.plugged.clear()
            self.lines.end(vm_id)
            self.changed.append(vm_id)

    def keep_disk(self, disk: StoredDisk) -> None:
        """Keep a disk that has come; one that is there meanwhile stays as it is."""
        with self._lock:
            self.contents.disks_in(disk.spec.pool).setdefault(disk.spec.id, disk)

    def take_machine_in(self, vm_id: UUID, expected: str, machine: Machine, held: Mapping[UUID, str]) -> bool:
        """Have a machine that came from another host, held still, with what its disks hold; False when it is not expected."""
        with self._lock:
            spec = self.expected.pop(vm_id, None)
            if spec is None or spec_digest(spec) != expected or not held.keys() <= self.contents.disks.keys():
                return False
            machine.spec, machine.digest, machine.power = spec, expected, Power.ARRIVED
            self.contents.machines[vm_id] = machine
            for disk_id, content in held.items():
                self.contents.disks[disk_id].content = content
            return True

    def find_gpus(self, spec: DomainSpec) -> None:
        """Return when the bus has all functions of a machine's GPUs and they answer."""
        there = {one.address for gpu in self.host_gpus.gpus if gpu.answers for one in gpu.functions}
        for function in (one for gpu in spec.gpus for one in gpu.functions):
            if function not in there:
                raise GpuMissing(f"{function} of the GPUs of VM {spec.id} is not on the host")

    def pause_on_io_error(self, vm_id: UUID) -> None:
        """Keep a machine still that wrote what the host could not."""
        self.contents.find_machine(vm_id).power = Power.PAUSED_ON_IO_ERROR
        self.changed.append(vm_id)

    def _notify_changes(self) -> None:
        with self._lock:
            changed, self.changed = self.changed, []
        for vm_id in changed:
            for notify in self._listeners:
                notify(vm_id)


class Part:
    """A part of a host: its verbs are counted, and fail, with all the others."""

    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def faulty(self) -> State:
        """The host."""
        return self._state

    @property
    def _contents(self) -> Contents:
        return self._state.contents
