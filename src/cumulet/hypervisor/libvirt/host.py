"""One real host: its parts, each on the connections that it may hold up."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from uuid import UUID

from cumulet.hypervisor import HostFacts
from cumulet.hypervisor.libvirt.agents import Agents
from cumulet.hypervisor.libvirt.connection import Connection, notice_silence
from cumulet.hypervisor.libvirt.consoles import LibvirtConsoles
from cumulet.hypervisor.libvirt.copies import CopiesByPool
from cumulet.hypervisor.libvirt.disks import LibvirtDisks
from cumulet.hypervisor.libvirt.domains import list_ids
from cumulet.hypervisor.libvirt.events import Changes
from cumulet.hypervisor.libvirt.facts import read_facts
from cumulet.hypervisor.libvirt.gpus import LibvirtGpus
from cumulet.hypervisor.libvirt.guests import LibvirtGuests
from cumulet.hypervisor.libvirt.image_capture import ImageCaptures
from cumulet.hypervisor.libvirt.images import LibvirtImages
from cumulet.hypervisor.libvirt.live_moves import LibvirtLiveMoves
from cumulet.hypervisor.libvirt.machines import LibvirtMachines
from cumulet.hypervisor.libvirt.paths import HostPaths
from cumulet.hypervisor.libvirt.proof import run_proof_guest
from cumulet.hypervisor.libvirt.seeds import LibvirtSeeds
from cumulet.hypervisor.libvirt.serial_lines import SerialLines


class LibvirtHypervisor:
    """One host with libvirt and QEMU.

    libvirtd works on five requests of one connection at a time, so what is quick never waits behind what is slow:
    `_reads` also brings the events, `_works` starts and stops machines, `_slow` carries what guests print and show,
    `_moves` waits for machines that leave.
    Guests' agents are spoken with beside libvirtd.
    """

    def __init__(self, uri: str, paths: HostPaths) -> None:
        self._paths = paths
        self._changes = Changes(paths, self._list_ids)
        self._reads = Connection(uri, prepare=self._changes.register)
        self._works = Connection(uri, prepare=notice_silence)
        self._agents = Agents(self._reads, on_breach=self._changes.notify_all)
        self._lines = SerialLines()
        self._slow = Connection(uri, prepare=self._lines.prepare)
        copies, captures = CopiesByPool(paths), ImageCaptures(paths, self._works, self._agents)
        self.images = LibvirtImages(paths, self._works, copies, captures)
        self.disks = LibvirtDisks(paths, self._reads, self._works, copies)
        self.seeds = LibvirtSeeds(paths)
        self.machines = LibvirtMachines(paths, self._reads, self._works, self._agents)
        self._moves = Connection(uri, prepare=notice_silence)
        self.moves = LibvirtLiveMoves(paths, self._reads, self._moves, self.disks)
        self.guests = LibvirtGuests(self._agents)
        self.consoles = LibvirtConsoles(paths, self._reads, self._slow, self._lines)
        self.gpus = LibvirtGpus(partial(run_proof_guest, connection=self._works, paths=paths))

    def facts(self) -> HostFacts:
        """Say what the host has."""
        return self._works.call(lambda link: read_facts(link, self._paths))

    def ping(self) -> None:
        """Return when libvirtd answers."""
        self._reads.call(lambda link: link.getLibVersion())

    def on_change(self, notify: Callable[[UUID], None]) -> None:
        """Call `notify(vm id)`, from a thread of ours, for each of libvirt's events and after each outage."""
        self._changes.listen(notify)

    def close(self) -> None:
        """Let go of the host; machines run on."""
        self._changes.close()
        self._lines.close()
        for connection in (self._reads, self._works, self._slow, self._moves):
            connection.close()

    def _list_ids(self) -> list[UUID]:
        return self._reads.call(lambda link: list_ids(link, self._paths))
