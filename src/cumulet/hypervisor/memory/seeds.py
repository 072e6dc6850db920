"""Seeds on a host in memory."""

from __future__ import annotations

from uuid import UUID

from cumulet.faults import verb
from cumulet.hypervisor import (
    Seed,
)
from cumulet.hypervisor.memory.state import Part


class MemorySeeds(Part):
    """Seeds on one host."""

    @verb
    def write(self, seed: Seed) -> None:
        """Keep the VM's seed."""
        self._contents.seeds[seed.vm_id] = seed

    @verb
    def remove(self, vm_id: UUID) -> None:
        """Forget the VM's seed."""
        self._contents.seeds.pop(vm_id, None)

    @verb
    def list(self) -> frozenset[UUID]:
        """VMs that have a seed."""
        return frozenset(self._contents.seeds)
