"""One real host, as the cloud sees it: each verb of the boundary, done on the connection that it may hold up."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from uuid import UUID

import libvirt

from cumulet.hypervisor import (
    BaseImage,
    DiskSpec,
    Domain,
    DomainSpec,
    Guest,
    HostFacts,
    HypervisorError,
    ImageCopy,
    ImageOrder,
    ImageTaking,
    Seed,
    Stats,
)
from cumulet.hypervisor.libvirt import (
    consoles,
    domains,
    facts,
    guest,
    logins,
    plugging,
    snapshots,
    stats,
    volumes,
)
from cumulet.hypervisor.libvirt.agents import Agents
from cumulet.hypervisor.libvirt.connection import Connection, notice_silence
from cumulet.hypervisor.libvirt.consoles import SerialLines
from cumulet.hypervisor.libvirt.events import Changes
from cumulet.hypervisor.libvirt.files import ids_in, read_log, remove, remove_log, write_whole
from cumulet.hypervisor.libvirt.image_capture import ImageCaptures
from cumulet.hypervisor.libvirt.image_copies import ImageCopies
from cumulet.hypervisor.libvirt.layout import HostLayout
from cumulet.hypervisor.libvirt.seed import seed_image


class LibvirtHypervisor:
    """One host with libvirt and QEMU.

    libvirtd works on five requests of one connection at a time, so what is quick never waits behind what is slow:
    `_reads` also brings the events, `_works` starts and stops machines, `_consoles` carries what guests print and show.
    Guests' agents are spoken with beside libvirtd.
    """

    def __init__(self, uri: str, layout: HostLayout) -> None:
        self._layout = layout
        self._copies = ImageCopies(layout)
        self._changes = Changes(layout, self._list_ids)
        self._reads = Connection(uri, prepare=self._changes.register)
        self._works = Connection(uri, prepare=notice_silence)
        self._agents = Agents(self._reads, on_breach=self._changes.tell)
        self._captures = ImageCaptures(layout, self._works, self._agents)
        self._lines = SerialLines()
        self._consoles = Connection(uri, prepare=self._lines.prepare)

    # Host
    def facts(self) -> HostFacts:
        """Say what the host has."""
        return self._works.call(lambda link: facts.read_facts(link, self._layout))

    def ping(self) -> None:
        """Return when libvirtd answers."""
        self._reads.call(lambda link: link.getLibVersion())

    def on_change(self, notify: Callable[[UUID], None]) -> None:
        """Call `notify(vm id)`, from a thread of ours, for each of libvirt's events and after each outage."""
        self._changes.listen(notify)

    # Images and disks
    def ensure_image_copy(self, image: BaseImage) -> ImageCopy:
        """Begin or find the copy."""
        return self._copies.ensure(image)

    def image_copies(self) -> frozenset[str]:
        """Digests of the complete copies."""
        return self._copies.complete()

    def remove_image_copy(self, sha256: str) -> None:
        """Remove a copy that no disk is based on."""
        path = self._copies.find(sha256)
        if path is None:
            return

        def refuse_base() -> None:
            based = self._works.call(lambda link: volumes.disks_based_on(link, str(path), self._layout))
            if based:
                raise HypervisorError(
                    f"image {sha256[:12]} is the base of {len(based)} disks, first {based[0]}"
                )

        self._copies.remove(path, check=refuse_base)

    def create_disk(self, disk: DiskSpec) -> None:
        """Make the disk if it is not there."""
        with self._copies.held(disk.base) if disk.base else nullcontext():
            self._works.call(lambda link: volumes.create_volume(link, disk, self._layout))

    def resize_disk(self, disk_id: UUID, size_gib: int, *, vm_id: UUID | None) -> None:
        """Let the disk grow, under its guest or without one."""
        path = str(self._layout.pools.find_disk(disk_id))

        def grow(link: libvirt.virConnect) -> None:
            domain = domains.find_running(link, vm_id) if vm_id else None
            if domain is not None:
                plugging.grow(domain, path, size_gib)
            else:
                volumes.grow_volume(link, disk_id, size_gib, self._layout)

        self._works.call(grow)

    def remove_disk(self, disk_id: UUID) -> None:
        """Remove the disk, if it is there and no machine has it."""
        self._works.call(lambda link: volumes.remove_volume(link, disk_id, self._layout))

    def disks(self) -> Mapping[UUID, int]:
        """All our disks with their sizes in GiB."""
        return self._reads.call(lambda link: volumes.list_volumes(link, self._layout))

    def take_snapshot(self, disk_id: UUID, snapshot_id: UUID) -> None:
        """Keep the disk's content of now."""
        snapshots.take(self._layout.pools.find_disk(disk_id), snapshot_id)

    def revert_disk(self, disk_id: UUID, snapshot_id: UUID) -> None:
        """Bring a snapshot's content back."""
        snapshots.revert(self._layout.pools.find_disk(disk_id), snapshot_id)

    def remove_snapshot(self, disk_id: UUID, snapshot_id: UUID) -> None:
        """Forget a snapshot."""
        snapshots.remove(self._layout.pools.find_disk(disk_id), snapshot_id)

    def snapshots(self, disk_id: UUID) -> frozenset[UUID]:
        """The disk's snapshots."""
        return snapshots.found_in(self._layout.pools.find_disk(disk_id))

    def ensure_image_taken(self, order: ImageOrder) -> ImageTaking:
        """Begin or find the taking."""
        return self._captures.ensure(order)

    def takings(self) -> frozenset[UUID]:
        """Images of whose taking anything is here."""
        return self._captures.known()

    def forget_taking(self, image_id: UUID) -> bool:
        """Give it up."""
        return self._captures.forget(image_id)

    def write_seed(self, seed: Seed) -> None:
        """Write the seed whole."""
        write_whole(self._layout.seed(seed.vm_id), seed_image(seed))

    def remove_seed(self, vm_id: UUID) -> None:
        """Remove the seed, if it is there."""
        remove(self._layout.seed(vm_id))

    def seeds(self) -> frozenset[UUID]:
        """VMs that have a seed."""
        return ids_in(self._layout.seeds, ".iso")

    # Machines
    def domains(self) -> Mapping[UUID, Domain]:
        """All our machines."""
        return self._reads.call(lambda link: domains.list_domains(link, self._layout))

    def domain(self, vm_id: UUID) -> Domain | None:
        """One machine, or None."""
        return self._reads.call(lambda link: domains.look_up(link, vm_id, self._layout))

    def define(self, spec: DomainSpec) -> None:
        """Define or redefine the machine."""
        self._works.call(lambda link: domains.define(link, spec, self._layout))

    def start(self, vm_id: UUID) -> None:
        """Start the machine unless it runs."""
        self._works.call(lambda link: domains.start(link, vm_id))

    def resume(self, vm_id: UUID) -> None:
        """Let the machine go on if it is stalled."""
        self._works.call(lambda link: domains.resume(link, vm_id))

    def plug_disks(self, vm_id: UUID, disks: Sequence[UUID]) -> frozenset[UUID]:
        """Plug and unplug storage disks."""
        return self._works.call(lambda link: plugging.plug(link, vm_id, disks, self._layout))

    def press_power_button(self, vm_id: UUID) -> None:
        """Ask the guest to power off."""
        guest.shut_down(self._agents, vm_id)
        self._works.call(lambda link: domains.press_power_button(link, vm_id))

    def pull_plug(self, vm_id: UUID) -> None:
        """End the machine now."""
        self._works.call(lambda link: domains.destroy(link, vm_id))

    def undefine(self, vm_id: UUID) -> None:
        """Forget the machine, ending it first, and what its QEMU had to say."""
        self._works.call(lambda link: domains.undefine(link, vm_id))
        remove_log(self._layout.qemu_log(vm_id))

    def guest(self, vm_id: UUID) -> Guest:
        """Ask the guest's agent."""
        return guest.ask_guest(self._agents, vm_id)

    def why_left_alone(self, vm_id: UUID) -> str:
        """Say why the guest's agent is asked nothing."""
        return self._agents.why_left_alone(vm_id)

    def set_password(self, vm_id: UUID, password_hash: str) -> None:
        """Have the guest take a password."""
        logins.set_password(self._agents, vm_id, password_hash)

    def replace_keys(self, vm_id: UUID, keys: Sequence[str], *, instead_of: Sequence[str]) -> None:
        """Have the guest take keys in the place of others."""
        logins.replace_keys(self._agents, vm_id, keys, instead_of=instead_of)

    # Measuring
    def stats(self) -> Mapping[UUID, Stats]:
        """Measure our machines that run."""
        return self._works.call(lambda link: stats.read_stats(link, self._layout))

    def ping_guest(self, vm_id: UUID) -> float | None:
        """Measure how quick the guest's agent is."""
        return guest.ping(self._agents, vm_id)

    # Consoles
    def open_screen(self, vm_id: UUID) -> socket.socket:
        """Open a line to QEMU's VNC server."""
        return self._reads.call(lambda link: consoles.open_screen(link, vm_id))

    def open_serial(self, vm_id: UUID) -> socket.socket:
        """Open the line to the serial console, taking it over."""
        return self._consoles.call(lambda link: self._lines.open(link, vm_id))

    def screenshot(self, vm_id: UUID) -> bytes:
        """Take a picture of the screen."""
        return self._consoles.call(lambda link: consoles.take_screenshot(link, vm_id))

    def console_log(self, vm_id: UUID, *, max_bytes: int) -> bytes:
        """The newest of what the guest wrote to its serial console."""
        return read_log(self._layout.console(vm_id), max_bytes)

    def remove_console_log(self, vm_id: UUID) -> None:
        """Remove the log, if it is there."""
        remove_log(self._layout.console(vm_id))

    def close(self) -> None:
        """Let go of the host; machines run on."""
        self._changes.close()
        self._lines.close()
        for connection in (self._reads, self._works, self._consoles):
            connection.close()

    def _list_ids(self) -> list[UUID]:
        return self._reads.call(lambda link: domains.list_ids(link, self._layout))
