"""The partitions of an HGX board, whose NVSwitches NVIDIA's fabric manager sets up: asked by its command `fmpm`.

It names a GPU by the place of its module on the board. Which PCI address that is only NVIDIA's driver can read, which
does not have the GPUs that VMs get: so its words are written down once, before the GPUs are prepared for VMs.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from cumulet.hypervisor.errors import GpusNotJoined
from cumulet.hypervisor.gpu_partitions import to_join, to_part
from cumulet.hypervisor.gpus import GPU_MODULES, GpuPartition, HostGpus, PciGpu
from cumulet.hypervisor.vfio import ROOT

FMPM: Final = "fmpm"
SECONDS: Final = 20.0
NVIDIA: Final = "10de"
CARD: Final = re.compile(r"GPU ([0-9A-Fa-f]{8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7])")
MODULE: Final = re.compile(r"\s+(?:GPU )?Module I[Dd]\s*:\s*(\d+)")


class Module(msgspec.Struct, rename="camel"):
    """A GPU of a partition, as `fmpm` tells it."""

    physical_id: int
    pci_bus_id: str = ""
    """Empty while another driver has it."""


class Offered(msgspec.Struct, rename="camel"):
    """A partition, as `fmpm` tells it."""

    partition_id: int
    is_active: int
    gpu_info: list[Module]


class Listing(msgspec.Struct, rename="camel"):
    """What `fmpm -l` tells."""

    partition_info: list[Offered]


def with_partitions(host: HostGpus, root: Path = ROOT) -> HostGpus:
    """Add the partitions that the host's fabric manager offers, or what is wrong with it to NVIDIA's GPUs in none."""
    try:
        partitions = read_partitions(root)
        check_known(partitions, host.gpus)
    except GpusNotJoined as problem:
        gpus = (replace(one, fabric_problem=str(problem)) if is_nvidia(one) else one for one in host.gpus)
        return replace(host, gpus=tuple(gpus))
    return replace(host, partitions=partitions)


def join(addresses: Collection[str], root: Path = ROOT) -> None:
    """Activate the partition of exactly these GPUs of a machine that is about to start; GpusNotJoined if that cannot be."""
    others, wanted = to_join(read_partitions(root), addresses)
    for number in others:
        ask("-d", str(number))
    for number in wanted:
        ask("-a", str(number))


def part(address: str, root: Path = ROOT) -> None:
    """Deactivate the partition by which a GPU is joined with others, once no machine has it any more."""
    for number in to_part(read_partitions(root), address):
        ask("-d", str(number))


def read_partitions(root: Path) -> tuple[GpuPartition, ...]:
    """Ask which partitions there are; none where no fabric manager is installed. GpusNotJoined if that stays unknown."""
    if shutil.which(FMPM) is None:
        return ()
    try:
        offered = msgspec.json.decode(ask("-l"), type=Listing).partition_info
    except msgspec.DecodeError as problem:
        raise GpusNotJoined(f"{FMPM} -l: {problem}") from problem
    known = read_modules(root / GPU_MODULES.relative_to("/"))
    return tuple(
        GpuPartition(one.partition_id, tuple(addresses_of(one.gpu_info, known)), bool(one.is_active))
        for one in offered
    )


def addresses_of(found: Sequence[Module], known: Mapping[int, str]) -> list[str]:
    """Say where GPUs of a partition are."""
    unknown = [one.physical_id for one in found if not one.pci_bus_id and one.physical_id not in known]
    if unknown:
        raise GpusNotJoined(f"which GPU is module {unknown[0]} of the fabric manager is not known")
    return [address_of(one.pci_bus_id) if one.pci_bus_id else known[one.physical_id] for one in found]


def check_known(partitions: Sequence[GpuPartition], gpus: Sequence[PciGpu]) -> None:
    """Return when all that is in a partition is there; GpusNotJoined otherwise, for then the others may be mistaken too."""
    there = {one.address for one in gpus}
    missing = {address for one in partitions for address in one.addresses} - there
    if missing:
        raise GpusNotJoined(f"the fabric manager has a GPU at {min(missing)}, where none is")


def read_modules(path: Path) -> dict[int, str]:
    """Read at which address each module is; nothing when nobody has written that down."""
    if not path.is_file():
        return {}
    modules, address = {}, ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if card := CARD.fullmatch(line.rstrip()):
            address = address_of(card[1])
        elif address and (module := MODULE.fullmatch(line.rstrip())):
            modules[int(module[1])] = address
    return modules


def address_of(bus_id: str) -> str:
    """Write an address as the kernel does: `00000000:3B:00.0` is `0000:3b:00.0`."""
    domain, _, rest = bus_id.partition(":")
    return f"{int(domain, 16):04x}:{rest.lower()}"


def is_nvidia(gpu: PciGpu) -> bool:
    """Whether a fabric manager may have it."""
    return gpu.pci_id.startswith(NVIDIA)


def ask(*words: str) -> str:
    """Run the command; GpusNotJoined with its last words when it fails."""
    argv = (FMPM, *words)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired) as problem:
        raise GpusNotJoined(f"{' '.join(argv)}: {problem}") from problem
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise GpusNotJoined(f"{' '.join(argv)}: {said}")
    return done.stdout
