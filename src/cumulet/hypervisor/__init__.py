"""The boundary to one host's machines and disks: what the cloud may ask of a hypervisor, and nothing else.

Two things obey it: `libvirt` for real hosts and `memory` for tests, demos and load. Every verb can be repeated:
it looks first and does only what is missing, because a reconcile that died half-way comes back to its own
unfinished work. Names on the host derive from our ids under the installation's id, so that a repeat finds its
earlier self and two installations on one host never touch each other's things.

A verb that meets a host which does not answer raises `HostUnreachable`; one that the host refuses raises
`HypervisorError` with words an owner can act on.
"""

from __future__ import annotations

import enum
import hashlib
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

from cumulet.errors import Unavailable

MOST_STORAGE_DISKS: Final = 8
"""How many storage disks a machine has room for beside its boot disk."""


class HypervisorError(Exception):
    """The host refused or failed to do what was asked."""


class HostUnreachable(HypervisorError, Unavailable):
    """The host does not answer now; nothing is known about what runs there."""


class GuestSilent(HypervisorError):
    """The guest's agent does not answer: the guest is off, boots, hangs, or has none."""


class GuestRefused(HypervisorError):
    """The guest's agent answers that it will not or cannot; asking again is of no use."""


class MachineOff(HypervisorError):
    """What was asked for takes a machine that runs."""


class Power(enum.Enum):
    """Whether a VM's machine runs on its host."""

    RUNNING = "running"
    PAUSED = "paused"
    OFF = "off"


class OffReason(enum.Enum):
    """Why a machine that is off went off, as far as the host knows."""

    NONE = "none"
    """It runs, or it never ran."""
    GUEST_SHUTDOWN = "guest shutdown"
    """The guest powered itself off, by itself or because it was asked to."""
    DESTROYED = "destroyed"
    """Its plug was pulled by a client of the host."""
    CRASHED = "crashed"
    """Its process ended without the guest's will."""
    UNKNOWN = "unknown"
    """The host does not know, for instance after its own restart."""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What a host has, before anything is reserved on it."""

    name: str
    cpus: int
    memory_mib: int
    disk_gib: int
    """Of the file system that holds disks: what is free for them, and what they take already."""
    cpu_model: str
    accelerator: str
    """`kvm`, or `tcg` where KVM is missing or does not work (software emulation: a supported, slow mode)."""
    version: str
    """Of the hypervisor, for people: `QEMU 7.2.22, libvirt 9.0.0`."""
    routes: tuple[IPv4Network, ...]
    """What it reaches by routes of its own: a network of VMs with such a range could not."""


@dataclass(frozen=True, slots=True)
class Topology:
    """How a VM's vCPUs are arranged; the product is their number."""

    sockets: int
    cores: int
    threads: int


@dataclass(frozen=True, slots=True)
class NicSpec:
    """One network card of a machine: the fabric knows its port by the same id."""

    port_id: UUID
    mac: str
    mtu: int


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
    """A disk made before by `create_disk`; the seed of the same VM is attached beside it."""
    disks: tuple[UUID, ...]
    """Storage disks, in the order in which the guest finds them at its start."""
    nics: tuple[NicSpec, ...]


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


@dataclass(frozen=True, slots=True)
class BaseImage:
    """A public or private image as disks refer to it: known by its content."""

    sha256: str
    format: str
    """`qcow2` or `raw`."""
    path: Path
    """Where the image store on the machine that Cumulet runs on holds the file."""
    size_gib: int


@dataclass(frozen=True, slots=True)
class ImageCopy:
    """The state of an image's copy on a host."""

    ready: bool
    fraction: float
    """0.0 to 1.0: how much of it is there."""
    error: str = ""
    """Why the last attempt ended; the next `ensure_image_copy` starts again."""


class TakenFrom(enum.Enum):
    """In which state a disk was when an image was taken of it."""

    STOPPED = "STOPPED"
    """Its machine was off."""
    FROZEN = "FROZEN"
    """Its machine ran, and the guest held its file systems still for that moment."""
    RUNNING = "RUNNING"
    """Its machine ran, and the guest knew nothing: what it holds is what a crash would have left."""


