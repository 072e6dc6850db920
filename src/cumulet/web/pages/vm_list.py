"""The VMs of a project: how many run, what they cost, and each with its state."""

from __future__ import annotations

from collections import Counter

from cumulet.monitoring.operations import list_vm_usage
from cumulet.quotas.operations import list_quotas
from cumulet.usage.operations import get_project_spend
from cumulet.web.listings import all_vms
from cumulet.web.paging import Paged
from cumulet.web.site import page
from cumulet.web.visit import Shown, Visit
from cumulet.web.vm_states import FILTERS, ListedVm, state_of


@page("/p/{project_id:str}/vms", live=True)
def vm_list(visit: Visit) -> Shown:
    """Show the VMs that fit the filter, a page of them."""
    every = all_vms(visit, ListedVm)
    states = {vm.id: state_of(vm) for vm in every}
    fitting = [vm for vm in every if fits(vm, visit.given("q"))]
    by_tone = Counter(states[vm.id].tone for vm in fitting)
    tone = visit.given("state")
    chosen = [vm for vm in fitting if tone in {"", states[vm.id].tone}]
    pages = Paged(visit, chosen, ("q", "state"))
    return visit.show(
        "vms/list.html",
        pages=pages,
        states=states,
        total=len(every),
        counts=Counter(states[vm.id].tone for vm in every),
        fitting=len(fitting),
        choices=[(tone, name, by_tone[tone], tone) for tone, name in FILTERS.items()],
        quotas={one.name: one for one in visit.ask(list_quotas, project_id=visit.project_id).quotas},
        cpu={one.id: one.item.cpu for one in visit.ask(list_vm_usage, project_id=visit.project_id).vms},
        spend=visit.ask(get_project_spend, project_id=visit.project_id),
    )


def fits(vm: ListedVm, words: str) -> bool:
    """Whether a VM is one that words mean: each is a part of its name, an address, or a label as KEY or KEY=VALUE."""
    labels = [f"{name}={value}" if value else name for name, value in vm.metadata.items()]
    texts = [vm.id, vm.external_ip_address, vm.internal_ip_address, vm.image_name, *labels]
    return all(any(word in text.lower() for text in texts) for word in words.lower().split())
