"""One host, whole: what it has, whether it answers, and its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Protocol
from uuid import UUID

from cumulet.hypervisor.consoles import Consoles
from cumulet.hypervisor.disks import Disks
from cumulet.hypervisor.gpus import Gpus
from cumulet.hypervisor.guests import Guests
from cumulet.hypervisor.images import Images
from cumulet.hypervisor.live_moves import LiveMoves
from cumulet.hypervisor.machines import Machines
from cumulet.hypervisor.seeds import Seeds


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What a host has, before anything is reserved on it."""

    name: str
    cpus: int
    memory_mib: int
    disk_gib: Mapping[str, int]
    """By disk pool: what is free for disks in its file system, and what they take already; 0 for one not mounted."""
    cpu_model: str
    cpu_group: str
    """The same on hosts whose machines find the same processor: between them one can be moved while it runs."""
    accelerator: str
    """`kvm`, or `tcg` where KVM is missing or does not work (software emulation: a supported, slow mode)."""
    version: str
    """Of the hypervisor, for people: `QEMU 7.2.22, libvirt 9.0.0`."""
    routes: tuple[IPv4Network, ...]
    """What it reaches by routes of its own: a network of VMs with such a range could not."""
    boot_id: str
    """The kernel's, made anew at each boot."""
    shared_pools: Mapping[str, str] = field(default_factory=dict)
    """By disk pool that hosts share, the identity that its directory bears; `""` while it is not mounted."""


class Hypervisor(Protocol):
    """One host. All verbs, its parts' too, are idempotent, blocking, and callable from several threads."""

    @property
    def images(self) -> Images:
        """Copies of images, and images captured of disks."""

    @property
    def disks(self) -> Disks:
        """Disks with their snapshots."""

    @property
    def seeds(self) -> Seeds:
        """What guests learn about themselves."""

    @property
    def machines(self) -> Machines:
        """Machines, running or not."""

    @property
    def moves(self) -> LiveMoves:
        """Machines that leave it, or come to it, while they run."""

    @property
    def guests(self) -> Guests:
        """What runs in them."""

    @property
    def consoles(self) -> Consoles:
        """Their screens and serial consoles."""

    @property
    def gpus(self) -> Gpus:
        """Its GPUs."""

    def facts(self) -> HostFacts:
        """Say what the host has."""

    def ping(self) -> None:
        """Return quickly when the host answers; HostUnreachable otherwise."""

    def on_change(self, notify: Callable[[UUID], None]) -> None:
        """Call `notify(vm id)` from any thread when a machine of ours may have changed. Only a shortcut: may miss."""

    def close(self) -> None:
        """Let go of the host."""
