"""What is said across the boundary: what the cloud asks for, what a host tells of itself, and how it refuses."""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final
from uuid import UUID

from cumulet.errors import Failure, NotAtOnce, Unavailable

MOST_STORAGE_DISKS: Final = 8
"""How many storage disks a machine has room for beside its boot disk."""


class HypervisorError(Failure):
    """The host refused or failed to do what was asked."""

    for_owner = "the host fails at it, and the operator's log says why"


class HostUnreachable(HypervisorError, Unavailable):
    """The host does not answer now; nothing is known about what runs there."""

    for_owner = "the host does not answer"


class HostLost(HostUnreachable, NotAtOnce):
    """The host stopped to answer under this very call: whether it was done nobody knows, and it may be the reason."""


class GuestSilent(HypervisorError):
    """The guest's agent does not answer: the guest is off, boots, hangs, or has none."""

    for_owner = "the guest's agent does not answer"


class GuestRefused(HypervisorError):
    """The guest's agent answers that it will not or cannot, in words of its own; asking again is of no use."""

    for_owner = ""


class MachineOff(HypervisorError):
    """What was asked for takes a machine that runs."""

    for_owner = "the machine is off"


class Power(enum.Enum):
    """Whether a VM's machine runs on its host."""

    RUNNING = "running"
    PAUSED = "paused"
    STALLED = "stalled"
    """Its host failed to write to a disk of it, and keeps it still until `resume`: its guest knows of no failure."""
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
    disk_gib: Mapping[str, int]
    """By disk pool: what is free for disks in its file system, and what they take already; 0 for one not mounted."""
    cpu_model: str
    accelerator: str
    """`kvm`, or `tcg` where KVM is missing or does not work (software emulation: a supported, slow mode)."""
    version: str
    """Of the hypervisor, for people: `QEMU 7.2.22, libvirt 9.0.0`."""
    routes: tuple[IPv4Network, ...]
    """What it reaches by routes of its own: a network of VMs with such a range could not."""
    gpus: Mapping[str, int] = field(default_factory=dict)
    """How many of each model, by its name."""


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
class ImageName:
    """A public or private image as machines refer to it."""

    sha256: str
    format: str
    """`qcow2` or `raw`."""


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
    boot_image: ImageName
    """What the boot disk is based on, as we know it: what the disk itself says its machine may have written."""
    disks: tuple[UUID, ...]
    """Storage disks, in the order in which the guest finds them at its start."""
    nics: tuple[NicSpec, ...]
    firmware: Firmware = Firmware.BIOS
    """What its image starts by."""


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
    pool: str
    """The data center's disk pool it is made in; from then on it is found wherever it lies."""


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
    """Shell commands, no shebang needed, or other user data (`parts_of`); `""` for none."""

    def without_secrets(self) -> Seed:
        """What a guest needs to know itself again once its first boot is over."""
        return replace(self, password_hash="", start_script="")

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


def spec_digest(spec: DomainSpec) -> str:
    """A short digest of a machine's spec: what `Domain.spec_digest` is compared with."""
    return hashlib.sha256(repr(spec).encode()).hexdigest()[:16]


def serial_of(disk_id: UUID) -> str:
    """The serial number by which a guest finds a disk: virtio carries 20 characters."""
    return disk_id.hex[:20]
