"""May I? Which verb a VM accepts now, as a pure table; pages and operations read the same one.

             start            stop             terminate
PENDING ──▶ STARTING ──▶ ACTIVE ──▶ STOPPING ──▶ STOPPED        (any) ──▶ DELETING ──▶ gone
               ▲           │            ▲           │
               │           ▼    stop    │           │
               │         FAILED ────────┘           │
               └────────────────────────────────────┘
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from cumulet.errors import Refused
from cumulet.vm_record.wire import VmState


class Verb(enum.Enum):
    """What an owner can ask of a VM that exists."""

    START = "start"
    STOP = "stop"
    REBOOT = "reboot"
    TERMINATE = "terminate"
    RESIZE = "resize"
    SET_PASSWORD = "set the password of"  # noqa: S105 - a verb
    AUTHORIZE = "change the keys of"
    CONNECT = "connect to"
    SCREENSHOT = "take a screenshot of"


NEEDS: Final[Mapping[Verb, tuple[VmState, str]]] = {
    Verb.START: (VmState.STOPPED, "VM_NOT_STOPPED"),
    Verb.STOP: (VmState.ACTIVE, "VM_NOT_ACTIVE"),
    Verb.REBOOT: (VmState.ACTIVE, "VM_NOT_ACTIVE"),
    Verb.RESIZE: (VmState.STOPPED, "VM_NOT_STOPPED"),
    Verb.SET_PASSWORD: (VmState.ACTIVE, "VM_NOT_ACTIVE"),
    Verb.AUTHORIZE: (VmState.ACTIVE, "VM_NOT_ACTIVE"),
    Verb.CONNECT: (VmState.ACTIVE, "VM_NOT_ACTIVE"),
    Verb.SCREENSHOT: (VmState.ACTIVE, "VM_NOT_ACTIVE"),
}
"""The state each verb needs, and the contract's reason when it is not so. Terminate is accepted in every state."""

ALSO: Final = frozenset({(Verb.STOP, VmState.FAILED)})
"""Verbs that are accepted in further states: what failed can be given up, and started anew once it is off."""

PASSING: Final = frozenset(
    {VmState.PENDING, VmState.CLONING, VmState.STARTING, VmState.STOPPING, VmState.MIGRATING}
)
"""States that a VM leaves by itself for ACTIVE or STOPPED."""

AT_REST: Final = frozenset({VmState.ACTIVE, VmState.STOPPED})
"""States in which nothing is under way: its disks can be changed and imaged."""

SHORT_STATES: Final[Mapping[VmState, str]] = {
    VmState.PENDING: "pend",
    VmState.CLONING: "prol",
    VmState.STARTING: "boot",
    VmState.ACTIVE: "runn",
    VmState.STOPPING: "stop",
    VmState.STOPPED: "poff",
    VmState.DELETING: "done",
    VmState.DELETED: "done",
    VmState.FAILED: "fail",
    VmState.SUSPENDED: "stop",
    VmState.MIGRATING: "stop",
    VmState.UNKNOWN: "runn",
}
"""The same thing in four letters; clients break on letters that they do not know, so no others are shown."""


def accepts(verb: Verb, state: VmState) -> bool:
    """Say whether a VM in this state accepts the verb."""
    return verb is Verb.TERMINATE or NEEDS[verb][0] is state or (verb, state) in ALSO


def accept(verb: Verb, state: VmState, name: str) -> None:
    """Return when the verb is acceptable; Refused (code 9) with the contract's reason otherwise."""
    if accepts(verb, state):
        return
    needed, reason = NEEDS[verb]
    message = f"cannot {verb.value} VM {name!r}: it is {state.value} and must be {needed.value}"
    raise Refused(message, reason=reason, subject=name)


def accept_credentials(name: str, *, agent: bool, booted: bool) -> None:
    """Return when a running guest can take a password or keys; Refused until its first boot has set its own."""
    if agent and booted:
        return
    problem = "its first boot is not finished" if agent else "its agent does not answer"
    message = f"VM {name!r} cannot change its keys or password: {problem}"
    raise Refused(message, reason="VM_NOT_READY", subject=name)
