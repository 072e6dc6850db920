"""What is played on a nested machine, with the product's own parts; what each story finds is told to the tests outside."""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final
from uuid import uuid4

import msgspec
from tests.nested.cloud import run_cloud
from tests.nested.libvirtd import start_libvirt
from tests.nested.places import CARD, FIXED, NIC, SECRET_AT
from tests.nested.preparing import prepare_and_undo
from tests.nested.resets import reset_all_sorts, time_cleanings
from tests.waiting import eventually

from cumulet.hypervisor import (
    BaseImage,
    DiskSpec,
    DomainSpec,
    GpuSpec,
    Hypervisor,
    HypervisorError,
    ImageName,
    PciGpu,
    Power,
    Proof,
    Seed,
)
from cumulet.hypervisor.pci import read_gpus

FACTS: Final = 3
"""The descriptor that leads out."""
DEVICES: Final = Path("/sys/bus/pci/devices")
STATE: Final = Path("/var/lib/cumulet/nested")
SECONDARY_BUS: Final = 0x19
"""In a bridge's configuration space, which bus begins there."""
NOWHERE: Final = b"\x77"
PARITY: Final = 0x1000
"""An error of PCI Express that is not masked: a poisoned packet."""
HOST_SECRET: Final = 0xC0FFEE11


@dataclass(frozen=True)
class Proved:
    """What came of a card in the proof guest."""

    proof: Proof
    kept: bool
    """What the host had there is there still."""
    faults: list[str]
    """Of the IOMMU, in the kernel's words."""


@dataclass(frozen=True)
class Fallen:
    """A card that is off the bus, what cleaning it came to, and the card when it is back."""

    gone: PciGpu
    refusal: str
    back: PciGpu


@dataclass(frozen=True)
class Cleaned:
    """A card that was cleaned, and why another was not."""

    card: PciGpu
    fixed: str


@dataclass(frozen=True)
class Faulted:
    """A machine before and after a card of it reported an error, and what cleaning the card came to while it ran."""

    before: Power
    refusal: str
    after: Power
    card: PciGpu
    """Once the machine has gone and it was cleaned."""


def give_half() -> str:
    """Start a machine with the GPU alone, whose audio the host's own driver has."""
    subprocess.run(("modprobe", "snd_hda_intel"), check=True)
    host = opened_host()
    spec = defined(host, GpuSpec((CARD,), None))
    bind(CARD, "vfio-pci")
    bind(audio(), "snd_hda_intel")
    words = refusal(lambda: host.machines.start(spec.id))
    host.machines.undefine(spec.id)
    return words


def prove() -> Proved:
    """Give the card to the proof guest, while the host has something of its own where that has no memory."""
    with mapped(Path("/dev/mem"), SECRET_AT) as memory:
        memory[:4] = struct.pack("<I", HOST_SECRET)
        proof = opened_host().gpus.prove(CARD)
        (kept,) = struct.unpack("<I", memory[:4])
    return Proved(proof, kept == HOST_SECRET, kernel_log("DMAR: [DMA"))


def fall_off() -> Fallen:
    """Have the bridge above the card lead elsewhere, as if the card had gone without a word; and put it back."""
    bridge = DEVICES / card().bridges[-1] / "config"
    with bridge.open("r+b", buffering=0) as config:
        config.seek(SECONDARY_BUS)
        number = config.read(1)
        os.pwrite(config.fileno(), NOWHERE, SECONDARY_BUS)
        gone = card()
        words = refusal(lambda: opened_host().gpus.clean(CARD))
        os.pwrite(config.fileno(), number, SECONDARY_BUS)
    return Fallen(gone, words, card())


def clean() -> Cleaned:
    """Clean the card that a guest has just had, and one that nothing resets."""
    gpus = opened_host().gpus
    gpus.clean(CARD)
    return Cleaned(card(), refusal(lambda: gpus.clean(FIXED)))


def run_and_fault() -> Faulted:
    """Have a machine run with the card and the NIC, ask for what it has, and let the NIC report an error."""
    host = opened_host()
    bind(NIC, "vfio-pci")
    functions = tuple(one.address for one in card().functions)
    spec = defined(host, GpuSpec(functions, None), GpuSpec((NIC,), None))
    host.machines.start(spec.id)
    power = power_of(host, spec)
    words = refusal(lambda: host.gpus.clean(CARD))
    report_error(NIC)
    faulted = eventually(lambda: (now := power_of(host, spec)) is not power and now)
    host.machines.undefine(spec.id)
    host.gpus.clean(CARD)
    return Faulted(power, words, faulted, card())


