"""The end of a VM's commitment: from then on it costs what it costs without one."""

from __future__ import annotations

from decimal import Decimal

from cumulet.catalogue import Catalogue, CommitmentTerm, rates_of
from cumulet.errors import NotFound
from cumulet.events import EventName
from cumulet.reconcile import Run
from cumulet.resource import Event, change
from cumulet.vm_record.model import Vm


def end_commitment(run: Run, vm: Vm, catalogue: Catalogue) -> None:
    """Note that the term is over, once it is."""
    if vm.commitment_end_time is None or vm.is_committed(run.now):
        return
    prices = list_prices(vm, catalogue)
    ended = {"commitment_term": CommitmentTerm.NONE, "commitment_end_time": None, **prices}
    goes_on = (
        "the prices without one" if prices else "its prices, since its machine type is not sold any more"
    )
    change(run, vm, ended, Event(EventName.VM_COMMITMENT_ENDED, f"commitment ended; goes on at {goes_on}"))


def list_prices(vm: Vm, catalogue: Catalogue) -> dict[str, Decimal]:
    """Give what its kind costs without a commitment; nothing where it is not sold any more."""
    try:
        machine_type = catalogue.find_machine_type(vm.data_center_id, vm.machine_type)
    except NotFound:
        return {}
    rates = rates_of(machine_type, catalogue.find_data_center(vm.data_center_id), CommitmentTerm.NONE)
    return {"vcpu_price": rates.vcpu, "memory_price": rates.memory_gib, "gpu_price": rates.gpu}
