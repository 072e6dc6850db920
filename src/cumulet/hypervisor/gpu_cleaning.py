"""Makes a GPU of this host as good as new between two machines: bound for VMs, reset, and seen to be healthy.

The kernel resets a GPU under a machine that runs, without a word; so its IOMMU groups are opened first, and held until
all is done.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Final

from cumulet.hypervisor.errors import GpuUnclean
from cumulet.hypervisor.fabric_manager import part
from cumulet.hypervisor.gpus import PciGpu
from cumulet.hypervisor.pci import OFF_THE_BUS, count_errors, read, read_gpus, read_text, write
from cumulet.hypervisor.vfio import (
    ROOT,
    bind_for_vms,
    enable_memory,
    held_groups,
    hot_reset,
    open_device,
    read_register,
)

FUNCTION_RESETS: Final = ("device_specific", "flr", "af_flr")
"""Ways of the kernel's that reset one function alone, and leave nothing of what it held (as `gpu_fitness` judges them)."""
HEADER: Final = struct.Struct("<HH4xI4x24s4xI16x")
"""Of a function's configuration space: vendor, device, class with revision, BARs, and the subsystem's ids."""
MEMORY_CLEARED: Final[Mapping[str, int]] = {
    **dict.fromkeys(
        (
            *("10de:1eb8", "10de:2236", "10de:25b6", "10de:26b9", "10de:27b8", "10de:20b7"),
            *("10de:20b0", "10de:20b1", "10de:20b2", "10de:20b5", "10de:20f1"),
            *("10de:2321", "10de:2330", "10de:2331", "10de:2335"),
        ),
        0x100B20,
    ),
    **dict.fromkeys(("10de:2901", "10de:3182"), 0x8A004C),
}
"""By PCI ids, which register of an NVIDIA GPU is 1 once it has cleared its memory after a reset, where that is known.

T4, A10, A16, L40S, L4, A30, A100, Hopper; the last are Blackwell's.
"""
CLEARED_WITHIN: Final = 5.0
"""Seconds, as NVIDIA's own tools wait."""
LOOK_SECONDS: Final = 0.01


Way = tuple[str, Callable[[], None]]
"""A way to reset a card: what it is called, and what does it, with an OSError when the kernel cannot."""


@dataclass(frozen=True, slots=True)
class Health:
    """What is read of a function that tells whether it is well."""

    address: str
    header: tuple[int | bytes, ...]
    """Of its configuration space, what stays the same; empty when it does not answer."""
    lanes: float | None
    gigatransfers: float | None
    """A second, as its link runs now; None where the kernel does not say."""
    errors: int


def clean_gpu(address: str, root: Path = ROOT) -> None:
    """Make a GPU as good as new; GpuInUse while something has it open, GpuUnclean when it does not become so."""
    clean_card(find_gpu(address, root), root)


def clean_card(gpu: PciGpu, root: Path = ROOT) -> None:
    """Do that with a card that has just been read."""
    functions = [function.address for function in gpu.functions]
    devices = root / "sys/bus/pci/devices"
    bind_for_vms(functions, root)
    with held_groups(functions, root) as groups:
        part(gpu.address, root)
        before = [read_health(devices, one) for one in functions]
        way = reset(gpu, ways_to_reset(gpu, groups, root))
        after = [read_health(devices, one) for one in functions]
        if faults := [fault for pair in zip(before, after, strict=True) for fault in find_faults(*pair)]:
            raise GpuUnclean(
                f"GPU {gpu.address} is not healthy after its reset by {way}: {'; '.join(faults)}"
            )
        if register := MEMORY_CLEARED.get(gpu.pci_id):
            await_cleared_memory(gpu.address, register, groups[gpu.address], root)


def find_gpu(address: str, root: Path) -> PciGpu:
    """Look at a GPU, which must answer."""
    gpu = next((gpu for gpu in read_gpus(root / "sys").gpus if gpu.address == address), None)
    if gpu is None:
        raise GpuUnclean(f"GPU {address} is not on the bus")
    if not gpu.answers:
        raise GpuUnclean(f"GPU {address} does not answer on the bus")
    return gpu


