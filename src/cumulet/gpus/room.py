"""What of a GPU model each host has for one more VM, and why the rest of it cannot be had."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import cache
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Row, bindparam, select
from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue, GpuModel, identify_gpu
from cumulet.db import fetch_columns
from cumulet.gpus.choice import FreeGpu, choose
from cumulet.gpus.model import Gpu
from cumulet.gpus.partitions import partitions_there
from cumulet.gpus.wire import GpuState
from cumulet.hosts import GpuPick, GpuRoom, Host, NotFree
from cumulet.hypervisor import PciGpu
from cumulet.vm_record import Vm

THERE: Final = (
    select(
        Gpu.id,
        Gpu.host_id,
        Gpu.state,
        Gpu.vm_id,
        Gpu.withdrawn,
        Gpu.problem,
        Gpu.causes,
        Gpu.facts,
        Vm.project_id,
    )
    .join(Host, Host.id == Gpu.host_id)
    .outerjoin(Vm, Vm.id == Gpu.vm_id)
    .where(Host.data_center_id == bindparam("data_center_id"), Gpu.state != GpuState.ABSENT)
    .order_by(Gpu.host_id, Gpu.address)
)
HOW: Final[Mapping[GpuState, str]] = {
    GpuState.CLEANING: "being cleaned",
    GpuState.QUARANTINED: "quarantined",
    GpuState.UNFIT: "unfit",
}
UNCLEAN: Final = frozenset({GpuState.CLEANING, GpuState.QUARANTINED})
"""States in which a GPU may still have what its last VM left."""


Card = tuple[Row[*tuple[Any, ...]], PciGpu]
"""A GPU's row, and what was read of it."""


@dataclass(frozen=True, slots=True)
class Asker:
    """For whom GPUs are looked for."""

    project_id: str = ""
    """Empty for whoever comes."""
    vm_id: UUID | None = None
    """A VM that has some: those count as free for it, and it keeps them where it can."""


ANYBODY: Final = Asker()


def gpu_rooms(
    db: Session, catalogue: Catalogue, data_center_id: str, model: GpuModel, asker: Asker = ANYBODY
) -> Mapping[UUID, GpuRoom]:
    """Say by host what each of a data center has of a GPU model; hosts without any are left out.

    Two statements, however many there are.
    """
    cards: dict[UUID, list[Card]] = defaultdict(list)
    for row in fetch_columns(db, THERE, data_center_id=data_center_id):
        card = msgspec.convert(row.facts, PciGpu)
        found = identify_gpu(catalogue, card.pci_id, card.subsystem_id)
        if found is not None and found.id == model.id:
            cards[row.host_id].append((row, card))
    partitions = partitions_there(db, data_center_id)
    return {
        host_id: _room(model, theirs, partitions.get(host_id, ()), asker) for host_id, theirs in cards.items()
    }


def _room(
    model: GpuModel, cards: Sequence[Card], partitions: Sequence[frozenset[str]], asker: Asker
) -> GpuRoom:
    closed = hive_closed([row for row, _ in cards], asker) if model.fabric == "xgmi" else None
    own, free, not_free = [], [], Counter[NotFree]()
    for row, card in cards:
        gpu = FreeGpu(row.id, card.address, card.numa_node, card.bridges)
        if row.vm_id is not None and row.vm_id == asker.vm_id:
            own.append(gpu)
        elif reason := why_not(row) or closed:
            not_free[reason] += 1
        else:
            free.append(gpu)
    addresses = {card.address for _, card in cards}
    joinable = [one for one in partitions if one & addresses]
    whole = {len(one) for one in joinable if one <= addresses}
    return GpuRoom(
        model=model.model_name,
        free=len(own) + len(free),
        not_free=not_free,
        sizes=tuple(sorted(whole)) if joinable else tuple(range(1, len(cards) + 1)),
        pick=cache(_picker(own, free, joinable)),
    )


def why_not(row: Row[*tuple[Any, ...]]) -> NotFree | None:
    """Say why a GPU cannot be had; None for one that can."""
    if row.vm_id is not None:
        return NotFree("held")
    if row.state in HOW:
        return NotFree(HOW[row.state], row.problem or "; ".join(cause["problem"] for cause in row.causes))
    return NotFree("withdrawn") if row.withdrawn else None


def hive_closed(rows: Sequence[Row[*tuple[Any, ...]]], asker: Asker) -> NotFree | None:
    """Say why a hive's free GPUs cannot be had, all of which reach each other's memory; None when they can."""
    if any(row.vm_id is not None and row.project_id != asker.project_id for row in rows):
        return NotFree("joined with GPUs of another project")
    if any(row.state in UNCLEAN for row in rows):
        return NotFree("joined with GPUs that are not clean")
    return None


def _picker(
    own: Sequence[FreeGpu], free: Sequence[FreeGpu], partitions: Sequence[frozenset[str]]
) -> Callable[[int], GpuPick | None]:
    """Give what chooses among free GPUs for a VM that has some of its own, of which it loses as few as can be."""

    def pick(count: int) -> GpuPick | None:
        more = choose(free, max(count - len(own), 0), partitions)
        kept = (*own, *more.gpus) if more else own
        choice = choose(kept, count, partitions) or choose((*own, *free), count, partitions)
        return GpuPick(tuple(gpu.id for gpu in choice.gpus), astuple(choice.rank)) if choice else None

    return pick
