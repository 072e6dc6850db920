"""GPUs as JSON. The contract has none of this: it is the operator's."""

from __future__ import annotations

from datetime import datetime

from cumulet.wire import ProtoEnum, Wire


class GpuState(ProtoEnum):
    """Whether a VM can have it."""

    UNKNOWN = "GPU_STATE_UNKNOWN", 0
    UNFIT = "UNFIT", 1
    FREE = "FREE", 2
    ABSENT = "ABSENT", 3
    HELD = "HELD", 4
    CLEANING = "CLEANING", 5
    QUARANTINED = "QUARANTINED", 6


class GpuFunction(Wire):
    """One function of a PCI device."""

    address: str
    pci_id: str
    """Vendor and device: `10de:2330`."""
    kind: str
    """PCI class and subclass: `0302`."""
    driver: str
    """The host's driver that has it; `""` for none."""


class GpuProblem(Wire):
    """What is wrong with a GPU."""

    problem: str
    cure: str
    """What the operator does about it."""


class GpuPartition(Wire):
    """GPUs of a host that NVSwitches can join for one VM."""

    number: int
    """As the host's fabric manager counts them."""
    gpus: int
    """How many it has."""


class ProvedFunction(Wire):
    """One function of a card, as a small guest saw it that was given the card."""

    address: str
    """On the host."""
    pci_id: str
    bars: list[str]
    """The registers that say where its memory is, as the guest's firmware set them: whole numbers."""
    masters_bus: bool
    """The guest could let it reach memory."""


class GpuProof(Wire):
    """What such a guest found."""

    problem: str
    """What was not as it should be; `""` when all was."""
    functions: list[ProvedFunction]
    dma_inside: bool | None
    """It reached the guest's memory; None, as for the next, of a card that does so for its maker's driver alone."""
    dma_outside: bool | None
    """It read memory that is not the guest's."""


class GpuAnswer(Wire, kw_only=True):
    """A GPU of a host."""

    id: str
    """Its host and its address: `node-1:0000:65:00.0`."""
    host_id: str
    address: str
    state: GpuState
    state_time: datetime
    """Since when it is in that state."""
    project_id: str
    """Of the VM that holds it, running or not, as is the next; `""` when none does."""
    vm_id: str
    withdrawn: bool
    """No further VM gets it, for its operator said so."""
    waiting_for: str
    """What keeps it in CLEANING; `""` when nothing does."""
    cleaned_time: datetime | None
    """When it was last seen to be as new."""
    proved_time: datetime | None
    """When it was last given to a small guest that looks at it."""
    proof: GpuProof | None
    """What that found."""
    problems: list[GpuProblem]
    """What keeps it from further VMs."""
    model_id: str
    """This and the next four of its model in the catalogue; `""` and 0 for a card that the catalogue does not know."""
    model_name: str
    vendor_name: str
    memory_gib: int
    fabric: str
    """What joins several of the model beside PCI: `nvswitch`, `xgmi` or `""`."""
    pci_id: str
    subsystem_id: str
    revision: str
    functions: list[GpuFunction]
    """All that the card has; the GPU is the first."""
    iommu_group: str
    group_others: list[GpuFunction]
    """What is in that group and is not the card's."""
    numa_node: int | None
    """None where the firmware does not say."""
    bridges: list[str]
    """Addresses of the root port and the switches' ports above it, from the root on."""
    switch: str
    """The last of them that it may share with other GPUs; its own where it shares none."""
    partitions: list[GpuPartition]
    """Those that it is in, by number; of those that have a GPU in common one VM has one."""
    bar_bytes: list[str]
    """Sizes of its memory BARs, whole numbers of 64 bits."""
    reset_methods: list[str]
    boot_display: bool
    virtual_functions: int


class ListGpusResponse(Wire):
    """A page of GPUs."""

    gpus: list[GpuAnswer]
    page_token: str
    page_size: int


class GetGpuResponse(Wire):
    """A GPU."""

    gpu: GpuAnswer
