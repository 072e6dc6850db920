"""What is on a host in memory: machines, disks with what guests wrote to them, seeds, consoles and image copies."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

from cumulet.hypervisor import (
    DiskSpec,
    Domain,
    DomainSpec,
    HypervisorError,
    ImageCapture,
    OffReason,
    OlderTerm,
    Power,
    Seed,
)

TAKEN: Final = b"what a disk in memory held: "
"""How an image begins that was taken of one."""
WITHOUT_A_WORD: Final = (OffReason.CRASHED, OffReason.UNKNOWN)
"""How a machine ends that lets go of nothing."""


@dataclass(slots=True)
class Machine:
    """One defined machine and what its guest does."""

    spec: DomainSpec
    digest: str
    """`spec_digest` of it."""
    power: Power = Power.OFF
    off_reason: OffReason = OffReason.NONE
    started: int = 0
    looks: int = 0
    """How often the guest was asked since the start: it answers from the second time on."""
    measured: int = 0
    """How often it was measured since the start: it does a little between two times."""
    keys: tuple[str, ...] | None = None
    """Root's SSH keys in the guest; None before its first boot."""
    password_hash: str = ""
    start_script: str = ""
    """What it ran at its first boot."""
    plugged: set[UUID] = field(default_factory=set)
    """Storage disks that it runs with."""
    cut_off_from: set[UUID] = field(default_factory=set)
    """Disks to which it writes no more, until it starts anew."""

    @property
    def answers(self) -> bool:
        """Its guest's agent answers."""
        return self.power is Power.RUNNING and self.looks > 1

    def found(self) -> Domain:
        """Itself as the host tells it."""
        gpus = tuple(gpu.functions[0] for gpu in self.spec.gpus)
        return Domain(
            self.spec.id,
            self.power,
            self.off_reason,
            0 if self.power is Power.ARRIVED else self.started,
            self.digest,
            gpus,
            self.spec.term,
        )

    def has(self, disk_id: UUID) -> bool:
        """Whether it is defined with a disk, or runs with it."""
        return disk_id in {self.spec.boot_disk, *self.spec.disks, *self.plugged}


@dataclass(slots=True)
class StoredDisk:
    """One disk with its content and its earlier contents."""

    spec: DiskSpec
    size_gib: int
    content: str = ""
    snapshots: dict[UUID, tuple[int, str]] = field(default_factory=dict)
    """Size and content, by snapshot."""

    def take_snapshot(self, snapshot_id: UUID) -> None:
        """Keep what it holds now, unless there is such a snapshot."""
        self.snapshots.setdefault(snapshot_id, (self.size_gib, self.content))

    def revert(self, snapshot_id: UUID) -> None:
        """Hold what it held then."""
        if snapshot_id not in self.snapshots:
            raise HypervisorError(f"disk {self.spec.id} has no snapshot {snapshot_id}")
        self.size_gib, self.content = self.snapshots[snapshot_id]


@dataclass(slots=True)
class SharedDirectory:
    """A disk pool that several hosts have together."""

    identity: str
    disks: dict[UUID, StoredDisk] = field(default_factory=dict)
    copies: dict[str, float] = field(default_factory=dict)
    """How much of each image's copy is there, by digest."""
    terms: dict[UUID, int] = field(default_factory=dict)
    users: list[Contents] = field(default_factory=list)
    """What is on the hosts that have it."""

    def cut_off(self, disk_id: UUID) -> tuple[str, ...]:
        """Have machines that run with a disk on any of the hosts write to it no more, and name them; with those that did not let go of it."""
        machines = [machine for contents in self.users if (machine := contents.machine_with(disk_id))]
        opened = [one for one in machines if one.power is not Power.OFF or one.off_reason in WITHOUT_A_WORD]
        for machine in opened:
            machine.cut_off_from.add(disk_id)
        return tuple(f"the machine of VM {machine.spec.id}" for machine in opened)


