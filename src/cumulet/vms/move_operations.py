"""Moving VMs to other hosts: what operators ask for."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session, aliased

from cumulet.catalogue import Catalogue
from cumulet.errors import Invalid, NotFound
from cumulet.hosts import Host
from cumulet.operation import Access, Caller, operation
from cumulet.projects.access import find_project
from cumulet.vm_record.find import find_vm
from cumulet.vm_record.model import Vm
from cumulet.vms.moves import abort_move, begin_move
from cumulet.vms.wire import ListMovesResponse, Move, MoveVm
from cumulet.wire import Empty


@operation("GET /v1/moves", access=Access.AUDITOR)
def list_moves(db: Session) -> ListMovesResponse:
    """List the virtual machines that are being moved to other hosts.

    Only for auditors and operators.
    """
    source, target = aliased(Host), aliased(Host)
    moving = (
        select(Vm.project_id, Vm.name, source.name, target.name)
        .join(source, source.id == Vm.host_id)
        .join(target, target.id == Vm.moving_to)
        .order_by(Vm.project_id, Vm.name)
    )
    return ListMovesResponse(
        moves=[
            Move(id=f"{project}:{vm}", project_id=project, vm_id=vm, from_host_id=left, to_host_id=to)
            for project, vm, left, to in db.execute(moving)
        ]
    )


@operation("POST /v1/moves", access=Access.OPERATOR)
def move_vm(db: Session, caller: Caller, *, catalogue: Catalogue, now: datetime, data: MoveVm) -> Empty:
    """Move a virtual machine with all its disks to another host: `hostId`, or the one that is placed best.

    One that runs goes on running, or with `restart` is shut down for it and started again there. Only for operators.
    """
    with Invalid.reference("projectId"):
        project = find_project(db, data.project_id)
    with Invalid.reference("vmId"):
        seen = find_vm(db, project_id=project.id, id=data.vm_id)
    begin_move(db, catalogue, seen, to=data.host_id, restart=data.restart, now=now, actor=caller.email)
    return Empty()


@operation("DELETE /v1/moves/{id}", access=Access.OPERATOR)
def abort_vm_move(db: Session, caller: Caller, *, now: datetime, id: str) -> Empty:
    """Abort a move, by its id `PROJECT:VM`: the virtual machine stays on its host, and runs there if it is to run.

    One that moves while it runs may have left already; then it is moved all the same. Only for operators.
    """
    project_id, colon, vm_id = id.partition(":")
    if not colon:
        raise NotFound.named("move", id, [move.id for move in list_moves(db).moves])
    abort_move(db, find_vm(db, project_id=project_id, id=vm_id), now=now, actor=caller.email)
    return Empty()
