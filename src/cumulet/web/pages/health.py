"""What is wrong with the cloud, each with what mends it, and what it has not come to an end with; for operators and auditors."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from msgspec.structs import astuple

from cumulet.doctor.calls import Level
from cumulet.events import EventName
from cumulet.feed.operations import list_all_events
from cumulet.feed.wire import ProjectEvent
from cumulet.fleet.adding import FAILED
from cumulet.fleet.operations import examine_host, list_hosts
from cumulet.fleet.wire import HostAnswer
from cumulet.gpus.operations import list_gpus
from cumulet.hosts import HostState
from cumulet.monitoring.unsettled import list_unsettled
from cumulet.plurals import plural
from cumulet.vms.offers import list_vm_data_centers
from cumulet.web.listings import MOST
from cumulet.web.pages.hosts import page_of
from cumulet.web.site import form, page
from cumulet.web.visit import Gone, Shown, Visit

NEWEST: Final = 20
FEW: Final = 5
"""Ids of a kind that a finding names."""
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
MATCHING: Final = (
    EventName.HOST_STRAYS,
    EventName.HOST_LEFTOVERS_REMOVED,
    EventName.FABRIC_CORRECTED,
    EventName.FABRIC_LEFTOVERS_REMOVED,
)
"""What looks at all that there is told, where it did not match the rows."""
TONES: Final = {Level.BROKEN: "bad", Level.DEGRADED: "wait"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, here or on several hosts."""

    tone: str
    what: str
    url: str
    text: str
    cure: str
    hosts: Sequence[str] = ()
    """Where it is, when the thing itself does not tell."""


@page("/health", live=True)
def health_page(visit: Visit) -> Shown:
    """Show all of it, and the newest trouble in the journal."""
    hosts = visit.ask(list_hosts, page_size=MOST).hosts
    found = [
        *findings_of_hosts(hosts),
        *findings_of_doctors(hosts),
        *findings_of_strays(hosts),
        *findings_of_gpus(visit),
        *findings_of_addresses(visit),
    ]
    return visit.show(
        "health.html",
        findings=sorted(found, key=lambda one: one.tone != "bad"),
        examined=min((one.examined_time for one in hosts if one.examined_time), default=None),
        hosts=len(hosts),
        late=visit.ask(list_unsettled).unsettled,
        matching=newest(visit, MATCHING),
        events=newest(visit, TROUBLE),
    )


@form("/health/examine", on=health_page)
def examine(visit: Visit) -> Gone:
    """Have the doctors of all hosts look at them now."""
    for host in visit.ask(list_hosts, page_size=MOST).hosts:
        visit.ask(examine_host, id=host.id)
    return Gone("/health")


def newest(visit: Visit, names: Sequence[EventName]) -> Sequence[ProjectEvent]:
    """Give the newest events of these names."""
    words = [str(name.value) for name in names]
    return visit.ask(list_all_events, event=words, newest_first=True, page_size=NEWEST).events


def findings_of_hosts(hosts: Sequence[HostAnswer]) -> Iterator[Finding]:
    """Tell which hosts do not answer, and which cannot be added."""
    for host in hosts:
        if host.state is HostState.ADDING and host.why.startswith(FAILED):
            yield Finding(
                "wait",
                f"Host {host.id} cannot be added",
                page_of(host.id),
                host.why,
                "mend that there: it is tried again every half minute",
            )
        if host.state in {HostState.SILENT, HostState.LOST}:
            yield Finding(
                "bad",
                f"Host {host.id} is {host.state.value}",
                page_of(host.id),
                f"{host.why}. Nothing new goes there, and nobody knows what runs there",
                "see to the machine; once it is surely off, cumulet host lost gives it up",
            )


def findings_of_doctors(hosts: Sequence[HostAnswer]) -> Iterator[Finding]:
    """Tell what the doctors found, each thing once for all hosts where it is."""
    where: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for host in hosts:
        for one in host.findings:
            where[astuple(one)].append(host.id)
    for (name, level, text, cost, cure), ids in where.items():
        yield Finding(TONES[level], name, "", f"{text}. It costs: {cost}" if cost else text, cure, ids)


def findings_of_strays(hosts: Sequence[HostAnswer]) -> Iterator[Finding]:
    """Tell what is on hosts that no row ever told of."""
    for host in hosts:
        if host.strays:
            words = "; ".join(
                f"{plural(len(ids), kind)}: {', '.join(ids[:FEW])}{', …' if len(ids) > FEW else ''}"
                for kind, ids in host.strays.items()
            )
            yield Finding(
                "wait",
                f"Host {host.id} has what this database has never known",
                page_of(host.id),
                f"It is kept as it is. {words}",
                "restore a newer backup of the database, or remove there by hand what nobody needs",
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
