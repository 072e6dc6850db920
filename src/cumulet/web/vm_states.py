"""How a VM is, in a word, a colour and a reason: what lists and pages show in the place of its bare state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cumulet.vm_record.wire import VmState
from cumulet.vms.wire import Vm
from cumulet.wire import Amount, Wire

WORDS: Final[Mapping[VmState, tuple[str, str]]] = {
    VmState.ACTIVE: ("good", "Running"),
    VmState.STOPPED: ("off", "Off"),
    VmState.PENDING: ("wait", "Waiting"),
    VmState.CLONING: ("wait", "Copying"),
    VmState.STARTING: ("wait", "Starting"),
    VmState.STOPPING: ("wait", "Stopping"),
    VmState.DELETING: ("wait", "Going"),
    VmState.DELETED: ("off", "Gone"),
    VmState.FAILED: ("bad", "Failed"),
    VmState.SUSPENDED: ("bad", "Held still"),
    VmState.UNKNOWN: ("bad", "Unknown"),
}
OTHER: Final = ("wait", "Working")
FILTERS: Final[Mapping[str, str]] = {"good": "Running", "wait": "Under way", "off": "Off", "bad": "Trouble"}
"""By tone, as lists call those who have it."""


@dataclass(frozen=True, slots=True)
class State:
    """How something is."""

    tone: str
    """`good`, `wait`, `off` or `bad`."""
    word: str
    reason: str = ""


class Guest(Wire):
    """What a list needs of what a guest says."""

    stage: str
    panic: str


class Price(Wire):
    """What a list needs of a price."""

    total_price_hr: Amount


class ListedVm(Wire, kw_only=True):
    """What a list needs of a VM: read alone, it takes a fraction of the time of all."""

    id: str
    state: VmState
    waiting_for: str
    problem: str
    guest: Guest
    metadata: dict[str, str]
    external_ip_address: str
    internal_ip_address: str
    image_id: str
    image_name: str
    vcpus: int
    memory: int
    boot_disk_size_gib: int
    gpu_quantity: int
    gpu_model: str
    price: Price
    expire_time: datetime | None
    deletion_protection: bool


def state_of_vm(state: VmState) -> State:
    """Say how a VM is of which only the bare state is known."""
    return State(*WORDS.get(state, OTHER))


def state_of(vm: Vm | ListedVm) -> State:
    """Say how a VM is."""
    tone, word = WORDS.get(vm.state, OTHER)
    reason = vm.waiting_for or (vm.problem if tone in {"bad", "wait"} else "")
    if vm.state is VmState.ACTIVE and vm.guest.panic:
        return State("bad", "Panicked", vm.guest.panic)
    if vm.state is VmState.ACTIVE and vm.guest.stage:
        return State("wait", "First boot", vm.guest.stage)
    return State(tone, word, reason)
