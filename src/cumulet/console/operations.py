"""The verbs of consoles."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote
from uuid import UUID

from sqlalchemy.orm import Session

from cumulet.console.tickets import issue_ticket
from cumulet.console.wire import ConnectVmResponse
from cumulet.errors import Refused, Unavailable
from cumulet.events import EventName
from cumulet.hypervisor import Hypervisor, HypervisorError, MachineOff
from cumulet.operation import Access, Caller, operation
from cumulet.resource import log_request
from cumulet.vm_record import Verb, accept, find_vm
from cumulet.wire import Png


@operation("GET /v1/projects/{projectId}/vms/{id}/connect", writes=True, access=Access.EDITOR)
def connect_vm(
    db: Session,
    caller: Caller,
    *,
    now: datetime,
    origin: str,
    project_id: str,
    id: str,
    connection_id: str = "",  # noqa: ARG001 - of the contract, which does not say what it does
) -> ConnectVmResponse:
    """Give a link to the screen of a virtual machine that is running; needs the role EDITOR, because one can type there.

    The link can be opened for five minutes, and stays good while the page is open. It has the address under
    which this call was made.
    """
    vm = find_vm(db, project_id=project_id, id=id)
    accept(Verb.CONNECT, vm.state, vm.name)
    ticket = issue_ticket(db, vm.id, caller, now=now)
    log_request(db, caller, vm, EventName.VM_CONSOLE_REQUESTED, "console access requested", now=now)
    page = f"{origin}/console/{quote(project_id, safe='')}/{quote(vm.name, safe='')}/screen"
    return ConnectVmResponse(connect_url=f"{page}#{ticket}", token=ticket)


@operation("GET /v1/projects/{projectId}/vms/{id}/screenshot", access=Access.VIEWER)
def get_vm_screenshot(db: Session, *, hosts: Mapping[UUID, Hypervisor], project_id: str, id: str) -> Png:
    """Take a screenshot of a virtual machine that is running."""
    vm = find_vm(db, project_id=project_id, id=id)
    accept(Verb.SCREENSHOT, vm.state, vm.name)
    if vm.host_id not in hosts:
        raise Unavailable(f"the host of VM {id!r} cannot be reached now")
    try:
        return Png(hosts[vm.host_id].consoles.screenshot(vm.id))
    except MachineOff as problem:
        raise Refused(f"VM {id!r} is not running", reason="VM_NOT_ACTIVE", subject=vm.name) from problem
    except HypervisorError as problem:
        why = f"no screenshot of VM {id!r} is available now"
        raise Unavailable(f"{why}: {problem.message}", for_operator=f"{why}: {problem}") from problem
