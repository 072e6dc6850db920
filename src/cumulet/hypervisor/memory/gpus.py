"""GPUs of a host in memory: all of one model, on two NUMA nodes, two behind each switch, and joined by a fabric or not."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from cumulet.faults import verb
from cumulet.hypervisor import (
    GpuFabric,
    GpuInUse,
    GpuPartition,
    GpuUnclean,
    HostGpus,
    Iommu,
    PciFunction,
    PciGpu,
    Power,
    Proof,
    SeenFunction,
)
from cumulet.hypervisor.gpu_partitions import to_part
from cumulet.hypervisor.memory.state import Part

MADE_UP: Final = "c0de"
"""The vendor of made-up cards: no real one has this number."""
NODES: Final = 2
BEHIND_A_SWITCH: Final = 2
BOARD: Final = 8
"""How many GPUs NVSwitches join."""
FIRST_BAR: Final = 0xFE000000
BAR_BYTES: Final = (16 * 2**20, 128 * 2**30, 32 * 2**20)


class MemoryGpus(Part):
    """GPUs on one host."""

    @verb
    def read(self) -> HostGpus:
        """Look at all of them."""
        return replace(self._state.host_gpus, partitions=self._state.gpu_partitions)

    @verb
    def clean(self, address: str) -> None:
        """Forget what machines left on it, unless one has it or a lever says what is wrong with it."""
        self._clean(address)

    @verb
    def prove(self, address: str) -> Proof:
        """Find it as it is, unless a lever says that it is not given to guests as a whole."""
        self._clean(address)
        (gpu,) = (one for one in self._state.host_gpus.gpus if one.address == address)
        whole = address not in self._state.halved_gpus
        bars = tuple(FIRST_BAR + number for number, _ in enumerate(gpu.bar_bytes)) if whole else ()
        return Proof(tuple(SeenFunction(one.pci_id, bars, masters_bus=whole) for one in gpu.functions), None)

    def _clean(self, address: str) -> None:
        if address not in {gpu.address for gpu in self._state.host_gpus.gpus}:
            raise GpuUnclean(f"GPU {address} is not on the bus")
        running = [one for one in self._contents.machines.values() if one.power is not Power.OFF]
        if any(address in gpu.functions for machine in running for gpu in machine.spec.gpus):
            raise GpuInUse(f"GPU {address} is still open")
        if problem := self._state.sick_gpus.get(address):
            raise GpuUnclean(problem)
        self._contents.active_partitions -= {*to_part(self._state.gpu_partitions, address)}
        self._contents.used_gpus.pop(address, None)


def made_up_id(model: str) -> str:
    """Give the vendor and device that made-up cards of a model have."""
    return f"{MADE_UP}:{zlib.crc32(model.encode()) & 0xFFFF:04x}"


def made_up_gpus(model: str, count: int, fabric: GpuFabric = "") -> HostGpus:
    """Make cards of a model, on each node as many as on the other or one less; an `nvswitch` offers partitions of eight."""
    shares = [count // NODES + (node < count % NODES) for node in range(NODES)]
    places = [(node, number) for node, share in enumerate(shares) for number in range(share)]
    cards = tuple(_cards(made_up_id(model), places))
    return HostGpus(Iommu.ON, cards, tuple(_partitions(cards)) if fabric == "nvswitch" else ())


def _cards(pci_id: str, places: list[tuple[int, int]]) -> Iterator[PciGpu]:
    for group, (node, number) in enumerate(places):
        switch, port = divmod(number, BEHIND_A_SWITCH)
        domain = f"{node:x}{switch:03x}"
        address = f"{domain}:{port + 3:02x}:00.0"
        yield PciGpu(
            functions=(PciFunction(address, pci_id, "0302", "vfio-pci"),),
            subsystem_id=pci_id,
            revision="a1",
            iommu_group=str(group),
            group_others=(),
            numa_node=node,
            bridges=(f"{domain}:00:01.0", f"{domain}:01:00.0", f"{domain}:02:{port:02x}.0"),
            bar_bytes=BAR_BYTES,
            reset_methods=("flr", "bus", "bridge"),
            boot_display=False,
            virtual_functions=0,
            answers=True,
        )


def _partitions(cards: Sequence[PciGpu]) -> Iterator[GpuPartition]:
    """Offer what the fabric manager of an HGX board does: all, halves, pairs and each alone."""
    groups = [cards[at : at + size] for size in (8, 4, 2, 1) for at in range(0, BOARD, size)]
    for number, group in enumerate(groups):
        yield GpuPartition(number, tuple(card.address for card in group))
