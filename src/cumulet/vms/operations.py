"""The verbs of VMs: who may, does it fit, write down what is wanted, wake. The work itself is `reconcile_vm`'s."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cumulet import journal
from cumulet.catalogue import Catalogue
from cumulet.db import forget
from cumulet.disks import let_go
from cumulet.errors import Unavailable
from cumulet.events import EventName
from cumulet.hypervisor import Hypervisor
from cumulet.images import ImageStore
from cumulet.operation import Access, Caller, States, operation
from cumulet.projects import fetch_part, read_part
from cumulet.quotas import refuse_running
from cumulet.resource import Wanted, log_request
from cumulet.vm_record import find_vm, find_vm_to_change
from cumulet.vm_record.accepts import Verb, accept
from cumulet.vm_record.end import accept_end
from cumulet.vm_record.model import Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms.create.request import CreateRequest
from cumulet.vms.create.rows import create
from cumulet.vms.retained_logs import CONSOLE_LOG_BYTES, find_kept
from cumulet.vms.views.labels import all_labelled
from cumulet.vms.views.lists import listed_vms
from cumulet.vms.views.queries import ALL, ON_NETWORK, STAYS
from cumulet.vms.views.vm import vm_view
from cumulet.vms.wire import (
    ConsoleLogResponse,
    CountVmsResponse,
    CreateVm,
    CreateVmResponse,
    GetVmResponse,
    ListVmsResponse,
    TimelineEntry,
    TimelineResponse,
)
from cumulet.wire import Empty

ONE_LIST: Final = threading.Lock()
"""Long lists take turns: threads that read them at once take the interpreter from each other at every row, and so
from everybody who asks for little."""


@operation(
    "POST /v1/projects/{projectId}/vm", makes="/v1/projects/{projectId}/vms/{vmId}", access=Access.EDITOR
)
def create_vm(
    db: Session,
    caller: Caller,
    *,
    catalogue: Catalogue,
    images: ImageStore,
    now: datetime,
    project_id: str,
    data: CreateVm,
) -> CreateVmResponse:
    """Create a virtual machine and start it; with `validateOnly` only check and price it.

    Answers as soon as the request is stored. The VM is PENDING, then STARTING, then ACTIVE.
    """
    create(db, CreateRequest(caller, project_id, data, catalogue, images, now))
    answer = vm_view(db, catalogue, project_id=project_id, id=data.vm_id)
    if data.validate_only:
        forget(db)
    return CreateVmResponse(id=data.vm_id, vm=answer)


STATES: Final = States("VM", rests=("ACTIVE", "STOPPED"), vain=frozenset({"FAILED", "DELETING", "DELETED"}))


@operation("GET /v1/projects/{projectId}/vms/{id}", access=Access.VIEWER, states=STATES)
def get_vm(db: Session, *, catalogue: Catalogue, project_id: str, id: str) -> GetVmResponse:
    """Show a virtual machine with its itemised price per hour."""
    answer = vm_view(db, catalogue, project_id=project_id, id=id)
    price = answer.price
    return GetVmResponse(
        vm=answer,
        vcpu_price_hr=price.vcpu_price_hr,
        total_vcpu_price_hr=price.total_vcpu_price_hr,
        memory_gib_price_hr=price.memory_gib_price_hr,
        total_memory_price_hr=price.total_memory_price_hr,
        gpu_price_hr=price.gpu_price_hr,
        total_gpu_price_hr=price.total_gpu_price_hr,
        storage_gib_price_hr=price.storage_gib_price_hr,
        total_storage_price_hr=price.total_storage_price_hr,
        ipv4_price_hr=price.ipv4_address_price_hr,
        total_price_hr=price.total_price_hr,
    )


@operation("GET /v1/projects/{projectId}/vms", access=Access.VIEWER)
def list_vms(
    db: Session,
    *,
    catalogue: Catalogue,
    project_id: str,
    network_id: str = "",
    metadata: list[str] = [],  # noqa: B006 - nobody changes it
    page_size: int = 0,
    page_token: str = "",
) -> ListVmsResponse:
    """List the project's virtual machines by id; with `networkId` only those with a NIC on that network.

    With `metadata`, repeated for each, only those that have this key, or this value under it: `KEY` or `KEY=VALUE`.

    All come at once, or with `pageSize` so many; its `pageToken` then asks for what follows.

    One that is being deleted is not among them; GetVM shows it until it is deleted.
    """
    values = {"project_id": project_id} | ({"network": network_id} if network_id else {})
    these = ON_NETWORK if network_id else ALL
    if metadata:
        these = these.where(*all_labelled(metadata))
    these, token = these.part(db, read_part(page_size, page_token), **values)
    with ONE_LIST:
        vms = listed_vms(db, catalogue, these, **values)
    return ListVmsResponse(vms=vms, page_token=token)


@operation("GET /v1/projects/{projectId}/count-vms", access=Access.VIEWER)
def count_vms(db: Session, *, project_id: str) -> CountVmsResponse:
    """Count the project's virtual machines, as many as a list shows."""
    listed = select(func.count()).select_from(Vm).where(Vm.project_id == project_id, STAYS)
    count = db.scalar(listed)
    return CountVmsResponse(count=count or 0)