def card() -> PciGpu:
    """The card as it is now."""
    return next(gpu for gpu in read_gpus().gpus if gpu.address == CARD)


def audio() -> str:
    return card().functions[1].address


def refusal(work: Callable[[], object]) -> str:
    """In which words something is refused; empty when it is not."""
    try:
        work()
    except HypervisorError as refused:
        return str(refused)
    return ""


def bind(address: str, driver: str) -> None:
    """Have a driver take a function from whichever has it."""
    device = DEVICES / address
    (device / "driver_override").write_text(driver)
    if (device / "driver").exists():
        (device / "driver/unbind").write_text(address)
    Path("/sys/bus/pci/drivers_probe").write_text(address)


def mapped(path: Path, offset: int) -> mmap.mmap:
    """Have a page of it in reach."""
    file = os.open(path, os.O_RDWR | os.O_SYNC)
    try:
        return mmap.mmap(file, mmap.PAGESIZE, offset=offset)
    finally:
        os.close(file)


def report_error(address: str) -> None:
    """Let a function report an error, as the kernel's aer_inject does: bus, device, function, and which error."""
    subprocess.run(("modprobe", "aer_inject"), check=True)
    domain, bus, rest = address.split(":")
    slot, function = rest.split(".")
    where = (int(bus, 16), int(slot, 16), int(function))
    Path("/dev/aer_inject").write_bytes(
        struct.pack("<BBBx7I", *where, PARITY, 0, 0, 0, 0, 0, int(domain, 16))
    )


def kernel_log(beginning: str) -> list[str]:
    """The kernel's lines about something."""
    lines = subprocess.run(("dmesg",), capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if beginning in line]


@cache
def opened_host() -> Hypervisor:
    """This machine as a host, with the daemons that machines without networks need."""
    from cumulet.hypervisor.libvirt import open_host  # noqa: PLC0415 - takes seconds here, and not all stories need it

    start_libvirt()
    pools = {"local": None}
    return open_host(
        "qemu:///system",
        installation="nested",
        state_dir=STATE,
        pools=pools,
        kvm_works=False,
        userspace_datapath=True,
    )


def defined(host: Hypervisor, *gpus: GpuSpec) -> DomainSpec:
    """A machine with GPUs and an empty disk."""
    path = STATE / "empty.qcow2"
    if not path.exists():
        subprocess.run(("qemu-img", "create", "-q", "-f", "qcow2", path, "1G"), check=True)
    image = BaseImage(hashlib.sha256(path.read_bytes()).hexdigest(), "qcow2", path, size_gib=1)
    eventually(lambda: host.images.copy(image).ready)
    spec = DomainSpec(
        id=uuid4(), name="hello", project="default", vcpus=1, memory_mib=128, topology=None, boot_disk=uuid4(),
        boot_image=ImageName(image.sha256, image.format), disks=(), nics=(), gpus=gpus,
    )  # fmt: skip
    host.disks.create(DiskSpec(spec.boot_disk, 1, image, "local"))
    host.seeds.write(Seed(spec.id, str(spec.id), "hello", (), "", ""))
    host.machines.define(spec)
    return spec


def power_of(host: Hypervisor, spec: DomainSpec) -> Power | None:
    """Whether a machine runs."""
    found = host.machines.get(spec.id)
    return found and found.power


STORIES: Final[dict[str, Callable[[], object]]] = {
    "inventory": read_gpus,
    "prepare": prepare_and_undo,
    "resets": reset_all_sorts,
    "cleanings": time_cleanings,
    "half": give_half,
    "proof": prove,
    "removal": fall_off,
    "clean": clean,
    "fault": run_and_fault,
    "cloud": run_cloud,
}


def main(names: list[str]) -> None:
    """Play them and tell of each as soon as it has ended."""
    for name in names:
        os.write(FACTS, msgspec.json.encode({name: STORIES[name]()}) + b"\n")


if __name__ == "__main__":
    main(sys.argv[1:])
