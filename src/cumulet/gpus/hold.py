"""Reserving GPUs for a VM: their rows say whose they are, from CreateVM's transaction until the VM's row goes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Row, bindparam, select
from sqlalchemy.orm import Session

from cumulet.db import fetch_columns, update_row
from cumulet.events import EventName
from cumulet.gpus.follow import after_return
from cumulet.gpus.model import Gpu
from cumulet.gpus.told import log_gpu
from cumulet.gpus.wire import GpuState
from cumulet.hypervisor import GpuSpec, PciGpu
from cumulet.reconcile import Kind, wake

OF_VM: Final = (
    select(Gpu.id, Gpu.host_id, Gpu.address, Gpu.facts, Gpu.state, Gpu.causes, Gpu.problem)
    .where(Gpu.vm_id == bindparam("vm_id"))
    .order_by(Gpu.address)
)
LOCK_OF_VM: Final = OF_VM.with_for_update()


def gpus_of_vm(db: Session, vm_id: UUID) -> Sequence[Row[*tuple[Any, ...]]]:
    """Read which GPUs a VM has: their id, host_id, address, facts, state, causes and problem."""
    return fetch_columns(db, OF_VM, vm_id=vm_id)


def gpu_specs(db: Session, vm_id: UUID) -> tuple[GpuSpec, ...]:
    """Describe the GPUs that a VM has for its machine, in the order of their addresses."""
    cards = [msgspec.convert(gpu.facts, PciGpu) for gpu in gpus_of_vm(db, vm_id)]
    return tuple(GpuSpec(tuple(one.address for one in card.functions), card.numa_node) for card in cards)


def hold(db: Session, vm_id: UUID, gpu_ids: Sequence[UUID], *, now: datetime) -> None:
    """Reserve free GPUs for a VM, in the transaction that chose them with their host locked."""
    for id in gpu_ids:
        update_row(db, Gpu, id, state=GpuState.HELD, vm_id=vm_id, since=now)
        log_gpu(db, id, EventName.GPU_HELD, "is HELD", now=now)


def hold_just(db: Session, vm_id: UUID, gpu_ids: Collection[UUID], *, now: datetime) -> None:
    """Reserve these for a VM that is off, likewise, and take from it what it has besides."""
    own = {gpu.id for gpu in gpus_of_vm(db, vm_id)}
    give_back(db, vm_id, now=now, kept=gpu_ids)
    hold(db, vm_id, [id for id in gpu_ids if id not in own], now=now)


def give_back(db: Session, vm_id: UUID, *, now: datetime, kept: Collection[UUID] = ()) -> None:
    """Take a VM's GPUs from it, once its machine is gone from the host; nobody gets them before they are clean.

    Reconcilers too lock a GPU's due row before the GPU's own.
    """
    for gpu in gpus_of_vm(db, vm_id):
        if gpu.id not in kept:
            wake(db, Kind.GPU, gpu.id, now=now)
    for gpu in fetch_columns(db, LOCK_OF_VM, vm_id=vm_id):
        if gpu.id in kept:
            continue
        state = after_return(gpu)
        update_row(db, Gpu, gpu.id, state=state, vm_id=None, since=now)
        why = f": {gpu.problem}" if gpu.problem else ""
        log_gpu(db, gpu.id, EventName.GPU_RETURNED, f"was given back and is {state.value}{why}", now=now)
