"""All of a project's things of a kind, however many pages of the API they take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec

from cumulet.security_groups.operations import list_security_groups
from cumulet.security_groups.wire import SecurityGroupAnswer
from cumulet.vm_record.wire import VmState
from cumulet.vms.operations import list_vms
from cumulet.vms.wire import Nic, Vm
from cumulet.web.visit import Visit
from cumulet.wire import Wire

T = TypeVar("T")
MOST: Final = 1000
"""As many as one page of a list can have."""


class ConnectedVm(Wire, kw_only=True):
    """What pages about networks need of a VM."""

    id: str
    state: VmState
    datacenter_id: str
    external_ip_address: str
    internal_ip_address: str
    nics: list[Nic] = []
    security_group_ids: list[str] = []


def all_vms(visit: Visit, kind: type[T]) -> Sequence[T]:
    """Give all VMs of the project by id, each as a struct of what is needed of it."""
    listed: Any = visit.ask(list_vms, project_id=visit.project_id).vms  # each is JSON already
    return msgspec.json.decode(b"[" + b",".join(map(bytes, listed)) + b"]", type=list[kind])  # type: ignore[valid-type]


def all_of(visit: Visit, operation: Callable[..., Any], member: str) -> list[Any]:
    """Give all that an operation lists of the project."""
    found: list[Any] = []
    token = ""
    while True:
        answer = visit.ask(operation, project_id=visit.project_id, page_size=MOST, page_token=token)
        found += getattr(answer, member)
        token = answer.page_token
        if not token:
            return found


def all_groups(visit: Visit) -> dict[str, SecurityGroupAnswer]:
    """Give all security groups of the project, by id."""
    return {one.id: one for one in all_of(visit, list_security_groups, "security_groups")}


def nics_of(vm: Vm | ConnectedVm) -> list[Nic]:
    """Give a VM's NICs; the one on the default network is not among those that the API lists."""
    return vm.nics or [
        Nic(
            network_id="",
            external_ip_address=vm.external_ip_address,
            internal_ip_address=vm.internal_ip_address,
            network_address="",
            security_group_ids=vm.security_group_ids,
            ipv6_address="",
        )
    ]
