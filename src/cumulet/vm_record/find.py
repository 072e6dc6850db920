"""Finding a VM for a verb."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from cumulet.operation import Caller
from cumulet.projects import Role, require
from cumulet.resource import find, lock_to_change
from cumulet.vm_record.model import Vm


def find_vm(db: Session, caller: Caller, role: Role, *, project_id: str, id: str) -> Vm:
    """Find a VM of a project that the caller has this role in; NotFound, Forbidden."""
    require(db, caller, project_id, role)
    return find(db, Vm, project_id, id)


def find_vm_to_change(db: Session, caller: Caller, *, now: datetime, project_id: str, id: str) -> Vm:
    """Find a VM for a verb, and have it looked at once that is done; NotFound, Forbidden."""
    return lock_to_change(db, find_vm(db, caller, Role.EDITOR, project_id=project_id, id=id), now=now)
