"""`cumulet vm wait`: waiting for a VM, whoever asked something of it and whenever that was."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Final, Literal

from cyclopts import Parameter

from cumulet.cli.client import Client, Json, connect
from cumulet.cli.follow import Failed, look, read_span, watch, what_it_waits_for
from cumulet.cli.progress import Progress
from cumulet.cli.several import each
from cumulet.cli.words import Project, VmName, VmNames
from cumulet.errors import NotFound
from cumulet.events import EventName

Goal = Literal["ready", "running", "stopped", "gone"]
LOST: Final = frozenset({"FAILED", "DELETING"})
OUTCOMES: Final[Mapping[Goal, tuple[str, str]]] = {
    "ready": ("is ready", "is not ready"),
    "running": ("is running", "is not running"),
    "stopped": ("stopped", "has not stopped"),
    "gone": ("is deleted", "is not deleted"),
}
"""How it is told that one is so, and that it is not so in time."""
Reached = Callable[[Json, Sequence[Json]], bool]
"""Whether a VM is as it is waited for, by what the API shows of it and by its timeline."""


def wait(
    name: VmName,
    /,
    *more: VmNames,
    goal: Annotated[Goal, Parameter(name="--for")] = "ready",
    timeout: str = "15m",
    project: Project = "default",
) -> None:
    """Wait until virtual machines are ready, running, stopped or deleted.

    :param goal: What to wait for: its first boot is done and its guest answers, it runs, it is stopped, or it is deleted.
    :param timeout: How long to wait at most.
    """
    client, until = connect(), time.monotonic() + read_span("--timeout", timeout)

    def wait_for(name: str) -> None:
        wait_until(client, project, name, GOALS[goal], outcomes=OUTCOMES[goal], until=until)

    each((name, *more), wait_for)


def wait_until(
    client: Client, project: str, name: str, reached: Reached, *, outcomes: tuple[str, str], until: float
) -> Json:
    """Wait until a VM is as it is wanted and give it; NotFound, Failed when that will not be, TimedOut."""

    def see() -> tuple[Json, str]:
        vm, timeline = look(client, project, name)
        if reached(vm, timeline):
            return vm, ""
        if not vm:
            raise NotFound.named("VM", name)
        return vm, what_it_waits_for(vm)

    late = f"VM {name!r} {outcomes[1]}"
    return watch(Progress(), name, see, deadline=until, late=late, done=outcomes[0], kind="vm")


def has_come_to(state: str, vm: Json, *, never_from: frozenset[str]) -> bool:
    """Whether a VM is in a state; Failed when it is in one from which nothing leads there."""
    if vm.get("state") in never_from:
        raise Failed(f"VM {vm['id']!r} is {vm['state']}{': ' if vm['problem'] else ''}{vm['problem']}")
    return vm.get("state") == state


def is_running(vm: Json, _: Sequence[Json]) -> bool:
    """Whether QEMU runs a VM."""
    return has_come_to("ACTIVE", vm, never_from=LOST | {"STOPPED"})


def is_ready(vm: Json, timeline: Sequence[Json]) -> bool:
    """Whether a guest's first boot is done and its agent answers, as far as it has one."""
    if not is_running(vm, timeline):
        return False
    return is_silent(timeline) or bool(vm["guest"]["agentAnswers"] and vm["guest"]["firstBootDone"])


def is_stopped(vm: Json, _: Sequence[Json]) -> bool:
    """Whether a VM is off."""
    return has_come_to("STOPPED", vm, never_from=LOST)


def is_silent(timeline: Sequence[Json]) -> bool:
    """Whether the cloud gave up on hearing a guest since its last start."""
    events = [entry["event"] for entry in timeline]
    started = max((place for place, event in enumerate(events) if event == EventName.VM_STARTED), default=0)
    return EventName.VM_GUEST_SILENT in events[started:]


GOALS: Final[dict[Goal, Reached]] = {
    "ready": is_ready,
    "running": is_running,
    "stopped": is_stopped,
    "gone": lambda vm, _: not vm,
}
