"""Machines on a real host that go to another one while they run: libvirt's own migration, from libvirtd to libvirtd.

All of it goes over unix sockets that whoever moves the machine carries between the hosts. The other libvirtd holds the
machine still at the end: libvirt by itself would let it go on there before it knows that it is off here.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Event, Lock, Thread
from time import monotonic
from typing import Final
from uuid import UUID

import libvirt

from cumulet.hypervisor import DiskSpec, DomainSpec, Expected, HypervisorError, Power
from cumulet.hypervisor.libvirt import domains, terms
from cumulet.hypervisor.libvirt.ceph.secrets import tell_keys
from cumulet.hypervisor.libvirt.connection import Connection
from cumulet.hypervisor.libvirt.disks import LibvirtDisks
from cumulet.hypervisor.libvirt.domain_xml import NAMESPACE, domain_xml, read_mark, with_start
from cumulet.hypervisor.libvirt.gates import DISKS, LIBVIRTD, MEMORY, Gates, clear_gates, connect, gate_path
from cumulet.hypervisor.libvirt.going_down import goes_down
from cumulet.hypervisor.libvirt.move_xml import copied_disks, moved_xml, own_files
from cumulet.hypervisor.libvirt.paths import HostPaths

FLAGS: Final = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PEER2PEER
    | libvirt.VIR_MIGRATE_PERSIST_DEST
    | libvirt.VIR_MIGRATE_PAUSED
    | libvirt.VIR_MIGRATE_AUTO_CONVERGE
    | libvirt.VIR_MIGRATE_UNSAFE
)
"""`UNSAFE`: which directories are the same on both hosts is known by their identity; libvirt knows some file systems by name."""
LOOK_SECONDS: Final = 0.02
"""Between looks at whether it stands still yet."""
LOOKS_A_WORD: Final = 25
"""So many, and how far it is is told."""


class LibvirtLiveMoves:
    """Machines that leave one host, or come to it; `moves` waits for what may take minutes."""

    def __init__(self, paths: HostPaths, reads: Connection, moves: Connection, disks: LibvirtDisks) -> None:
        self._paths = paths
        self._reads = reads
        self._moves = moves
        self._disks = disks
        self._gates: dict[UUID, Gates] = {}
        self._lock = Lock()

    def prepare(self, vm_id: UUID) -> str:
        """Open its gates and describe it."""
        which = libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE
        running = self._reads.call(lambda link: str(domains.find_domain(link, vm_id).XMLDesc(which)))
        with self._lock:
            self._close_gates(vm_id)
            self._gates[vm_id] = Gates(self._paths, vm_id)
        return running

    def expect(
        self,
        spec: DomainSpec,
        disks: Sequence[DiskSpec],
        running: str,
        *,
        shared: frozenset[UUID] = frozenset(),
    ) -> Expected:
        """Make its disks, and describe it on this host."""
        terms.keep(self._paths, spec.id, spec.term)
        clear_gates(self._paths, spec.id)
        for disk in disks:
            if disk.id not in shared:
                self._disks.create(disk)
        self._reads.call(lambda link: tell_keys(link, self._paths.pools.ceph))
        places = {disk.id: self._paths.pools.find_disk(disk.id) for disk in disks}
        return Expected(
            running=moved_xml(running, spec, self._paths, disks=places),
            defined=domain_xml(spec, self._paths, disks=places),
            copied=copied_disks(running, shared),
        )

    def open_gate(self, vm_id: UUID) -> socket.socket:
        """Wait for its next connection."""
        with self._lock:
            if vm_id not in self._gates:
                raise HypervisorError(f"the machine of VM {vm_id} is not leaving")
            return self._gates[vm_id].open()

    def enter(self, vm_id: UUID, way: str) -> socket.socket:
        """Connect to libvirtd, or to its QEMU."""
        return connect(self._paths, vm_id, way)

    def leave(
        self, vm_id: UUID, expected: Expected, hear: Callable[[float], None], *, term: int = 0
    ) -> float:
        """Have libvirtd send it to the other one."""
        watch = Watch(self._reads, vm_id, hear)
        try:
            terms.keep(self._paths, vm_id, term)
            Thread(target=watch.look, name=f"leaving {vm_id}", daemon=True).start()
            self._moves.call(lambda link: migrate(link, vm_id, expected, self._paths))
            return monotonic() - watch.ran_at
        finally:
            watch.ended.set()
            with self._lock:
                self._close_gates(vm_id)

    def stay(self, vm_id: UUID) -> None:
        """Close its gates, end its migration if there is one, and wait until nothing of it is left."""
        with self._lock:
            self._close_gates(vm_id)
        domains.end_job(self._reads, vm_id)

    def go_on(self, vm_id: UUID, *, term: int = 0) -> None:
        """Resume it, and note on one that has arrived that it ran here."""
        with terms.in_term(self._paths, vm_id, term):
            self._reads.call(lambda link: go_on(link, vm_id, self._paths))

    def _close_gates(self, vm_id: UUID) -> None:
        if gates := self._gates.pop(vm_id, None):
            gates.close()


def migrate(link: libvirt.virConnect, vm_id: UUID, expected: Expected, paths: HostPaths) -> None:
    """Have libvirtd send a domain to the one behind its gate."""
    there = {way: gate_path(paths, vm_id, way) for way in (LIBVIRTD, MEMORY, DISKS)}
    flags = FLAGS
    params: dict[str, str | list[str]] = {
        libvirt.VIR_MIGRATE_PARAM_URI: f"unix://{there[MEMORY]}",
        libvirt.VIR_MIGRATE_PARAM_DEST_XML: expected.running,
        libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: expected.defined,
    }
    if expected.copied:  # an empty list would stand for all of them
        flags |= libvirt.VIR_MIGRATE_NON_SHARED_INC
        params[libvirt.VIR_MIGRATE_PARAM_DISKS_URI] = f"unix://{there[DISKS]}"
        params[libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS] = [*expected.copied]
    destination = f"qemu+unix:///system?socket={there[LIBVIRTD]}"
    domains.find_domain(link, vm_id).migrateToURI3(destination, params, flags)


def go_on(link: libvirt.virConnect, vm_id: UUID, paths: HostPaths) -> None:
    """Resume a domain that stands still; who looks at one that has arrived knows from then on that it ran."""
    domain = domains.find_domain(link, vm_id)
    state, reason = domain.state()
    seen = domains.look_at(domain, paths, state, reason, goes_down)
    if seen.power is Power.ARRIVED:
        live = domains.read_metadata(domain, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        config = domains.read_metadata(domain, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
        renewed = with_start(config, read_mark(live).started)
        config_only = libvirt.VIR_DOMAIN_AFFECT_CONFIG
        domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, renewed, "cumulet", NAMESPACE, config_only)
    if seen.power in {Power.ARRIVED, Power.IN_MOVE, Power.PAUSED}:
        own_files(domain.XMLDesc())
        domain.resume()


class Watch:
    """Looks at a machine that leaves: how far it is, and until when it ran."""

    def __init__(self, reads: Connection, vm_id: UUID, hear: Callable[[float], None]) -> None:
        self._reads = reads
        self._vm_id = vm_id
        self._hear = hear
        self.ended = Event()
        self.ran_at = monotonic()

    def look(self) -> None:
        """Look until it has ended, or stands still."""
        looks = 0
        with suppress(HypervisorError):
            while not self.ended.wait(LOOK_SECONDS) and self._reads.call(self._runs):
                self.ran_at, looks = monotonic(), looks + 1
                if looks % LOOKS_A_WORD == 0:
                    self._hear(self._reads.call(self._over))

    def _runs(self, link: libvirt.virConnect) -> bool:
        return bool(domains.find_domain(link, self._vm_id).state()[0] == libvirt.VIR_DOMAIN_RUNNING)

    def _over(self, link: libvirt.virConnect) -> float:
        stats = domains.find_domain(link, self._vm_id).jobStats()
        total, left = stats.get("data_total", 0), stats.get("data_remaining", 0)
        return (total - left) / total if total else 0.0
