"""Gives PCI functions to VFIO, by which QEMU passes them to a machine, and speaks with it where /sys has no word for it.

    function ──driver_override──▶ vfio-pci ──▶ /dev/vfio/GROUP ──opened by one process alone──▶ container ──▶ device

What has a group open has all of its functions: QEMU does as long as its machine runs.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from cumulet.hypervisor.errors import GpuInUse, GpuUnclean
from cumulet.hypervisor.pci import read_function, write

ROOT: Final = Path("/")
DRIVER: Final = "vfio-pci"
NOT_GIVEN: Final = "the GPU could not be given to the machine"

# From the kernel's <linux/vfio.h>: all are numbers of its one type, without sizes.
SET_IOMMU: Final = 0x3B66
GROUP_SET_CONTAINER: Final = 0x3B68
GROUP_UNSET_CONTAINER: Final = 0x3B69
GROUP_GET_DEVICE_FD: Final = 0x3B6A
DEVICE_GET_REGION_INFO: Final = 0x3B6C
DEVICE_PCI_HOT_RESET: Final = 0x3B71
TYPE1V2_IOMMU: Final = 3
BAR0: Final = 0
CONFIG: Final = 7
"""Numbers of a device's regions."""
REGION_INFO: Final = struct.Struct("=IIIIQQ")
"""Its own size, flags, the region's number, capabilities, the region's size and where it is."""
COMMAND: Final = 4
MEMORY_ENABLED: Final = 2


def bind_for_vms(addresses: Sequence[str], root: Path = ROOT) -> None:
    """Have vfio-pci hold these functions, whichever driver has them now; GpuUnclean says of which that failed, and how."""
    bus = root / "sys/bus/pci"
    unbound = [one for one in addresses if driver_of(bus, one) != DRIVER]
    if unbound:
        load_driver(bus)
    for address in unbound:
        bind(bus, address)


def driver_of(bus: Path, address: str) -> str:
    """Name the driver that has a function."""
    function = read_function(bus / "devices", address)
    if not function.pci_id:
        raise GpuUnclean(f"GPU {address} is not on the bus", for_owner=NOT_GIVEN)
    return function.driver


def load_driver(bus: Path) -> None:
    """Load vfio-pci unless it is there."""
    if not (bus / "drivers" / DRIVER).exists():
        done = subprocess.run(("modprobe", DRIVER), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise GpuUnclean(f"the host has no {DRIVER}: {done.stderr.strip()}", for_owner=NOT_GIVEN)


def bind(bus: Path, address: str) -> None:
    """Take a function from its driver and have vfio-pci probe it; it stays vfio-pci's whatever is loaded later."""
    try:
        write(bus / "devices" / address / "driver_override", DRIVER)
        if driver := driver_of(bus, address):
            write(bus / "drivers" / driver / "unbind", address)
        write(bus / "drivers_probe", address)
    except OSError as error:
        raise GpuUnclean(
            f"{address} could not be bound to {DRIVER}: {error.filename}: {error.strerror}",
            for_owner=NOT_GIVEN,
        ) from error
    if (driver := driver_of(bus, address)) != DRIVER:
        taken = f"{driver} took it" if driver else "it refused, and the host's kernel log says why"
        raise GpuUnclean(f"{address} could not be bound to {DRIVER}: {taken}", for_owner=NOT_GIVEN)


@contextmanager
def held_groups(addresses: Sequence[str], root: Path = ROOT) -> Iterator[Mapping[str, int]]:
    """Have the IOMMU groups of bound functions open, by function: no machine can start with them meanwhile.

    GpuInUse when one is open already.
    """
    with ExitStack() as stack:
        groups = {one: group_of(one, root) for one in addresses}
        files: dict[str, int] = {}
        for one, number in groups.items():
            if number not in files:
                files[number] = stack.enter_context(open_group(one, number, root))
        yield {one: files[number] for one, number in groups.items()}


def group_of(address: str, root: Path) -> str:
    """Give the number of a function's IOMMU group."""
    try:
        return (root / "sys/bus/pci/devices" / address / "iommu_group").readlink().name
    except OSError as error:
        raise GpuUnclean(f"{address} is in no IOMMU group", for_owner=NOT_GIVEN) from error


@contextmanager
def open_group(address: str, number: str, root: Path) -> Iterator[int]:
    """Open a function's group, which the kernel lets one process do."""
    try:
        file = os.open(root / "dev/vfio" / number, os.O_RDWR)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise GpuInUse(
                f"GPU {address} is in use, by a machine or something else on the host: its IOMMU group {number} is open"
            ) from error
        raise GpuUnclean(f"GPU {address}: {error.filename}: {error.strerror}", for_owner=NOT_GIVEN) from error
    try:
        yield file
    finally:
        os.close(file)


@contextmanager
def open_device(address: str, group: int, root: Path = ROOT) -> Iterator[int]:
    """Open a function as QEMU does, which wakes it, enables it and resets it where it can by itself; OSError if that fails."""
    with ExitStack() as stack:
        container = os.open(root / "dev/vfio/vfio", os.O_RDWR)
        stack.callback(os.close, container)
        fcntl.ioctl(group, GROUP_SET_CONTAINER, bytearray(struct.pack("i", container)))
        stack.callback(fcntl.ioctl, group, GROUP_UNSET_CONTAINER)
        fcntl.ioctl(container, SET_IOMMU, TYPE1V2_IOMMU)
        device = fcntl.ioctl(group, GROUP_GET_DEVICE_FD, bytearray(f"{address}\0".encode()))
        stack.callback(os.close, device)
        yield device


def hot_reset(address: str, groups: Mapping[str, int], root: Path = ROOT) -> None:
    """Reset all that shares a function's bus, which must be in these groups; OSError if that fails."""
    files = sorted(set(groups.values()))
    request = struct.Struct(f"=III{len(files)}i")
    with open_device(address, groups[address], root) as device:
        fcntl.ioctl(
            device, DEVICE_PCI_HOT_RESET, bytearray(request.pack(request.size, 0, len(files), *files))
        )


def enable_memory(device: int) -> None:
    """Let an open device answer at the addresses of its BARs."""
    at = region_offset(device, CONFIG) + COMMAND
    (command,) = struct.unpack("<H", os.pread(device, 2, at))
    os.pwrite(device, struct.pack("<H", command | MEMORY_ENABLED), at)


def read_register(device: int, register: int) -> int:
    """Read 32 bits of an open device's first BAR."""
    (value,) = struct.unpack("<I", os.pread(device, 4, region_offset(device, BAR0) + register))
    return int(value)


def region_offset(device: int, region: int) -> int:
    """Tell where in an open device's file a region begins."""
    answer = bytearray(REGION_INFO.pack(REGION_INFO.size, 0, region, 0, 0, 0))
    fcntl.ioctl(device, DEVICE_GET_REGION_INFO, answer)
    return int(REGION_INFO.unpack(answer)[-1])