@dataclass(frozen=True, slots=True)
class ImageOrder:
    """An image that is to be taken of a machine's boot disk."""

    image_id: UUID
    disk_id: UUID
    vm_id: UUID
    """The VM whose machine has the disk."""
    target: Path
    """Where the whole image is to lie, on the machine that Cumulet runs on; always a qcow2 file."""


@dataclass(frozen=True, slots=True)
class ImageTaking:
    """How far the taking of an image is."""

    fraction: float
    """0.0 to 1.0: how much of it is copied."""
    taken_from: TakenFrom | None = None
    """None until the image is whole."""
    sha256: str = ""
    """Of the file at the target, once it is whole."""
    error: str = ""
    """Why the last attempt ended; the next `ensure_image_taken` starts again."""


@dataclass(frozen=True, slots=True)
class DiskSpec:
    """A disk of its own size: a copy-on-write overlay of an image, or empty."""

    id: UUID
    size_gib: int
    base: BaseImage | None


@dataclass(frozen=True, slots=True)
class Seed:
    """What a guest learns about itself at its first boot (NoCloud). Holds secrets: never logged."""

    vm_id: UUID
    instance_id: str
    """A new one makes the guest run its first boot again."""
    hostname: str
    ssh_keys: tuple[str, ...]
    password_hash: str
    """Of root, as crypt(3) writes it (`$6$…`); `""` for none. The clear text is nowhere."""
    start_script: str
    """Shell commands, no shebang needed; `""` for none."""

    def __repr__(self) -> str:
        """Tell nothing that is secret."""
        return f"Seed(vm_id={self.vm_id})"


@dataclass(frozen=True, slots=True)
class Guest:
    """What the guest itself says through its agent."""

    agent: bool
    """The agent answers."""
    first_boot_done: bool
    start_script_status: int | None
    """Exit status of the start script; None while it has not ended, or if there is none."""
    stage: str = ""
    """Where the first boot is: cloud-init's own word, or `start-script` while that runs; `""` if it says nothing."""
    has_address: bool | None = None
    """A card has an IPv4 address; None when the guest does not say."""
    problems: tuple[str, ...] = ()
    """What cloud-init complained of."""
    log: str = ""
    """The last lines that the first boot wrote to its log."""


NO_GUEST = Guest(agent=False, first_boot_done=False, start_script_status=None)


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
    """By the guest, on all cards together."""
    sent_bytes: int


