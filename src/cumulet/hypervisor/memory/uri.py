"""What a `memory:` URI asks for: how many made-up hosts, and what each of them has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl
from uuid import uuid4

from cumulet.errors import Invalid
from cumulet.hypervisor import GpuFabric, HostFacts
from cumulet.hypervisor.memory.gpus import BOARD

SIZES: Final = {"hosts": 1, "vcpus": 64, "memory_gib": 256, "disk_gib": 4096, "gpus": 0}
"""The numbers a `memory:` URI can set, and what they are when it does not."""
WORDS: Final = ("gpu_model", "gpu_fabric")
"""The words it can set."""
FABRICS: Final[Mapping[str, GpuFabric]] = {"": "", "nvswitch": "nvswitch", "xgmi": "xgmi"}


@dataclass(frozen=True, slots=True)
class Query:
    """What a `memory:` URI asks for."""

    sizes: Mapping[str, int]
    gpu_model: str = ""
    gpu_fabric: GpuFabric = ""
    """What joins the GPUs of each host."""


def read_query(uri: str) -> Query:
    """Read what a URI sets; Invalid names what is wrong in it."""
    sizes, words = dict(SIZES), dict.fromkeys(WORDS, "")
    for key, value in parse_qsl(uri.partition("?")[2], keep_blank_values=True):
        if key in words:
            words[key] = value
        elif key not in SIZES:
            raise Invalid(f"hypervisor: memory: has no {key!r}; it has {', '.join([*SIZES, *WORDS])}")
        elif not (value.isascii() and value.isdecimal()) or (int(value) == 0 and SIZES[key] > 0):
            raise Invalid.field(f"hypervisor {key}", value, "a whole number")
        else:
            sizes[key] = int(value)
    if words["gpu_fabric"] not in FABRICS:
        raise Invalid.field("hypervisor gpu_fabric", words["gpu_fabric"], "nvswitch or xgmi")
    query = Query(sizes, words["gpu_model"], FABRICS[words["gpu_fabric"]])
    check_gpus(query)
    return query if sizes["gpus"] else Query(sizes)


def check_gpus(query: Query) -> None:
    """Refuse GPUs that nobody can make up."""
    gpus = query.sizes["gpus"]
    if gpus and not query.gpu_model:
        raise Invalid("hypervisor: memory: with gpus needs a gpu_model, such as gpu_model=H100")
    if query.gpu_fabric == "nvswitch" and gpus != BOARD:
        raise Invalid.field("hypervisor gpus", gpus, f"{BOARD}, as NVSwitches join")


def facts_of(name: str, sizes: Mapping[str, int], pools: Iterable[str]) -> HostFacts:
    """Say what a host of these sizes has, each of the disk pools alike."""
    return HostFacts(
        name=name,
        cpus=sizes["vcpus"],
        memory_mib=sizes["memory_gib"] * 1024,
        disk_gib=dict.fromkeys(pools, sizes["disk_gib"]),
        cpu_model="memory",
        cpu_group="memory",
        accelerator="memory",
        version="memory",
        routes=(),
        boot_id=str(uuid4()),
    )
