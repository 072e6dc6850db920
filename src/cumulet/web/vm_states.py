"""How a VM is, in a word, a colour and a reason: what lists and pages show in the place of its bare state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cumulet.vm_record.wire import VmState
from cumulet.vms.wire import Vm

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


def state_of(vm: Vm) -> State:
    """Say how a VM is."""
    tone, word = WORDS.get(vm.state, OTHER)
    reason = vm.waiting_for or (vm.problem if tone in {"bad", "wait"} else "")
    if vm.state is VmState.ACTIVE and vm.guest.panic:
        return State("bad", "Panicked", vm.guest.panic)
    if vm.state is VmState.ACTIVE and vm.guest.stage:
        return State("wait", "First boot", vm.guest.stage)
    return State(tone, word, reason)
