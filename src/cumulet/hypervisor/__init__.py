"""The boundary to one host's machines and disks: what the cloud may ask of a hypervisor, and nothing else.

Two things obey it: `libvirt` for real hosts and `memory` for tests, demos and load. Every verb can be repeated:
it looks first and does only what is missing, because a reconcile that died half-way comes back to its own
unfinished work. Names on the host derive from our ids under the installation's id, so that a repeat finds its
earlier self and two installations on one host never touch each other's things.

A verb that meets a host which does not answer raises `HostUnreachable`; one that the host refuses raises
`HypervisorError` with words an owner can act on.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol
from uuid import UUID

from cumulet.hypervisor.specs import (
    MOST_STORAGE_DISKS,
    NO_GUEST,
    BaseImage,
    DiskSpec,
    Domain,
    DomainSpec,
    Firmware,
    Guest,
    GuestRefused,
    GuestSilent,
    HostFacts,
    HostLost,
    HostUnreachable,
    HypervisorError,
    ImageCopy,
    ImageName,
    ImageOrder,
    ImageTaking,
    MachineOff,
    NicSpec,
    OffReason,
    Power,
    Seed,
    Stats,
    TakenFrom,
    Topology,
    serial_of,
    spec_digest,
)

__all__ = [
    "MOST_STORAGE_DISKS",
    "NO_GUEST",
    "BaseImage",
    "DiskSpec",
    "Domain",
    "DomainSpec",
    "Firmware",
    "Guest",
    "GuestRefused",
    "GuestSilent",
    "HostFacts",
    "HostLost",
    "HostUnreachable",
    "Hypervisor",
    "HypervisorError",
    "ImageCopy",
    "ImageName",
    "ImageOrder",
    "ImageTaking",
    "MachineOff",
    "NicSpec",
    "OffReason",
    "Power",
    "Seed",
    "Stats",
    "TakenFrom",
    "Topology",
    "serial_of",
    "spec_digest",
]


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

    def forget_taking(self, image_id: UUID) -> bool:
        """End the taking of an image if it is under way, and forget it; the image at its target stays.

        Returns at once, with False as long as the copy has not ended or a guest that holds still does not go on yet.
        """

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

    def resume(self, vm_id: UUID) -> None:
        """Let a machine that is stalled go on; it stalls again at once where its host still fails to write."""

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

    def why_left_alone(self, vm_id: UUID) -> str:
        """Why the guest's agent is asked nothing until the machine's next start; `""` when it is asked.

        An agent is left alone once it has sent what no agent sends; who listens to `on_change` is told.
        """

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
