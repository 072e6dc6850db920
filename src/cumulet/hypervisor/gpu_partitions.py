"""What becomes of a host's partitions when a machine with GPUs starts, and when its GPUs are given back. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from cumulet.hypervisor.errors import GpusNotJoined
from cumulet.hypervisor.gpus import GpuPartition


def to_join(partitions: Sequence[GpuPartition], addresses: Collection[str]) -> tuple[list[int], list[int]]:
    """Say which to deactivate, and which to activate then, so that exactly these GPUs are joined.

    GpusNotJoined when there is no such partition, or GPUs of others are in the way. Addresses that no partition has are
    of other cards and of other functions.
    """
    own = set(addresses) & {address for one in partitions for address in one.addresses}
    concerned = [one for one in partitions if own & set(one.addresses)]
    if not concerned:
        return [], []
    wanted = next((one for one in concerned if set(one.addresses) == own), None)
    if wanted is None:
        raise GpusNotJoined(f"no partition has exactly the GPUs {' '.join(sorted(own))}")
    if wanted.active:
        return [], []
    active = [one for one in concerned if one.active]
    for one in active:
        if not set(one.addresses) <= own:
            raise GpusNotJoined(
                f"partition {one.number}, which has some GPUs of partition {wanted.number}, is still active"
            )
    return [one.number for one in active], [wanted.number]


def to_part(partitions: Sequence[GpuPartition], address: str) -> list[int]:
    """Say which to deactivate, so that a GPU is joined with no other any more."""
    return [one.number for one in partitions if one.active and address in one.addresses]
