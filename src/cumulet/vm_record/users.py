"""VMs that use something: while one of them stays, it stands against the end of that thing."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from cumulet.errors import Refused, few_of
from cumulet.vm_record.model import Vm


def refuse_used(
    db: Session, what: str, vm_ids: Select[UUID], way_out: str, *, reason: str, subject: str
) -> None:
    """Refuse to delete what VMs of these ids use; that passes when none of them stays."""
    users = sorted(db.scalars(select(Vm).where(Vm.id.in_(vm_ids))), key=lambda vm: (vm.is_going, vm.name))
    if not users:
        return
    named = few_of([_shown(vm) for vm in users])
    passing = all(vm.is_going for vm in users)
    advice = "it can be deleted once they are gone" if passing else way_out
    message = f"cannot delete {what}: VMs use it ({named}): {advice}"
    raise Refused(message, reason=reason, subject=subject, passing=passing)


def _shown(vm: Vm) -> str:
    return f"{vm.name}, which is being terminated" if vm.is_going else vm.name
