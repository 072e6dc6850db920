"""What a `memory:` URI asks for: how many made-up hosts, and what each of them has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from cumulet.errors import Invalid
from cumulet.hypervisor import HostFacts

SIZES: Final = {"hosts": 1, "vcpus": 64, "memory_gib": 256, "disk_gib": 4096, "gpus": 0}
"""The numbers a `memory:` URI can set, and what they are when it does not."""


def read_query(pairs: Iterable[tuple[str, str]]) -> tuple[dict[str, int], str]:
    """Read the sizes and the GPU model that a query sets; Invalid names what is wrong in it."""
    sizes, gpu_model = dict(SIZES), ""
    for key, value in pairs:
        if key == "gpu_model":
            gpu_model = value
        elif key not in SIZES:
            raise Invalid(f"hypervisor: memory: has no {key!r}; it has {', '.join(SIZES)} and gpu_model")
        elif not (value.isascii() and value.isdecimal()) or (int(value) == 0 and SIZES[key] > 0):
            raise Invalid.field(f"hypervisor {key}", value, "a whole number")
        else:
            sizes[key] = int(value)
    if sizes["gpus"] and not gpu_model:
        raise Invalid("hypervisor: memory: with gpus needs a gpu_model, such as gpu_model=H100")
    return sizes, gpu_model


def facts_of(name: str, sizes: Mapping[str, int], pools: Iterable[str]) -> HostFacts:
    """Say what a host of these sizes has, each of the disk pools alike."""
    return HostFacts(
        name=name,
        cpus=sizes["vcpus"],
        memory_mib=sizes["memory_gib"] * 1024,
        disk_gib=dict.fromkeys(pools, sizes["disk_gib"]),
        cpu_model="memory",
        accelerator="memory",
        version="memory",
        routes=(),
    )