@dataclass(slots=True)
class Contents:
    """All that is on the host."""

    machines: dict[UUID, Machine] = field(default_factory=dict)
    own_disks: dict[UUID, StoredDisk] = field(default_factory=dict)
    shared: dict[str, SharedDirectory] = field(default_factory=dict)
    """By disk pool, those that it has together with other hosts."""
    unmounted: dict[str, dict[UUID, StoredDisk]] = field(default_factory=dict)
    """Disks that are not there now, by the disk pool that is not mounted."""
    seeds: dict[UUID, Seed] = field(default_factory=dict)
    consoles: dict[UUID, bytearray] = field(default_factory=dict)
    own_copies: dict[str, float] = field(default_factory=dict)
    """How much of each image's copy is there, by digest."""
    captures: dict[UUID, ImageCapture] = field(default_factory=dict)
    """How far images are that are taken of disks."""
    used_gpus: dict[str, UUID] = field(default_factory=dict)
    """VMs whose machines left something on a GPU, by its address."""
    leaked_gpus: set[str] = field(default_factory=set)
    """Addresses of GPUs on which a machine found what another one's left."""
    own_terms: dict[UUID, int] = field(default_factory=dict)
    """The highest that was told of each VM."""
    active_partitions: set[int] = field(default_factory=set)
    """Numbers of the partitions in which GPUs are joined."""

    @property
    def shared_there(self) -> list[SharedDirectory]:
        """Directories of several hosts that are mounted."""
        return [one for pool, one in self.shared.items() if pool not in self.unmounted]

    @property
    def disks(self) -> dict[UUID, StoredDisk]:
        """All disks that it sees, its own and those in directories of several hosts."""
        if not self.shared:
            return self.own_disks
        return {id: disk for one in self.shared_there for id, disk in one.disks.items()} | self.own_disks

    @property
    def terms(self) -> dict[UUID, int]:
        """The highest terms that it knows of, by VM."""
        terms = dict(self.own_terms)
        for one in self.shared_there:
            terms |= {id: max(term, terms.get(id, 0)) for id, term in one.terms.items()}
        return terms

    def disks_in(self, pool: str) -> dict[UUID, StoredDisk]:
        """Where the disks of a pool are kept."""
        return self.shared[pool].disks if pool in self.shared else self.own_disks

    def copies_in(self, pool: str) -> dict[str, float]:
        """Where the copies of images are kept that disks of a pool are based on."""
        return self.shared[pool].copies if pool in self.shared else self.own_copies

    def every_copies(self) -> list[dict[str, float]]:
        """All places where copies of images are kept."""
        return [self.own_copies, *(one.copies for one in self.shared_there)]

    def forget_disk(self, disk_id: UUID) -> None:
        """Forget a disk, if it is there."""
        for disks in (self.own_disks, *(one.disks for one in self.shared_there)):
            disks.pop(disk_id, None)

    def forget_term(self, vm_id: UUID) -> None:
        """Forget a VM's term."""
        for terms in (self.own_terms, *(one.terms for one in self.shared_there)):
            terms.pop(vm_id, None)

    def unmount(self, pool: str) -> None:
        """Let a disk pool go away with what lies in it."""
        away = {id: disk for id, disk in self.own_disks.items() if disk.spec.pool == pool}
        self.own_disks = {id: disk for id, disk in self.own_disks.items() if id not in away}
        self.unmounted.setdefault(pool, {}).update(away)

    def mount(self, pool: str) -> None:
        """Let it come back."""
        self.own_disks |= self.unmounted.pop(pool, {})

    def check_mounted(self, pool: str) -> None:
        """Return when a disk pool is there; HypervisorError otherwise."""
        if pool in self.unmounted:
            raise HypervisorError(f"disk pool {pool!r}: nothing is mounted")

    def keep_term(self, vm_id: UUID, term: int) -> None:
        """Keep a VM's term; OlderTerm when a higher one is kept."""
        kept = self.terms.get(vm_id, 0)
        if term < kept:
            raise OlderTerm(f"VM {vm_id} is in term {kept}, not {term} any more")
        if term:
            for terms in (self.own_terms, *(one.terms for one in self.shared_there)):
                terms[vm_id] = term

    def use_gpus(self, spec: DomainSpec) -> None:
        """Let a machine find on its GPUs what was left there, and leave something."""
        addresses = [gpu.functions[0] for gpu in spec.gpus]
        self.leaked_gpus.update(one for one in addresses if self.used_gpus.get(one, spec.id) != spec.id)
        self.used_gpus.update(dict.fromkeys(addresses, spec.id))

    def disks_based_on(self, sha256: str) -> list[UUID]:
        """Disks that are overlays of an image."""
        specs = (disk.spec for disk in self.disks.values())
        return [spec.id for spec in specs if spec.base and spec.base.sha256 == sha256]

    def find_machine(self, vm_id: UUID) -> Machine:
        """A machine that must be there."""
        if vm_id not in self.machines:
            raise HypervisorError(f"the host has no machine for VM {vm_id}")
        return self.machines[vm_id]

    def machine_with(self, disk_id: UUID) -> Machine | None:
        """The machine that a disk belongs to."""
        return next((machine for machine in self.machines.values() if machine.has(disk_id)), None)

    def find_disk(self, disk_id: UUID) -> StoredDisk:
        """A disk that must be there."""
        if disk_id not in self.disks:
            raise HypervisorError(f"the host has no disk {disk_id}")
        return self.disks[disk_id]

    def find_idle_disk(self, disk_id: UUID) -> StoredDisk:
        """A disk that must be there, and that no machine runs with."""
        machine = self.machine_with(disk_id)
        if machine and machine.power is not Power.OFF:
            raise HypervisorError(f"disk {disk_id} is in use by the machine of VM {machine.spec.id}")
        return self.find_disk(disk_id)


def write_image(target: Path, content: str) -> None:
    """Write what a disk holds into an image."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(TAKEN + content.encode())


def read_image(path: Path) -> str:
    """Read what was written into an image; nothing from one that was made elsewhere."""
    if not path.is_file():
        return ""
    with path.open("rb") as image:  # one made elsewhere may be large: no more than its beginning is read
        return image.read().decode() if image.read(len(TAKEN)) == TAKEN else ""
