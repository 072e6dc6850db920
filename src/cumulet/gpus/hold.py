"""Reserving GPUs for a VM: their rows say whose they are, from CreateVM's transaction until the VM's row goes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, bindparam, select
from sqlalchemy.orm import Session

from cumulet.db import fetch_columns, update_row
from cumulet.gpus.model import Gpu
from cumulet.gpus.wire import GpuState
from cumulet.reconcile import Kind, wake

OF_VM: Final = (
    select(Gpu.id, Gpu.host_id, Gpu.address, Gpu.facts)
    .where(Gpu.vm_id == bindparam("vm_id"))
    .order_by(Gpu.address)
)


def gpus_of_vm(db: Session, vm_id: UUID) -> Sequence[Row[*tuple[Any, ...]]]:
    """Read which GPUs a VM has: their id, host_id, address and facts."""
    return fetch_columns(db, OF_VM, vm_id=vm_id)


def hold(db: Session, vm_id: UUID, gpu_ids: Sequence[UUID], *, now: datetime) -> None:
    """Reserve free GPUs for a VM, in the transaction that chose them with their host locked."""
    for id in gpu_ids:
        update_row(db, Gpu, id, state=GpuState.HELD, vm_id=vm_id, since=now)


def give_back(db: Session, vm_id: UUID, *, now: datetime) -> None:
    """Take a VM's GPUs from it, once its machine is gone from the host; nobody gets them before they are clean."""
    for gpu in gpus_of_vm(db, vm_id):
        update_row(db, Gpu, gpu.id, state=GpuState.CLEANING, vm_id=None, since=now)
        wake(db, Kind.GPU, gpu.id, now=now)
