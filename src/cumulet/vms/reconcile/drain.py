"""Draining a host: what is there and can go is moved away, a few at a time, and what cannot is told with why."""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, select

from cumulet.catalogue import Catalogue
from cumulet.db import fetch_columns, update_row
from cumulet.errors import Invalid, NotFound, Refused
from cumulet.hosts import Host as HostRow
from cumulet.hosts import HostState, HostWanted
from cumulet.journal import SYSTEM
from cumulet.reconcile import Run
from cumulet.resource import Wanted
from cumulet.vm_record.model import Vm
from cumulet.vms.moves import begin_move

AT_ONCE: Final = 2
"""Moves away from one host: more would share its disks and its line, and all would be over later."""
IS_DRAINED: Final = select(HostRow.id).where(
    HostRow.id == bindparam("host_id"),
    HostRow.wanted == HostWanted.DRAINED,
    HostRow.state != HostState.ADDING,
    HostRow.state != HostState.LOST,
)


def move_away(run: Run, catalogue: Catalogue) -> int:
    """Begin to move VMs away from a host that is to be drained, and note which stay there and why; gives how many go."""
    with run.reading() as db:
        if not fetch_columns(db, IS_DRAINED, host_id=run.id):
            return 0
        row = db.get_one(HostRow, run.id)
        here = (Vm.host_id == row.id, Vm.wanted != Wanted.DELETED, Vm.waits_until.is_(None))
        vms = db.scalars(select(Vm).where(*here).order_by(Vm.project_id, Vm.name)).all()
    under_way = sum(vm.moving_to is not None for vm in vms)
    stays = {}
    for vm in vms:
        if vm.moving_to is None and under_way < AT_ONCE:
            why = refusal_to_move(run, vm, catalogue)
            if why and row.drain_restarts:
                why = refusal_to_move(run, vm, catalogue, restart=True)
            if why:
                stays[f"{vm.project_id}:{vm.name}"] = why
            else:
                under_way += 1
    if under_way < AT_ONCE and stays != row.stays:
        with run.writing() as db:
            update_row(db, HostRow, row.id, stays=stays)
    return under_way


def refusal_to_move(run: Run, vm: Vm, catalogue: Catalogue, *, restart: bool = False) -> str:
    """Begin to move a VM, or say why it stays; empty when it goes."""
    try:
        with run.writing() as db:
            begin_move(db, catalogue, vm, restart=restart, now=run.now, actor=SYSTEM)
    except (Invalid, NotFound, Refused) as refusal:
        return refusal.for_operator
    return ""
