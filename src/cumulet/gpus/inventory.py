"""Keeps the rows of a host's GPUs as its bus shows them, and tells the journal what came, changed and went."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import Row, bindparam, delete, select
from sqlalchemy.orm import Session

from cumulet.db import change_rows, fetch_columns, insert_row, rows_of, update_row
from cumulet.events import EventName
from cumulet.gpus.follow import Look, Values, after_look, first_look, is_same_card
from cumulet.gpus.model import Gpu
from cumulet.gpus.partitions import GpuPartition
from cumulet.gpus.told import log_for_owner, log_gpu
from cumulet.gpus.wire import GpuState
from cumulet.hypervisor import HostGpus, PciGpu
from cumulet.reconcile import Kind, wake

KNOWN: Final = select(
    Gpu.id, Gpu.address, Gpu.facts, Gpu.state, Gpu.causes, Gpu.problem, Gpu.vm_id, Gpu.since, Gpu.cleaned_at
).where(Gpu.host_id == bindparam("host_id"))
LOCK_ONE: Final = KNOWN.where(Gpu.id == bindparam("id")).with_for_update()
FORGET: Final = delete(rows_of(Gpu)).where(rows_of(Gpu).c.id == bindparam("id")).returning(rows_of(Gpu).c.id)
FORGET_AFTER: Final = timedelta(days=30)
"""Then a GPU that is on the bus no more, and that no VM holds, is forgotten."""
VERDICT: Final = ("state", "causes", "problem")
"""Columns that follow from what was read."""
QUIET: Final = frozenset({"errors"})
"""What is read of a GPU of which nobody is told that it changed: a counter that rises is a fault where it counts."""


def note_gpus(
    db: Session, host_id: UUID, found: HostGpus, users: Mapping[str, UUID], *, now: datetime
) -> None:
    """Write down which GPUs a host that answers has; what is as it was costs one statement.

    `users` are the VMs whose machines run with some, by address; all was found since `now`. It locks due rows, then
    GPUs, by address: after all else that the caller locks.
    """
    known = {row.address: row for row in fetch_columns(db, KNOWN, host_id=host_id)}
    there = {gpu.address: gpu for gpu in found.gpus}
    for address in sorted(known.keys() | there.keys()):
        look = Look(there.get(address), found.iommu, now, users.get(address))
        if row := known.get(address):
            note_one(db, host_id, row, look)
        elif look.gpu:
            add_gpu(db, host_id, look.gpu, look)


def forget_gpus(db: Session, host_id: UUID) -> None:
    """Forget the GPUs of a host that goes, which no VM holds, and how they can be joined."""
    db.execute(delete(GpuPartition).where(GpuPartition.host_id == host_id))
    db.execute(delete(Gpu).where(Gpu.host_id == host_id))


def add_gpu(db: Session, host_id: UUID, gpu: PciGpu, look: Look) -> None:
    """Take a GPU in; one that is fit is cleaned before any VM gets it, which shows that it can be."""
    id, seen = uuid4(), first_look(gpu, look)
    insert_row(db, Gpu, id=id, host_id=host_id, address=gpu.address, since=look.begun, **seen)
    wake(db, Kind.GPU, id, now=look.begun)
    log_gpu(db, id, EventName.GPU_APPEARED, is_now(seen), now=look.begun)


def note_one(db: Session, host_id: UUID, row: Row[*tuple[Any, ...]], look: Look) -> None:
    """Write down what is new about a GPU. Whatever waits to be cleaned is woken: that is the net under those who should."""
    now = look.begun
    if look.gpu is None and is_forgotten(row, now):
        log_gpu(db, row.id, EventName.GPU_FORGOTTEN, "has been away for long and is forgotten", now=now)
        change_rows(db, FORGET, id=row.id)
        return
    is_news = differs(row, after_look(row, look), "facts", *VERDICT)
    if is_news or row.state is GpuState.CLEANING:
        wake(db, Kind.GPU, row.id, now=now)
    if not is_news:
        return
    (row,) = fetch_columns(db, LOCK_ONE, host_id=host_id, id=row.id)  # a VM may have taken it meanwhile
    seen = after_look(row, look)
    moved = seen["state"] is not row.state or not is_same_card(row.facts, seen["facts"])
    update_row(db, Gpu, row.id, **seen, **({"since": now} if moved else {}))
    tell_operator(db, row, seen, now=now)
    tell_owner(db, row, seen, now=now)


def is_forgotten(row: Row[*tuple[Any, ...]], now: datetime) -> bool:
    """Whether it has been away for so long that nobody looks for it any more."""
    return row.state is GpuState.ABSENT and row.vm_id is None and now - row.since >= FORGET_AFTER


def differs(row: Row[*tuple[Any, ...]], seen: Values, *names: str) -> bool:
    """Whether any of these columns is not as it should be."""
    return any(getattr(row, name) != seen[name] for name in names)


def tell_operator(db: Session, row: Row[*tuple[Any, ...]], seen: Values, *, now: datetime) -> None:
    """Tell the journal what is new about a GPU; nothing of what is quiet."""
    others = [name for name, value in seen["facts"].items() if row.facts.get(name) != value]
    told = [name for name in others if name not in QUIET]
    if told or differs(row, seen, *VERDICT):
        new = f"has other {', '.join(told)}, and " if told else ""
        log_gpu(db, row.id, event_of(row, seen), new + is_now(seen), now=now)


def event_of(row: Row[*tuple[Any, ...]], seen: Values) -> EventName:
    """Name what has happened to a GPU."""
    if seen["problem"] and not row.problem:
        return EventName.GPU_FAULTED
    if (seen["state"] is GpuState.ABSENT) is (row.state is GpuState.ABSENT):
        return EventName.GPU_CHANGED
    return EventName.GPU_ABSENT if seen["state"] is GpuState.ABSENT else EventName.GPU_APPEARED


def tell_owner(db: Session, row: Row[*tuple[Any, ...]], seen: Values, *, now: datetime) -> None:
    """Tell whoever has a GPU what befell it, and that it is back."""
    if row.vm_id is None:
        return
    if seen["problem"] and not row.problem:
        fault = f"failed: {seen['problem']}"
        log_for_owner(db, row.vm_id, row.id, EventName.VM_GPU_FAULT, fault, now=now)
    elif seen["state"] is not row.state:
        is_gone = seen["state"] is GpuState.ABSENT
        name = EventName.VM_GPU_FAULT if is_gone else EventName.VM_GPU_BACK
        text = "is not in its host any more" if is_gone else "is in its host again"
        log_for_owner(db, row.vm_id, row.id, name, text, now=now)


def is_now(seen: Values) -> str:
    """Tell a GPU's state, and why."""
    if seen["state"] is GpuState.ABSENT and not seen["causes"]:
        return "is not on the bus any more"
    whys = [*filter(None, [seen.get("problem")]), *(cause["problem"] for cause in seen["causes"])]
    return f"is {seen['state'].value}{': ' if whys else ''}{'; '.join(whys)}"
