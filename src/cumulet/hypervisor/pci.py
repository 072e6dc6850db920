"""Reads the GPUs of the host that it runs on from the kernel's PCI tree in /sys.

There may be hundreds of devices and this is done all the time, so of most of them one small file is read.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from cumulet.hypervisor.gpus import KINDS, VENDORS, HostGpus, Iommu, PciFunction, PciGpu

SYS: Final = Path("/sys")
BRIDGE: Final = "0604"
ADDRESS: Final = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
IOMMU_TABLES: Final = ("DMAR", "IVRS")
"""What the firmware calls them, of Intel and of AMD."""
GONE: Final = frozenset({errno.ENOENT, errno.ENODEV})
LARGEST: Final = 4096
BARS: Final = 6
IORESOURCE_MEM: Final = 0x200
OFF_THE_BUS: Final = b"\xff\xff"
ERROR_COUNTERS: Final = ("aer_dev_fatal", "aer_dev_nonfatal")
Functions = Mapping[str, PciFunction]
"""By address, in the order of addresses."""


def read_gpus(sys: Path = SYS) -> HostGpus:
    """Look at all GPUs; `sys` is where the tree begins."""
    bus = sys / "bus/pci/devices"
    functions = {address: read_function(bus, address) for address in names_in(bus)}
    return HostGpus(
        read_iommu(sys), tuple(read_gpu(bus, address, functions) for address in find_gpus(bus, functions))
    )


def read_iommu(sys: Path) -> Iommu:
    """Tell whether devices are kept inside of their VMs, and where that ends if not."""
    if not names_in(sys / "class/iommu"):
        tables = sys / "firmware/acpi/tables"
        return Iommu.OFF if any((tables / name).exists() for name in IOMMU_TABLES) else Iommu.NO_TABLE
    irqs = sys / "kernel/irq"
    remapped = any(read_text(irqs / number / "chip_name").startswith("IR-") for number in names_in(irqs))
    return Iommu.ON if remapped else Iommu.NO_REMAPPING


def read_function(bus: Path, address: str) -> PciFunction:
    """Read what the kernel says of any function in one file."""
    lines = (line.partition("=") for line in read_text(f"{bus}/{address}/uevent").splitlines())
    told = {name: value for name, _, value in lines}
    return PciFunction(
        address=address,
        pci_id=told.get("PCI_ID", "").lower(),
        kind=told.get("PCI_CLASS", "").zfill(6)[:4].lower(),
        driver=told.get("DRIVER", ""),
    )


def find_gpus(bus: Path, functions: Functions) -> Iterator[str]:
    """Give the address of each card's first function that is a GPU; parts that a card was split into are none."""
    slots = set()
    for address, function in functions.items():
        if function.kind not in KINDS or function.pci_id[:4] not in VENDORS:
            continue
        if slot_of(address) not in slots and not is_virtual(bus, address):
            slots.add(slot_of(address))
            yield address


def read_gpu(bus: Path, address: str, functions: Functions) -> PciGpu:
    """Read all about a GPU."""
    folder = bus / address
    own = functions_of_card(bus, address, functions)
    bridges = bridges_above(folder)
    group = {one: functions[one] for one in names_in(folder / "iommu_group/devices") if one in functions}
    node = int(read_text(folder / "numa_node") or -1)
    return PciGpu(
        functions=tuple(own.values()),
        subsystem_id=f"{read_id(folder / 'subsystem_vendor')}:{read_id(folder / 'subsystem_device')}",
        revision=read_id(folder / "revision"),
        iommu_group=(folder / "iommu_group").readlink().name if (folder / "iommu_group").exists() else "",
        group_others=tuple(one for one in group.values() if one.address not in own and one.kind != BRIDGE),
        numa_node=None if node < 0 else node,
        bridges=bridges,
        bar_bytes=tuple(bar_sizes(read_text(folder / "resource"))),
        reset_methods=(
            *read_text(folder / "reset_method").split(),
            *(["bridge"] if bridges and has_bus_alone(own, functions) else []),
        ),
        boot_display=read_text(folder / "boot_vga") == "1",
        virtual_functions=int(read_text(folder / "sriov_numvfs") or 0),
        answers=read(folder / "config", len(OFF_THE_BUS)) != OFF_THE_BUS,
        errors=sum(count_errors(bus / one) for one in own),
    )


def count_errors(folder: Path) -> int:
    """Count the errors that a function has reported, and the kernel could not mend, since it is there (AER)."""
    lines = [line for name in ERROR_COUNTERS for line in read_text(folder / name).splitlines()]
    return sum(int(line.rpartition(" ")[2]) for line in lines if line.startswith("TOTAL"))


def functions_of_card(bus: Path, address: str, functions: Functions) -> Functions:
    """Give the GPU and all else that the card has, which share a slot; virtual functions may have numbers in it too."""
    others = {
        other: function
        for other, function in functions.items()
        if slot_of(other) == slot_of(address) and other != address and not is_virtual(bus, other)
    }
    return {address: functions[address], **others}


def has_bus_alone(own: Functions, functions: Functions) -> bool:
    """Whether a reset of the bus meets nobody but the card."""
    (bus,) = {bus_of(address) for address in own}
    return all(address in own for address in functions if bus_of(address) == bus)


def bridges_above(folder: Path) -> tuple[str, ...]:
    """Tell by where a device's link leads through which bridges it is reached."""
    return tuple(part for part in folder.readlink().parts[:-1] if ADDRESS.fullmatch(part))


def bar_sizes(resource: str) -> Iterator[int]:
    """Read sizes out of lines of `first last flags`; the ROM and what bridges pass on come after the BARs."""
    for line in resource.splitlines()[:BARS]:
        first, last, flags = (int(number, 16) for number in line.split())
        if last and flags & IORESOURCE_MEM:
            yield last - first + 1


def is_virtual(bus: Path, address: str) -> bool:
    """Whether it is a part that SR-IOV has split a card into."""
    return os.path.lexists(f"{bus}/{address}/physfn")


def slot_of(address: str) -> str:
    """Leave the function's number out."""
    return address.rpartition(".")[0]


def bus_of(address: str) -> str:
    """Leave the slot's number out too."""
    return address.rpartition(":")[0]


def names_in(folder: Path) -> list[str]:
    """Name what is in a directory, in order; nothing where there is none."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names are all that is wanted of hundreds
    except FileNotFoundError:
        return []


def read_id(path: Path) -> str:
    """Read a number without its 0x."""
    return read_text(path).removeprefix("0x")


def read_text(path: Path | str) -> str:
    """Read a small file; empty when it is not there."""
    return read(path, LARGEST).decode().strip()


def read(path: Path | str, size: int) -> bytes:
    """Read so many bytes and no more, because of `config` each is asked of the device; none when it has just gone."""
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            return os.read(file, size)
        finally:
            os.close(file)
    except OSError as problem:
        if problem.errno in GONE:
            return b""
        raise


def write(path: Path, text: str) -> None:
    """Write into a file that is there already, all at once, as the kernel reads it; the OSError names the file."""
    try:
        file = os.open(path, os.O_WRONLY)
        try:
            os.write(file, text.encode())
        finally:
            os.close(file)
    except OSError as problem:
        problem.filename = str(path)
        raise