class Hypervisor(Protocol):
    """One host. All verbs are idempotent, blocking, and callable from several threads."""

    def facts(self) -> HostFacts:
        """Say what the host has."""

    def ping(self) -> None:
        """Return quickly when the host answers; HostUnreachable otherwise."""

    def on_change(self, notify: Callable[[UUID], None]) -> None:
        """Call `notify(vm id)` from any thread when a machine of ours may have changed. Only a shortcut: may miss."""

    # Images and disks
    def ensure_image_copy(self, image: BaseImage) -> ImageCopy:
        """Begin (or find) the copy of an image to the host and return at once with its progress."""

    def image_copies(self) -> frozenset[str]:
        """Digests of the complete copies on the host."""

    def remove_image_copy(self, sha256: str) -> None:
        """Remove a copy; HypervisorError while a disk is based on it."""

    def create_disk(self, disk: DiskSpec) -> None:
        """Make the disk if it is not there; the copy of its image, if it has one, must be ready."""

    def resize_disk(self, disk_id: UUID, size_gib: int, *, vm_id: UUID | None) -> None:
        """Let the disk grow to this size, unless it is as large; a guest that runs with it sees that at once.

        `vm_id` is the VM whose machine has it.
        """

    def remove_disk(self, disk_id: UUID) -> None:
        """Remove the disk with its content and snapshots, if it is there; HypervisorError while a machine has it."""

    def disks(self) -> Mapping[UUID, int]:
        """All our disks on the host with their sizes in GiB."""

    def take_snapshot(self, disk_id: UUID, snapshot_id: UUID) -> None:
        """Keep the disk's content of now under that id, unless there is such a snapshot.

        This verb and the next two raise HypervisorError while a running machine has the disk.
        """

    def revert_disk(self, disk_id: UUID, snapshot_id: UUID) -> None:
        """Bring back the content, and the size, that the disk had when the snapshot was taken."""

    def remove_snapshot(self, disk_id: UUID, snapshot_id: UUID) -> None:
        """Forget a snapshot, if it is there; what the disk holds stays."""

    def snapshots(self, disk_id: UUID) -> frozenset[UUID]:
        """The disk's snapshots."""

    def ensure_image_taken(self, order: ImageOrder) -> ImageTaking:
        """Begin (or find) the taking of an image and return at once with its progress.

        A machine that runs goes on running; one that ends meanwhile has the image taken anew of what it left.
        """

    def takings(self) -> frozenset[UUID]:
        """Images of which the host still keeps something of their taking."""

    def forget_taking(self, image_id: UUID) -> None:
        """End the taking of an image if it is under way, and forget it; the image at its target stays."""

    def write_seed(self, seed: Seed) -> None:
        """Write the VM's seed, replacing an earlier one."""

    def remove_seed(self, vm_id: UUID) -> None:
        """Remove the VM's seed, if it is there."""

    def seeds(self) -> frozenset[UUID]:
        """VMs that have a seed on the host."""

    # Machines
    def domains(self) -> Mapping[UUID, Domain]:
        """All our machines on the host, in one call."""

    def domain(self, vm_id: UUID) -> Domain | None:
        """One of them, or None."""

    def define(self, spec: DomainSpec) -> None:
        """Define the machine, or redefine it (in force at its next start)."""

    def start(self, vm_id: UUID) -> None:
        """Start the machine unless it runs."""

    def plug_disks(self, vm_id: UUID, disks: Sequence[UUID]) -> frozenset[UUID]:
        """Have just these storage disks plugged into a running machine; none is into one that is off.

        Unplugging needs the guest to let go: it is asked, and disks that it still holds on to are answered.
        """

    def press_power_button(self, vm_id: UUID) -> None:
        """Ask the guest to power off, by its agent when that answers and by ACPI; returns at once."""

    def pull_plug(self, vm_id: UUID) -> None:
        """End the machine now, whatever the guest does."""

    def undefine(self, vm_id: UUID) -> None:
        """Forget the machine, ending it first if it runs."""

    def guest(self, vm_id: UUID) -> Guest:
        """Ask the guest's agent how it is; `NO_GUEST` when it does not answer within a second or two."""

    def set_password(self, vm_id: UUID, password_hash: str) -> None:
        """Have the guest take a hash as root's password; GuestSilent, GuestRefused."""

    def replace_keys(self, vm_id: UUID, keys: Sequence[str], *, instead_of: Sequence[str]) -> None:
        """Have root's SSH keys of the guest be `keys` in the place of others; GuestSilent, GuestRefused.

        Keys that are in neither list stay as they are.
        """

    # Measuring
    def stats(self) -> Mapping[UUID, Stats]:
        """What each of our machines that run has used, in one call; one that is busy just now may be missing."""

    def ping_guest(self, vm_id: UUID) -> float | None:
        """How many milliseconds the guest's agent takes to answer; None when it does not within a second or two."""

    # Consoles: each line ends when the machine does, or when its reader closes it
    def open_screen(self, vm_id: UUID) -> socket.socket:
        """Open a line to the machine's screen, keyboard and mouse: RFB without a password; MachineOff."""

    def open_serial(self, vm_id: UUID) -> socket.socket:
        """Open the line to the machine's serial console, from now on; an earlier one ends. MachineOff."""

    def screenshot(self, vm_id: UUID) -> bytes:
        """Take a picture of the machine's screen, as PNG; MachineOff."""

    def console_log(self, vm_id: UUID, *, max_bytes: int) -> bytes:
        """The newest bytes the guest wrote to its serial console; `b""` if there are none."""

    def remove_console_log(self, vm_id: UUID) -> None:
        """Remove the serial console's log, if it is there."""

    def close(self) -> None:
        """Let go of the host."""


def spec_digest(spec: DomainSpec) -> str:
    """A short digest of a machine's spec: what `Domain.spec_digest` is compared with."""
    return hashlib.sha256(repr(spec).encode()).hexdigest()[:16]


def serial_of(disk_id: UUID) -> str:
    """The serial number by which a guest finds a disk: virtio carries 20 characters."""
    return disk_id.hex[:20]
