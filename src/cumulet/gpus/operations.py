"""The operator's look at the GPUs of all hosts."""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue
from cumulet.db import names_there
from cumulet.errors import NotFound
from cumulet.gpus.model import Gpu
from cumulet.gpus.views import gpu_view
from cumulet.gpus.wire import GetGpuResponse, ListGpusResponse
from cumulet.hosts import Host
from cumulet.operation import Caller, operation
from cumulet.projects import DEFAULT_PROJECT, Role, read_page, require

ID: Final = Host.name + ":" + Gpu.address
GPUS: Final = select(Gpu, Host.name).join(Host, Host.id == Gpu.host_id)
ONE: Final = GPUS.where(bindparam("id") == ID)


@operation("GET /v1/gpus")
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

    Only for the operator. A host's are as they were when it last answered.
    """
    require(db, caller, DEFAULT_PROJECT, Role.OWNER)
    page = read_page(0, page_size, page_token)
    chosen = GPUS.where(*page.following(Host.name, Gpu.address))
    if host_id:
        if db.scalar(select(Host.id).where(Host.name == host_id)) is None:
            raise NotFound.named("host", host_id, names_there(db, Host.name))
        chosen = chosen.where(Host.name == host_id)
    rows = db.execute(chosen.order_by(Host.name, Gpu.address).limit(page.size + 1)).all()
    found, token = page.cut(rows, lambda row: (row.name, row.Gpu.address))
    return ListGpusResponse(
        gpus=[gpu_view(catalogue, gpu, host) for gpu, host in found], page_token=token, page_size=page.size
    )


@operation("GET /v1/gpus/{id}")
def get_gpu(db: Session, caller: Caller, *, catalogue: Catalogue, id: str) -> GetGpuResponse:
    """Show a GPU; its id is `HOST:ADDRESS`, as the list has it.

    Only for the operator.
    """
    require(db, caller, DEFAULT_PROJECT, Role.OWNER)
    found = db.execute(ONE, {"id": id}).one_or_none()
    if found is None:
        raise NotFound.named("GPU", id, names_there(db, ID, Host.id == Gpu.host_id))
    gpu, host = found
    return GetGpuResponse(gpu=gpu_view(catalogue, gpu, host))
