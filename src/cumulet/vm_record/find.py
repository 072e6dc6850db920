"""Finding a VM for a verb."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from cumulet.resource import find, lock_to_change
from cumulet.vm_record.model import Vm


def find_vm(db: Session, *, project_id: str, id: str) -> Vm:
    """Find a VM of a project; NotFound."""
    return find(db, Vm, project_id, id)


def find_vm_to_change(db: Session, *, now: datetime, project_id: str, id: str) -> Vm:
    """Find a VM for a verb, and have it looked at once that is done; NotFound."""
    return lock_to_change(db, find_vm(db, project_id=project_id, id=id), now=now)
