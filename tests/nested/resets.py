"""How devices of all sorts are reset on a nested machine, and tell of errors, by the product's own parts and a real kernel."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path
from time import perf_counter

from tests.waiting import eventually

from cumulet.hypervisor import HypervisorError, PciGpu, vfio
from cumulet.hypervisor.gpu_cleaning import clean_card, clean_gpu
from cumulet.hypervisor.pci import names_in, read_function, read_gpu, read_gpus

DEVICES = Path("/sys/bus/pci/devices")
CLEANINGS = 20
DISK, NIC, COPIER = "1b36:0010", "8086:10d3", "1234:11e8"
POISONED = 0x1000
"""An error that nothing mends and that is not masked: a packet marked as spoilt."""


def reset_all_sorts() -> dict[str, str | int]:
    """Say of each what came of it; empty where nothing went wrong."""
    (card,) = (gpu for gpu in read_gpus().gpus if len(gpu.functions) > 1)
    return {
        "errors": count_reported_error(),
        "by itself": clean(DISK),
        "failing": clean(NIC),
        "by VFIO": hot_reset([function.address for function in card.functions]),
        "register": f"{read_identity(find(COPIER)):#x}",
    }


def time_cleanings() -> list[float]:
    """Clean the card again and again; gives milliseconds."""
    (card,) = (gpu for gpu in read_gpus().gpus if len(gpu.functions) > 1)
    return [time_cleaning(card.address) for _ in range(CLEANINGS)]


def time_cleaning(address: str) -> float:
    """Clean a GPU; gives milliseconds."""
    before = perf_counter()
    clean_gpu(address)
    return (perf_counter() - before) * 1000


def find(pci_id: str) -> str:
    """Give the address of the first device of a kind."""
    return next(one for one in names_in(DEVICES) if read_function(DEVICES, one).pci_id == pci_id)


def read_card(pci_id: str) -> PciGpu:
    """Read any device as if it were a GPU."""
    functions = {address: read_function(DEVICES, address) for address in names_in(DEVICES)}
    return read_gpu(DEVICES, find(pci_id), functions)


def count_reported_error() -> int:
    """Have the NIC report an error, and count how many more it has reported since."""
    before = read_card(NIC).errors
    subprocess.run(("modprobe", "aer_inject"), check=True)
    bus, slot, function = re.findall(r"[0-9a-f]+", find(NIC))[1:]
    where = (int(bus, 16), int(slot, 16), int(function))
    Path("/dev/aer_inject").write_bytes(struct.pack("<BBBx7I", *where, POISONED, *[0] * 6))
    return eventually(lambda: read_card(NIC).errors - before)


def clean(pci_id: str) -> str:
    """Clean any device as if it were a GPU."""
    try:
        clean_card(read_card(pci_id))
    except HypervisorError as problem:
        return str(problem)
    return ""


def hot_reset(card: list[str]) -> str:
    """Reset a card by VFIO."""
    vfio.bind_for_vms(card)
    with vfio.held_groups(card) as groups:
        try:
            vfio.hot_reset(card[0], groups)
        except OSError as problem:
            return str(problem)
    return ""


def read_identity(address: str) -> int:
    """Read a device's first register, as the one that tells of cleared memory is read."""
    vfio.bind_for_vms([address])
    with vfio.held_groups([address]) as groups, vfio.open_device(address, groups[address]) as device:
        vfio.enable_memory(device)
        return vfio.read_register(device, 0)
