"""Machines on a real host: domains of libvirt's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import libvirt

from cumulet.hypervisor import (
    Domain,
    DomainSpec,
    Stats,
)
from cumulet.hypervisor.libvirt import domains, guests, hotplug, stats, terms
from cumulet.hypervisor.libvirt.agents import Agents
from cumulet.hypervisor.libvirt.ceph.secrets import tell_keys
from cumulet.hypervisor.libvirt.connection import Connection
from cumulet.hypervisor.libvirt.files import remove_log
from cumulet.hypervisor.libvirt.paths import HostPaths


class LibvirtMachines:
    """Machines on one host."""

    def __init__(self, paths: HostPaths, reads: Connection, works: Connection, agents: Agents) -> None:
        self._paths = paths
        self._reads = reads
        self._works = works
        self._agents = agents

    def list(self) -> Mapping[UUID, Domain]:
        """All our machines."""
        return self._reads.call(lambda link: domains.list_domains(link, self._paths))

    def get(self, vm_id: UUID) -> Domain | None:
        """One machine, or None."""
        return self._reads.call(lambda link: domains.look_up(link, vm_id, self._paths))

    def define(self, spec: DomainSpec) -> None:
        """Define or redefine the machine."""
        terms.keep(self._paths, spec.id, spec.term)
        self._works.call(lambda link: domains.define(link, spec, self._paths))

    def start(self, vm_id: UUID, *, term: int = 0) -> None:
        """Start the machine unless it runs."""
        with terms.in_term(self._paths, vm_id, term):
            self._works.call(lambda link: self._start(link, vm_id))

    def resume(self, vm_id: UUID, *, term: int = 0) -> None:
        """Let the machine go on if it is paused on an I/O error."""
        with terms.in_term(self._paths, vm_id, term):
            self._works.call(lambda link: domains.resume(link, vm_id))

    def hotplug(self, vm_id: UUID, disks: Sequence[UUID]) -> frozenset[UUID]:
        """Plug and unplug storage disks."""

        def plug(link: libvirt.virConnect) -> frozenset[UUID]:
            tell_keys(link, self._paths.pools.ceph)
            return hotplug.plug(link, vm_id, disks, self._paths)

        return self._works.call(plug)

    def request_shutdown(self, vm_id: UUID) -> None:
        """Ask the guest to power off."""
        guests.shut_down(self._agents, vm_id)
        self._works.call(lambda link: domains.request_shutdown(link, vm_id))

    def force_off(self, vm_id: UUID) -> None:
        """End the machine now."""
        self._works.call(lambda link: domains.force_off(link, vm_id))

    def undefine(self, vm_id: UUID) -> None:
        """Forget the machine, ending it first, and what its QEMU had to say."""
        self._works.call(lambda link: domains.undefine(link, vm_id))
        remove_log(self._paths.qemu_log(vm_id))

    def keep_term(self, vm_id: UUID, term: int) -> None:
        """Keep a term of the VM."""
        terms.keep(self._paths, vm_id, term)

    def terms(self) -> Mapping[UUID, int]:
        """The terms that are kept."""
        return terms.kept_terms(self._paths)

    def forget_term(self, vm_id: UUID) -> None:
        """Forget one."""
        terms.forget(self._paths, vm_id)

    def stats(self) -> Mapping[UUID, Stats]:
        """Measure our machines that run."""
        return self._works.call(lambda link: stats.read_stats(link, self._paths))

    def _start(self, link: libvirt.virConnect, vm_id: UUID) -> None:
        tell_keys(link, self._paths.pools.ceph)
        domains.start(link, vm_id)