@operation("POST /v1/projects/{projectId}/vms/{id}/start", access=Access.EDITOR)
def start_vm(db: Session, caller: Caller, *, now: datetime, project_id: str, id: str) -> Empty:
    """Start a virtual machine that is stopped."""
    vm = find_vm_to_change(db, now=now, project_id=project_id, id=id)
    accept(Verb.START, vm.state, vm.name)
    refuse_running(db, project_id)
    vm.wanted, vm.state, vm.crashes = Wanted.ACTIVE, VmState.STARTING, 0
    log_request(db, caller, vm, EventName.VM_START_REQUESTED, "start requested", now=now)
    return Empty()


@operation("POST /v1/projects/{projectId}/vms/{id}/stop", access=Access.EDITOR)
def stop_vm(db: Session, caller: Caller, *, now: datetime, project_id: str, id: str) -> Empty:
    """Stop a virtual machine: shutdown requested from the guest, and forced off after 60 s.

    One that FAILED is forced off at once where an error has stopped it, and not started anew.
    """
    vm = find_vm_to_change(db, now=now, project_id=project_id, id=id)
    accept(Verb.STOP, vm.state, vm.name)
    vm.want_off()
    vm.state = VmState.STOPPING
    log_request(db, caller, vm, EventName.VM_STOP_REQUESTED, "stop requested", now=now)
    return Empty()


@operation("POST /v1/projects/{projectId}/vms/{id}/reboot", access=Access.EDITOR)
def reboot_vm(db: Session, caller: Caller, *, now: datetime, project_id: str, id: str) -> Empty:
    """Restart a virtual machine: the guest is shutting down as for a stop, and is started again."""
    vm = find_vm_to_change(db, now=now, project_id=project_id, id=id)
    accept(Verb.REBOOT, vm.state, vm.name)
    vm.reboots_asked += 1
    log_request(db, caller, vm, EventName.VM_REBOOT_REQUESTED, "restart requested", now=now)
    return Empty()


@operation("POST /v1/projects/{projectId}/vms/{id}/terminate", access=Access.EDITOR)
def terminate_vm(db: Session, caller: Caller, *, now: datetime, project_id: str, id: str) -> Empty:
    """Delete a virtual machine with its boot disk, in whatever state it is; its storage disks are kept."""
    vm = find_vm_to_change(db, now=now, project_id=project_id, id=id)
    if vm.wanted is not Wanted.DELETED:
        accept_end(vm, now)
        vm.wanted, vm.state = Wanted.DELETED, VmState.DELETING
        let_go(db, vm.id, now=now, actor=caller.email)
        log_request(db, caller, vm, EventName.VM_TERMINATE_REQUESTED, "deletion requested", now=now)
    return Empty()


@operation("GET /v1/projects/{projectId}/vms/{id}/timeline", access=Access.VIEWER)
def get_vm_timeline(
    db: Session, *, project_id: str, id: str, page_size: int = 0, page_token: str = ""
) -> TimelineResponse:
    """List the virtual machine's events, oldest first: the newest thousand, or all in pages."""
    vm = find_vm(db, project_id=project_id, id=id)
    page = read_part(page_size, page_token)
    if not page.size:
        return TimelineResponse(entries=timeline(journal.events_about(db, vm.id)))
    about = select(journal.Event).where(journal.Event.subject_id == vm.id)
    events, token = fetch_part(db, about, page, journal.Event.id)
    return TimelineResponse(entries=timeline(events), page_token=token)


@operation("GET /v1/projects/{projectId}/vms/{id}/console-log", access=Access.VIEWER)
def get_vm_console_log(
    db: Session, *, hosts: Mapping[UUID, Hypervisor], project_id: str, id: str
) -> ConsoleLogResponse:
    """Show the newest output of the guest's serial console; of a deleted VM, what was retained.

    It is retained for as many days, and for as many VMs of a project, as the operator has set: by default a week and fifty.
    """
    vm = db.scalar(select(Vm).where(Vm.project_id == project_id, Vm.name == id))
    if vm is None:
        return ConsoleLogResponse(text=find_kept(db, project_id, id).decode(errors="replace"))
    if vm.host_id not in hosts:
        raise Unavailable(f"the host of VM {id!r} cannot be reached now")
    log = hosts[vm.host_id].consoles.log(vm.id, max_bytes=CONSOLE_LOG_BYTES)
    return ConsoleLogResponse(text=log.decode(errors="replace"))


def timeline(events: Sequence[journal.Event]) -> list[TimelineEntry]:
    """Show events of the journal."""
    return [
        TimelineEntry(time=event.at, event=event.event, text=event.text, actor=event.actor)
        for event in events
    ]
