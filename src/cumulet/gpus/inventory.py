"""Keeps the rows of a host's GPUs as its bus shows them, and tells the journal what came, changed and went."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

import msgspec
from sqlalchemy import Row, bindparam, select
from sqlalchemy.orm import Session

from cumulet import journal
from cumulet.db import fetch_columns, insert_row, update_row
from cumulet.events import EventName, GpuData
from cumulet.gpus.model import Gpu
from cumulet.gpus.wire import GpuState
from cumulet.hosts import Host
from cumulet.hypervisor import HostGpus, Iommu, PciGpu, unfit_causes

KNOWN: Final = select(Gpu.id, Gpu.address, Gpu.facts, Gpu.state, Gpu.causes).where(
    Gpu.host_id == bindparam("host_id")
)
Seen = dict[str, Any]
"""Columns of a row that follow from what was read."""


def note_gpus(db: Session, host_id: UUID, found: HostGpus, *, now: datetime) -> None:
    """Write down which GPUs a host that answers has; what is as it was costs one statement."""
    known = {row.address: row for row in fetch_columns(db, KNOWN, host_id=host_id)}
    for gpu in found.gpus:
        seen, row = seen_of(gpu, found.iommu), known.pop(gpu.address, None)
        if row is None:
            id = uuid4()
            insert_row(db, Gpu, id=id, host_id=host_id, address=gpu.address, since=now, **seen)
            log_event(db, host_id, id, EventName.GPU_APPEARED, seen, is_now(seen), now=now)
        else:
            note_change(db, host_id, row, seen, now=now)
    for row in known.values():
        if row.state is not GpuState.ABSENT:
            gone = {"facts": row.facts, "state": GpuState.ABSENT, "causes": []}
            update_row(db, Gpu, row.id, since=now, **gone)
            log_event(db, host_id, row.id, EventName.GPU_ABSENT, gone, "is not on the bus any more", now=now)


def seen_of(gpu: PciGpu, iommu: Iommu) -> Seen:
    """Say what a GPU's row should hold."""
    causes = unfit_causes(gpu, iommu)
    return {
        "facts": msgspec.json.decode(msgspec.json.encode(gpu)),  # as the database gives it back
        "state": GpuState.UNFIT if causes else GpuState.FREE,
        "causes": msgspec.json.decode(msgspec.json.encode(causes)),
    }


def note_change(db: Session, host_id: UUID, row: Row[*tuple[Any, ...]], seen: Seen, *, now: datetime) -> None:
    """Write down what is new about a GPU, or that it is there again."""
    if all(getattr(row, name) == value for name, value in seen.items()):
        return
    since = {} if row.state is seen["state"] else {"since": now}
    update_row(db, Gpu, row.id, **seen, **since)
    event = EventName.GPU_APPEARED if row.state is GpuState.ABSENT else EventName.GPU_CHANGED
    others = [name for name, value in seen["facts"].items() if row.facts.get(name) != value]
    new = f"has other {', '.join(others)}, and " if others else ""
    log_event(db, host_id, row.id, event, seen, new + is_now(seen), now=now)


def is_now(seen: Seen) -> str:
    """Tell a GPU's state, and why."""
    why = "; ".join(cause["problem"] for cause in seen["causes"])
    return f"is {seen['state'].value}{why and f': {why}'}"


def log_event(
    db: Session, host_id: UUID, id: UUID, name: EventName, seen: Seen, text: str, *, now: datetime
) -> None:
    """Write into the journal what became of a GPU; it is in no project."""
    gpu = msgspec.convert(seen["facts"], PciGpu)
    data = GpuData(
        host=db.scalars(select(Host.name).where(Host.id == host_id)).one(),
        address=gpu.address,
        pci_id=gpu.pci_id,
        state=seen["state"].value,
        problems=[cause["problem"] for cause in seen["causes"]],
    )
    words = f"GPU {gpu.pci_id} at {gpu.address} of host {data.host} {text}"
    journal.log_event(db, name, at=now, project_id="", subject_id=id, text=words, data=data)