def ways_to_reset(gpu: PciGpu, groups: Mapping[str, int], root: Path) -> Iterator[Way]:
    """Give the ways to reset a card, the best first: one that leaves out functions is the last."""
    devices = root / "sys/bus/pci/devices"
    methods = {
        one.address: method for one in gpu.functions if (method := function_reset(devices / one.address))
    }
    by_functions = " and ".join(sorted(set(methods.values()))), partial(reset_functions, devices, methods)
    whole = len(methods) == len(gpu.functions)
    if whole:
        yield by_functions
    if "bridge" in gpu.reset_methods:
        bridge = devices / gpu.bridges[-1] / "reset_subordinate"
        if bridge.exists():  # since Linux 6.13, and in what is maintained of older ones
            yield f"bridge {gpu.bridges[-1]}", partial(write, bridge, "1")
        yield "VFIO", partial(hot_reset, gpu.address, groups, root)
    if gpu.address in methods and not whole:
        yield by_functions


def reset(gpu: PciGpu, ways: Iterator[Way]) -> str:
    """Reset a card the first way that works, and name it."""
    failures = []
    for name, way in ways:
        try:
            way()
        except OSError as error:
            failures.append(
                f"by {name}: {'it does not work' if error.errno == errno.ENOTTY else error.strerror}"
            )
        else:
            return name
    raise GpuUnclean(f"GPU {gpu.address} cannot be reset ({', '.join(failures) or 'there is no way to'})")


def function_reset(device: Path) -> str:
    """Name the way in which a function can be reset by itself; empty for none."""
    return next((one for one in read_text(device / "reset_method").split() if one in FUNCTION_RESETS), "")


def reset_functions(devices: Path, methods: Mapping[str, str]) -> None:
    """Reset functions each by itself, and not by what else the kernel would try when that fails."""
    for address, method in methods.items():
        with only_method(devices / address / "reset_method", method):
            write(devices / address / "reset", "1")


@contextmanager
def only_method(path: Path, method: str) -> Iterator[None]:
    """Leave the kernel one way to reset a function."""
    known = read_text(path)
    write(path, method)
    try:
        yield
    finally:
        write(path, known)


def read_health(devices: Path, address: str) -> Health:
    """Read how a function is."""
    folder = devices / address
    header = read(folder / "config", HEADER.size)
    answers = len(header) == HEADER.size and not header.startswith(OFF_THE_BUS)
    return Health(
        address=address,
        header=HEADER.unpack(header) if answers else (),
        lanes=read_link(folder / "current_link_width"),
        gigatransfers=read_link(folder / "current_link_speed"),
        errors=count_errors(folder),
    )


def read_link(path: Path) -> float | None:
    """Read a number before its unit; a link that is down has none."""
    try:
        words = read_text(path).split()
    except OSError:  # the kernel asks the device, which does not answer: its header tells of that
        return None
    return float(words[0]) if words and words[0][0].isdigit() else None


def find_faults(before: Health, after: Health) -> Iterator[str]:
    """Tell what is wrong with a function, by how it was before its reset."""
    if not after.header:
        yield f"{after.address} does not answer"
    elif before.header and after.header != before.header:
        yield f"{after.address} has other ids or BARs than before"
    if is_below(after.lanes, before.lanes):
        yield f"{after.address} has {after.lanes:g} PCIe lanes, and had {before.lanes:g}"
    if is_below(after.gigatransfers, before.gigatransfers):
        yield f"{after.address} runs at {after.gigatransfers:g} GT/s, and ran at {before.gigatransfers:g}"
    if after.errors > before.errors:
        yield f"{after.address} reported {after.errors - before.errors} PCIe errors"


def is_below(now: float | None, then: float | None) -> bool:
    """Compare what can be compared."""
    return now is not None and then is not None and now < then


def await_cleared_memory(address: str, register: int, group: int, root: Path) -> None:
    """Wait until a GPU says that its memory is clear."""
    until = monotonic() + CLEARED_WITHIN
    try:
        with open_device(address, group, root) as device:
            enable_memory(device)
            while read_register(device, register) != 1:
                if monotonic() > until:
                    raise GpuUnclean(
                        f"GPU {address} did not clear its memory within {CLEARED_WITHIN:g} s of its reset"
                    )
                sleep(LOOK_SECONDS)
    except OSError as error:
        raise GpuUnclean(
            f"GPU {address} does not tell whether its memory is clear: {error.strerror}"
        ) from error
