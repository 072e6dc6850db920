"""All of a project's things of a kind, however many pages of the API they take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Lock
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
MOST_READ: Final = 5000
"""VMs that are kept, of some 2 KB each."""


class ConnectedVm(Wire, kw_only=True):
    """What pages about networks need of a VM."""

    id: str
    state: VmState
    datacenter_id: str
    external_ip_address: str
    internal_ip_address: str
    nics: list[Nic] = []
    security_group_ids: list[str] = []


class ReadVms:
    """VMs that were read out of lists: one that did not change is the same text there, and is not read again."""

    def __init__(self, *, most: int = MOST_READ) -> None:
        self._most = most
        self._lock = Lock()
        self._read: dict[tuple[type[Any], int], tuple[msgspec.Raw, Any]] = {}

    def read(self, text: msgspec.Raw, kind: type[T]) -> T:
        """Give a VM as a struct of what is needed of it."""
        known = self._read.get((kind, id(text)))
        if known is not None and known[0] is text:
            return known[1]  # type: ignore[no-any-return]
        vm = msgspec.json.decode(text, type=kind)
        with self._lock:
            self._read[kind, id(text)] = text, vm
            if len(self._read) > self._most:
                del self._read[next(iter(self._read))]
        return vm


READ: Final = ReadVms()


def all_vms(visit: Visit, kind: type[T]) -> Sequence[T]:
    """Give all VMs of the project by id, each as a struct of what is needed of it."""
    listed: Any = visit.ask(list_vms, project_id=visit.project_id).vms  # each is JSON already
    return [READ.read(text, kind) for text in listed]


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
