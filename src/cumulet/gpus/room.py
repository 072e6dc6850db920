"""What of a GPU model each host has for one more VM, and why the rest of it cannot be had."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
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
from cumulet.gpus.wire import GpuState
from cumulet.hosts import GpuPick, GpuRoom, Host, NotFree
from cumulet.hypervisor import PciGpu

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
    )
    .join(Host, Host.id == Gpu.host_id)
    .where(Host.data_center_id == bindparam("data_center_id"), Gpu.state != GpuState.ABSENT)
    .order_by(Gpu.host_id, Gpu.address)
)
HOW: Final[Mapping[GpuState, str]] = {
    GpuState.CLEANING: "being cleaned",
    GpuState.QUARANTINED: "quarantined",
    GpuState.UNFIT: "unfit",
}


def gpu_rooms(
    db: Session, catalogue: Catalogue, data_center_id: str, model: GpuModel, *, vm_id: UUID | None = None
) -> Mapping[UUID, GpuRoom]:
    """Say by host what each of a data center has of a GPU model, in one statement; hosts without any are left out.

    With `vm_id` those that this VM has count as free for it, and it keeps them where it can.
    """
    cards: dict[UUID, list[tuple[Row[*tuple[Any, ...]], PciGpu]]] = defaultdict(list)
    for row in fetch_columns(db, THERE, data_center_id=data_center_id):
        card = msgspec.convert(row.facts, PciGpu)
        found = identify_gpu(catalogue, card.pci_id, card.subsystem_id)
        if found is not None and found.id == model.id:
            cards[row.host_id].append((row, card))
    return {host_id: _room(model.model_name, theirs, vm_id) for host_id, theirs in cards.items()}


def _room(model: str, cards: Sequence[tuple[Row[*tuple[Any, ...]], PciGpu]], vm_id: UUID | None) -> GpuRoom:
    own, free, not_free = [], [], Counter[NotFree]()
    for row, card in cards:
        gpu = FreeGpu(row.id, card.address, card.numa_node, card.bridges)
        if row.vm_id is not None and row.vm_id == vm_id:
            own.append(gpu)
        elif reason := why_not(row):
            not_free[reason] += 1
        else:
            free.append(gpu)
    return GpuRoom(model, len(own) + len(free), not_free, cache(_picker(own, free)))


def why_not(row: Row[*tuple[Any, ...]]) -> NotFree | None:
    """Say why a GPU cannot be had; None for one that can."""
    if row.vm_id is not None:
        return NotFree("held")
    if row.state in HOW:
        return NotFree(HOW[row.state], row.problem or "; ".join(cause["problem"] for cause in row.causes))
    return NotFree("withdrawn") if row.withdrawn else None


def _picker(own: Sequence[FreeGpu], free: Sequence[FreeGpu]) -> Callable[[int], GpuPick | None]:
    """Give what chooses among free GPUs for a VM that has some of its own, of which it loses as few as can be."""

    def pick(count: int) -> GpuPick | None:
        more = choose(free, max(count - len(own), 0))
        kept = (*own, *more.gpus) if more else own
        choice = choose(kept, count) or choose((*own, *free), count)
        return GpuPick(tuple(gpu.id for gpu in choice.gpus), astuple(choice.rank)) if choice else None

    return pick
