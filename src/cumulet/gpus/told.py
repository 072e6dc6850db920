"""What the journal tells of GPUs, for the operator; and of a VM's GPUs, for its owner."""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from cumulet import journal, resource
from cumulet.db import fetch_columns
from cumulet.events import EventName, GpuData
from cumulet.gpus.model import Gpu
from cumulet.hosts import Host
from cumulet.hypervisor import PciGpu
from cumulet.vm_record import Vm

TOLD: Final = (
    select(
        Host.name,
        Gpu.address,
        Gpu.facts,
        Gpu.state,
        Gpu.causes,
        Gpu.problem,
        Vm.project_id,
        Vm.name.label("vm_name"),
    )
    .join(Host, Host.id == Gpu.host_id)
    .outerjoin(Vm, Vm.id == Gpu.vm_id)
    .where(Gpu.id == bindparam("id"))
)
GPUS_OF: Final = select(Gpu.id).where(Gpu.vm_id == bindparam("vm_id")).order_by(Gpu.address)


def log_gpu(
    db: Session, id: UUID, name: EventName, text: str, *, now: datetime, actor: str = journal.SYSTEM
) -> None:
    """Write into the journal what became of a GPU, as its row is by now; it is in no project."""
    (row,) = fetch_columns(db, TOLD, id=id)
    pci_id = msgspec.convert(row.facts, PciGpu).pci_id
    data = GpuData(
        host=row.name,
        address=row.address,
        pci_id=pci_id,
        state=row.state.value,
        problems=[*filter(None, [row.problem]), *(cause["problem"] for cause in row.causes)],
        project_id=row.project_id or "",
        vm_id=row.vm_name or "",
    )
    words = f"GPU {pci_id} at {row.address} of host {row.name} {text}"
    journal.log_event(db, name, at=now, project_id="", subject_id=id, text=words, actor=actor, data=data)


def log_for_owner(
    db: Session, vm_id: UUID, gpu_id: UUID, name: EventName, text: str, *, now: datetime
) -> None:
    """Write into a VM's timeline what became of a GPU of its; the guest finds its GPUs in this order."""
    own = [row.id for row in fetch_columns(db, GPUS_OF, vm_id=vm_id)]
    which = f"GPU {own.index(gpu_id) + 1} of {len(own)}"
    resource.log_event(db, db.get_one(Vm, vm_id), name, f"{which} {text}", now=now)
