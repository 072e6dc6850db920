"""Finding a VM for a verb, and writing down who asked for what of it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet import journal
from cumulet.db import names_there
from cumulet.errors import NotFound
from cumulet.operation import Caller
from cumulet.projects import Role, require
from cumulet.reconcile import wake
from cumulet.vm_record.model import Vm


def find_vm(db: Session, caller: Caller, role: Role, *, project_id: str, id: str) -> Vm:
    """Find a VM of a project that the caller has this role in; NotFound, Forbidden."""
    require(db, caller, project_id, role)
    vm = db.scalar(select(Vm).where(Vm.project_id == project_id, Vm.name == id))
    if vm is None:
        raise NotFound.named("VM", id, names_there(db, Vm.name, Vm.project_id == project_id))
    return vm


def find_vm_to_change(db: Session, caller: Caller, *, now: datetime, project_id: str, id: str) -> Vm:
    """Find a VM for a verb, and have it looked at once that is done; NotFound, Forbidden.

    It is woken first and read after: plots too lock the due row before the VM's, so verbs and plots take turns.
    """
    seen = find_vm(db, caller, Role.EDITOR, project_id=project_id, id=id)
    wake(db, "vm", seen.id, now=now)
    vm = db.get(Vm, seen.id, populate_existing=True)
    if vm is None:
        raise NotFound.named("VM", id)
    return vm


def asked(db: Session, caller: Caller, vm: Vm, event: str, text: str, *, now: datetime) -> None:
    """Write down who asked for what."""
    journal.record(
        db, event, at=now, project_id=vm.project_id, subject_id=vm.id, text=text, actor=caller.email
    )
