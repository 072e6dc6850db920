"""Committing a VM to a term that is cheaper."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue, CommitmentTerm, check_term, end_of, rates_of
from cumulet.errors import Invalid
from cumulet.events import EventName
from cumulet.operation import Access, Caller, operation
from cumulet.plurals import plural
from cumulet.resource import log_request
from cumulet.vm_record.end import accept_room, accept_stay
from cumulet.vm_record.find import find_vm_to_change
from cumulet.vm_record.model import Vm
from cumulet.vms.wire import CommitVm
from cumulet.wire import Empty


@operation("POST /v1/projects/{projectId}/vm/{id}/commit", access=Access.EDITOR)
def commit_vm(
    db: Session,
    caller: Caller,
    *,
    catalogue: Catalogue,
    now: datetime,
    project_id: str,
    id: str,
    data: CommitVm,
) -> Empty:
    """Commit a virtual machine to a term from now on, at the prices of that term; a longer one replaces a shorter.

    Until its end it is neither terminated nor made smaller.
    """
    vm = find_vm_to_change(db, now=now, project_id=project_id, id=id)
    accept_stay(vm)
    accept_room(vm)
    machine_type = catalogue.find_machine_type(vm.data_center_id, vm.machine_type)
    check_term(machine_type, data.commitment_term)
    end = end_of(data.commitment_term, now)
    check_replaces(vm, data.commitment_term, end, now=now)
    rates = rates_of(machine_type, catalogue.find_data_center(vm.data_center_id), data.commitment_term)
    vm.commitment_term, vm.commitment_end_time = data.commitment_term, end
    vm.vcpu_price, vm.memory_price, vm.gpu_price = rates.vcpu, rates.memory_gib, rates.gpu
    text = f"committed for {term_in_words(data.commitment_term)}, until {end:%Y-%m-%d %H:%M:%S} UTC"
    log_request(db, caller, vm, EventName.VM_COMMITTED, text, now=now)
    return Empty()


def check_replaces(vm: Vm, term: CommitmentTerm, end: datetime, *, now: datetime) -> None:
    """Refuse a term that is not longer than the one that a VM is in, or at whose end it will be gone."""
    if vm.is_committed(now) and term.months <= vm.commitment_term.months:
        accepted = f"a term longer than {vm.commitment_term.value}, which it is in"
        raise Invalid.field("commitmentTerm", term.value, accepted)
    if vm.expire_time is not None and vm.expire_time < end:
        accepted = f"a term that ends before it expires, at {vm.expire_time:%Y-%m-%d %H:%M:%S} UTC"
        raise Invalid.field("commitmentTerm", term.value, accepted)


def term_in_words(term: CommitmentTerm) -> str:
    """Say how long a term is."""
    return plural(term.months, "month")
