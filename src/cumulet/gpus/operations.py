"""What operators see of the GPUs of all hosts, and what they do with one."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, bindparam, select
from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue
from cumulet.db import names_there
from cumulet.errors import NotFound, Refused
from cumulet.events import EventName
from cumulet.gpus.model import Gpu
from cumulet.gpus.partitions import partitions_of
from cumulet.gpus.told import log_gpu
from cumulet.gpus.views import SHOWN, gpu_view, problems_of
from cumulet.gpus.wire import GetGpuResponse, GpuState, ListGpusResponse
from cumulet.hosts import Host, is_shown
from cumulet.operation import Access, Caller, operation
from cumulet.permission import Role
from cumulet.projects import read_page
from cumulet.reconcile import Kind, wake
from cumulet.wire import Empty

ID: Final = Host.name + ":" + Gpu.address
ONE: Final = SHOWN.where(bindparam("id") == ID)
CLEANABLE: Final = frozenset({GpuState.FREE, GpuState.CLEANING, GpuState.QUARANTINED})


@operation("GET /v1/gpus", access=Access.DATA_CENTER_VIEWER)
def list_gpus(
    db: Session,
    caller: Caller,
    *,
    catalogue: Catalogue,
    host_id: str = "",
    page_size: int = 0,
    page_token: str = "",
) -> ListGpusResponse:
    """List the GPUs of all hosts, or of one, by host and address.

    Only for auditors and operators, and, of theirs, those who look after a data center. A host's are as they were when it last answered.
    """
    page = read_page(0, page_size, page_token)
    chosen = SHOWN.where(is_shown(caller), *page.following(Host.name, Gpu.address))
    if host_id:
        if db.scalar(select(Host.id).where(Host.name == host_id, is_shown(caller))) is None:
            raise NotFound.named("host", host_id, names_there(db, Host.name, is_shown(caller)))
        chosen = chosen.where(Host.name == host_id)
    rows = db.execute(chosen.order_by(Host.name, Gpu.address).limit(page.size + 1)).all()
    found, token = page.cut(rows, lambda row: (row.host_id, row.Gpu.address))
    partitions = partitions_of(db, {row.Gpu.host_id for row in found})
    return ListGpusResponse(
        gpus=[gpu_view(catalogue, row, partitions) for row in found], page_token=token, page_size=page.size
    )


@operation("GET /v1/gpus/{id}", access=Access.DATA_CENTER_VIEWER)
def get_gpu(db: Session, caller: Caller, *, catalogue: Catalogue, id: str) -> GetGpuResponse:
    """Show a GPU; its id is `HOST:ADDRESS`, as the list has it.

    Only for auditors and operators, and those who look after its data center.
    """
    found = find_gpu(db, caller, id)
    return GetGpuResponse(gpu=gpu_view(catalogue, found, partitions_of(db, [found.Gpu.host_id])))


@operation("POST /v1/gpus/{id}/clean", access=Access.DATA_CENTER_EDITOR)
def clean_gpu(db: Session, caller: Caller, *, now: datetime, id: str) -> Empty:
    """Have a GPU that no VM holds reset and looked at, one that is QUARANTINED too; it is FREE when it is as new.

    Only for operators, and editors of its data center.
    """
    gpu = begin_cleaning(db, caller, now=now, id=id)
    log_request(db, caller, gpu, EventName.GPU_CLEAN_REQUESTED, "is to be cleaned", now=now)
    return Empty()


@operation("POST /v1/gpus/{id}/prove", access=Access.DATA_CENTER_EDITOR)
def prove_gpu(db: Session, caller: Caller, *, now: datetime, id: str) -> Empty:
    """Have a GPU that no VM holds given to a small guest that looks at it, and cleaned before and after.

    The GPU shows what that found; it is QUARANTINED when that was not the card that the host has. Only for operators, and editors of its data center.
    """
    gpu = begin_cleaning(db, caller, now=now, id=id)
    gpu.proving = True
    log_request(db, caller, gpu, EventName.GPU_PROOF_REQUESTED, "is to be shown to a guest", now=now)
    return Empty()


@operation("POST /v1/gpus/{id}/withdraw", access=Access.DATA_CENTER_EDITOR)
def withdraw_gpu(db: Session, caller: Caller, *, now: datetime, id: str) -> Empty:
    """Give a GPU to no further VM; one that has it keeps it.

    Only for operators, and editors of its data center.
    """
    gpu = find_gpu_to_change(db, caller, now=now, id=id)
    if not gpu.withdrawn:
        gpu.withdrawn = True
        log_request(db, caller, gpu, EventName.GPU_WITHDRAWN, "is withdrawn: no further VM gets it", now=now)
    return Empty()


@operation("POST /v1/gpus/{id}/offer", access=Access.DATA_CENTER_EDITOR)
def offer_gpu(db: Session, caller: Caller, *, now: datetime, id: str) -> Empty:
    """Let VMs have a GPU again that was withdrawn.

    Only for operators, and editors of its data center.
    """
    gpu = find_gpu_to_change(db, caller, now=now, id=id)
    if gpu.withdrawn:
        gpu.withdrawn = False
        log_request(db, caller, gpu, EventName.GPU_OFFERED, "is offered to VMs again", now=now)
    return Empty()


def find_gpu(db: Session, caller: Caller, id: str) -> Row[*tuple[Any, ...]]:
    """Find a GPU, with all that is shown of it; NotFound."""
    found = db.execute(ONE.where(is_shown(caller)), {"id": id}).one_or_none()
    if found is None:
        raise NotFound.named("GPU", id, names_there(db, ID, Host.id == Gpu.host_id, is_shown(caller)))
    return found


def find_gpu_to_change(db: Session, caller: Caller, *, now: datetime, id: str) -> Gpu:
    """Find a GPU for a verb, lock it, and have it looked at once that is done; NotFound.

    Its host is locked first, so that nobody places there meanwhile, then its due row, as reconcilers do.
    """
    seen = find_gpu(db, caller, id).Gpu
    host = db.get_one(Host, seen.host_id, with_for_update=True)
    caller.refuse_in(host.data_center_id, Role.EDITOR)
    wake(db, Kind.GPU, seen.id, now=now)
    return db.get_one(Gpu, seen.id, populate_existing=True, with_for_update=True)


def begin_cleaning(db: Session, caller: Caller, *, now: datetime, id: str) -> Gpu:
    """Take a GPU out of what VMs can have until its host has cleaned it."""
    gpu = find_gpu_to_change(db, caller, now=now, id=id)
    accept_cleaning(gpu, id)
    if gpu.state is not GpuState.CLEANING:
        gpu.state, gpu.since = GpuState.CLEANING, now
    gpu.problem, gpu.failures = "", 0
    return gpu


def accept_cleaning(gpu: Gpu, id: str) -> None:
    """Return when a GPU can be cleaned; Refused otherwise."""
    if gpu.vm_id is not None:
        raise Refused(f"cannot clean GPU {id!r}: a VM holds it", reason="GPU_IN_USE", subject=id)
    if gpu.state not in CLEANABLE:
        why = "; ".join(one.problem for one in problems_of(gpu)) or "it is not on the bus"
        raise Refused(
            f"cannot clean GPU {id!r}: it is {gpu.state.value}: {why}", reason="GPU_NOT_READY", subject=id
        )


def log_request(db: Session, caller: Caller, gpu: Gpu, name: EventName, text: str, *, now: datetime) -> None:
    """Write into the journal what the operator asked for."""
    db.flush()
    log_gpu(db, gpu.id, name, text, now=now, actor=caller.email)
