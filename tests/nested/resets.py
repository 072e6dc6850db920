"""How devices of all sorts are reset on a nested machine, by the product's own parts and a real kernel."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

from cumulet.hypervisor import HypervisorError, vfio
from cumulet.hypervisor.gpu_cleaning import clean_card, clean_gpu
from cumulet.hypervisor.pci import names_in, read_function, read_gpu, read_gpus

DEVICES = Path("/sys/bus/pci/devices")
CLEANINGS = 20
DISK, NIC, COPIER = "1b36:0010", "8086:10d3", "1234:11e8"


def reset_all_sorts() -> dict[str, str]:
    """Say of each what came of it; empty where nothing went wrong."""
    (card,) = (gpu for gpu in read_gpus().gpus if len(gpu.functions) > 1)
    return {
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


def clean(pci_id: str) -> str:
    """Clean any device as if it were a GPU."""
    functions = {address: read_function(DEVICES, address) for address in names_in(DEVICES)}
    try:
        clean_card(read_gpu(DEVICES, find(pci_id), functions))
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
