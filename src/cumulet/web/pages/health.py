"""What is wrong with the cloud, each with what mends it, and what it has not come to an end with; for operators and auditors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from cumulet.events import EventName
from cumulet.feed.operations import list_all_events
from cumulet.fleet.operations import list_hosts
from cumulet.gpus.operations import list_gpus
from cumulet.hosts import HostState
from cumulet.monitoring.unsettled import list_unsettled
from cumulet.vms.offers import list_vm_data_centers
from cumulet.web.listings import MOST
from cumulet.web.pages.hosts import page_of
from cumulet.web.site import page
from cumulet.web.visit import Shown, Visit

NEWEST: Final = 20
TROUBLE: Final = (
    EventName.WORK_OVERDUE,
    EventName.HOST_SILENT,
    EventName.HOST_LOST,
    EventName.HOST_POWER_FAILED,
    EventName.GPU_FAULTED,
    EventName.GPU_QUARANTINED,
    EventName.GPU_ABSENT,
    EventName.VM_FAULTED,
    EventName.VM_PANICKED,
    EventName.VM_PAUSED_ON_IO_ERROR,
    EventName.DISK_LOST,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong."""

    tone: str
    what: str
    url: str
    text: str
    cure: str


@page("/health", live=True)
def health_page(visit: Visit) -> Shown:
    """Show all of it, and the newest trouble in the journal."""
    late = visit.ask(list_unsettled).unsettled
    trouble = [str(name.value) for name in TROUBLE]
    return visit.show(
        "health.html",
        findings=[*findings_of_hosts(visit), *findings_of_gpus(visit), *findings_of_addresses(visit)],
        late=late,
        events=visit.ask(list_all_events, event=trouble, newest_first=True, page_size=NEWEST).events,
    )


def findings_of_hosts(visit: Visit) -> Iterator[Finding]:
    """Tell which hosts do not answer."""
    for host in visit.ask(list_hosts, page_size=MOST).hosts:
        if host.state in {HostState.SILENT, HostState.LOST}:
            yield Finding(
                "bad",
                f"Host {host.id} is {host.state.value}",
                page_of(host.id),
                f"{host.why}. Nothing new goes there, and nobody knows what runs there",
                "see to the machine; once it is surely off, cumulet host lost gives it up",
            )


def findings_of_gpus(visit: Visit) -> Iterator[Finding]:
    """Tell which cards are kept from VMs, and why."""
    for gpu in visit.ask(list_gpus, page_size=MOST).gpus:
        for one in gpu.problems:
            yield Finding("wait", f"GPU {gpu.id}", page_of(gpu.host_id), one.problem, one.cure)


def findings_of_addresses(visit: Visit) -> Iterator[Finding]:
    """Tell where no external address is left."""
    for one in visit.ask(list_vm_data_centers).data_centers:
        if not one.ipv4_free:
            yield Finding(
                "wait",
                f"Data center {one.id} has no external address left",
                "/catalogue",
                "VMs with one cannot be created there",
                "give it another range in the catalogue's file",
            )
