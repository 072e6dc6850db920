"""Machines on a host: defined, started, ended and measured."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from cumulet.hypervisor.images import ImageName


class Power(enum.Enum):
    """Whether a VM's machine runs on its host."""

    RUNNING = "running"
    PAUSED = "paused"
    PAUSED_ON_IO_ERROR = "paused on I/O error"
    """Its host failed to write to a disk of it, so it is paused until `resume`: its guest knows of no failure."""
    IN_MOVE = "held still by a move"
    """It is on its way from or to another host, or was when something broke."""
    ARRIVED = "arrived"
    """It came from another host with all that it has, and waits to go on."""
    FAULTED = "faulted"
    """A device that was given to it, or its processor, met an error that it cannot recover from, and QEMU stopped it."""
    OFF = "off"


class Firmware(enum.Enum):
    """What starts a machine."""

    BIOS = "BIOS"
    UEFI = "UEFI"


class OffReason(enum.Enum):
    """Why a machine that is off went off, as far as the host knows."""

    NONE = "none"
    """It runs, or it never ran."""
    GUEST_SHUTDOWN = "guest shutdown"
    """The guest powered itself off, by itself or because it was asked to."""
    HOST_SHUTDOWN = "host shutdown"
    """Its guest was asked to power off by the host's own system, which is being shut down itself."""
    DESTROYED = "destroyed"
    """Its plug was pulled by a client of the host."""
    CRASHED = "crashed"
    """Its process ended without the guest's will."""
    MOVED = "moved"
    """It went on to another host."""
    UNKNOWN = "unknown"
    """The host does not know, for instance after its own restart."""


@dataclass(frozen=True, slots=True)
class Topology:
    """How a VM's vCPUs are arranged; the product is their number."""

    sockets: int
    cores: int
    threads: int


@dataclass(frozen=True, slots=True)
class NicSpec:
    """One NIC of a machine: the fabric knows its port by the same id."""

    port_id: UUID
    mac: str
    mtu: int


@dataclass(frozen=True, slots=True)
class GpuSpec:
    """One GPU of a machine, whole."""

    functions: tuple[str, ...]
    """Addresses of all functions of the card on the host, the GPU's own first: `0000:65:00.0`."""
    numa_node: int | None
    """Of the host's memory and processors, those nearest to it; None where the firmware does not say."""


@dataclass(frozen=True, slots=True)
class DomainSpec:
    """One VM's machine, whole: the golden files show what becomes of each field."""

    id: UUID
    name: str
    """The owner's id for the VM, for people who look at the host."""
    project: str
    vcpus: int
    memory_mib: int
    topology: Topology | None
    boot_disk: UUID
    """A disk made before by `Disks.create`; the seed of the same VM is attached beside it."""
    boot_image: ImageName
    """What the boot disk is based on, as we know it: what the disk itself says its machine may have written."""
    disks: tuple[UUID, ...]
    """Storage disks, in the order in which the guest finds them at its start."""
    nics: tuple[NicSpec, ...]
    firmware: Firmware = Firmware.BIOS
    """What its image starts by."""
    gpus: tuple[GpuSpec, ...] = ()
    """In the order in which the guest finds them."""
    term: int = 0
    """How often the VM changed its host."""


@dataclass(frozen=True, slots=True)
class Domain:
    """One VM's machine as found on the host."""

    id: UUID
    power: Power
    off_reason: OffReason
    started: int
    """Changes with every start of the machine (a token, not a time); 0 when it is off."""
    spec_digest: str
    """`spec_digest` of the DomainSpec it was defined with: differs from the wanted one when it must be redefined."""
    gpus: tuple[str, ...] = ()
    """Addresses of the GPUs that it was defined with."""
    term: int = 0
    """Of the DomainSpec it was defined with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What a machine has used since its start: all but the memory only grow, and begin at 0 with each start."""

    cpu_seconds: float
    """Of all its vCPUs together."""
    memory_bytes: int
    """In use now: by the guest where it tells, otherwise by its QEMU."""
    read_bytes: int
    read_requests: int
    """Of all disks together, as are the next two."""
    written_bytes: int
    write_requests: int
    received_bytes: int
    """By the guest, on all NICs together."""
    sent_bytes: int


class Machines(Protocol):
    """Machines on one host.

    A VM has a term, which is raised whenever it changes its host. The host keeps the highest that it was told, beyond
    the machine's own life; OlderTerm refuses to whoever comes with a lower one: their knowledge is from before a move,
    however long they slept.
    """

    def list(self) -> Mapping[UUID, Domain]:
        """All our machines on the host, in one call."""

    def get(self, vm_id: UUID) -> Domain | None:
        """One of them, or None."""

    def define(self, spec: DomainSpec) -> None:
        """Define the machine, or redefine it (in force at its next start), and keep its term.

        GpuMissing when a GPU of it is not on the host.
        """

    def start(self, vm_id: UUID, *, term: int = 0) -> None:
        """Start the machine unless it runs."""

    def resume(self, vm_id: UUID, *, term: int = 0) -> None:
        """Let a machine that is paused on an I/O error go on; it is paused again at once where its host still fails to write."""

    def hotplug(self, vm_id: UUID, disks: Sequence[UUID]) -> frozenset[UUID]:
        """Have just these storage disks plugged into a running machine; none is into one that is off.

        Unplugging needs the guest to let go: it is asked, and disks that it still holds on to are answered.
        """

    def request_shutdown(self, vm_id: UUID) -> None:
        """Ask the guest to power off, by its agent when that answers and by ACPI; returns at once."""

    def force_off(self, vm_id: UUID) -> None:
        """End the machine now, whatever the guest does."""

    def undefine(self, vm_id: UUID) -> None:
        """Forget the machine, ending it first if it runs."""

    def keep_term(self, vm_id: UUID, term: int) -> None:
        """Keep a term of the VM, whether it has a machine here or not: nobody with a lower one starts it any more."""

    def terms(self) -> Mapping[UUID, int]:
        """The terms that are kept, those of VMs that never changed their host left out."""

    def forget_term(self, vm_id: UUID) -> None:
        """Forget the term of a VM that will not come back."""

    def stats(self) -> Mapping[UUID, Stats]:
        """What each of our machines that run has used, in one call; one that is busy just now may be missing."""


def spec_digest(spec: DomainSpec) -> str:
    """A short digest of a machine's spec: what `Domain.spec_digest` is compared with."""
    return hashlib.sha256(repr(spec).encode()).hexdigest()[:16]
