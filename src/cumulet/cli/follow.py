"""Waiting for a VM: its timeline tells each step as it happens, and which step ends the wait.

create ──▶ its first boot is done          stop ──▶ it is off
start, reboot ──▶ its agent answers        delete ──▶ it is gone
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from cumulet.cli.client import Client, Declined, Json
from cumulet.cli.output import span
from cumulet.cli.progress import Progress
from cumulet.errors import CumuletError, Invalid, Unavailable
from cumulet.events import EventName

VM: Final = "/v1/projects/{}/vms/{}"
NOT_FOUND: Final = 5
SHORTEST_PAUSE: Final = 0.1
LONGEST_SPAN: Final = timedelta(days=36500)
LONGEST_PAUSE: Final = 1.0
Verb = Literal["create", "start", "stop", "reboot", "terminate"]
READY: Final = frozenset(
    {EventName.VM_AGENT_CONNECTED, EventName.VM_GUEST_SILENT, EventName.VM_AGENT_IGNORED}
)
"""A guest without an agent says nothing; the cloud gives up on it in its time."""
ENDS: Final[Mapping[Verb, frozenset[str]]] = {
    "create": frozenset(
        {EventName.VM_FIRST_BOOT_DONE, EventName.VM_GUEST_SILENT, EventName.VM_AGENT_IGNORED}
    ),
    "start": READY,
    "reboot": READY,
    "stop": frozenset({EventName.VM_STOPPED}),
    "terminate": frozenset(),
}
REQUESTED: Final[Mapping[Verb, EventName]] = {
    "create": EventName.VM_CREATE_REQUESTED,
    "start": EventName.VM_START_REQUESTED,
    "stop": EventName.VM_STOP_REQUESTED,
    "reboot": EventName.VM_REBOOT_REQUESTED,
    "terminate": EventName.VM_TERMINATE_REQUESTED,
}
DONE: Final[Mapping[Verb, str]] = {
    "create": "is ready",
    "start": "is running",
    "reboot": "restarted",
    "stop": "stopped",
    "terminate": "is deleted",
}
LATE: Final[Mapping[Verb, str]] = {
    "create": "is not ready",
    "start": "is not running",
    "reboot": "has not restarted",
    "stop": "has not stopped",
    "terminate": "is not deleted",
}


class Failed(CumuletError):
    """What was waited for will not come to be."""


class Interrupted(Exception):
    """Whoever waited pressed Ctrl-C; the cloud goes on with it."""


class TimedOut(CumuletError):
    """What was waited for did not come to be in time; the cloud goes on with it."""

    code = 4


@dataclass(frozen=True, slots=True)
class Wait:
    """What is waited for, and until when (monotonic seconds)."""

    client: Client
    project: str
    name: str
    verb: Verb
    deadline: float


@dataclass(slots=True)
class Steps:
    """What of a VM's story the waiting person has been told, so that each step is told once."""

    progress: Progress
    steps: int = 0
    problem: str = ""

    def print_new(self, vm: Json, steps: Sequence[Json]) -> None:
        """Tell what is new."""
        for before, step in zip(steps[self.steps :], steps[self.steps + 1 :], strict=False):
            self.progress.step(step["text"], seconds_between(before, step))
        self.steps = max(len(steps) - 1, 0)
        problem = vm.get("problem", "")
        if problem not in {"", self.problem}:
            self.progress.say(f"{'problem':>10}  {problem}")
        self.problem = problem


def follow(wait: Wait, progress: Progress) -> Json:
    """Tell each step of a VM until what was asked of it is done; gives the VM as it then is, `{}` when it is gone.

    Failed when it cannot be done any more, TimedOut when it takes too long. A server that starts anew meanwhile is
    waited for.
    """
    steps_seen = Steps(progress)

    def see() -> tuple[Json, str]:
        vm, timeline = look(wait.client, wait.project, wait.name)
        steps = since_requested(timeline, wait.verb)
        steps_seen.print_new(vm, steps)
        return vm, "" if done(wait, vm, steps) else what_it_waits_for(vm)

    late = f"VM {wait.name!r} {LATE[wait.verb]}"
    outcome = DONE[wait.verb]
    return watch(progress, wait.name, see, deadline=wait.deadline, late=late, done=outcome, kind="vm")


def watch(
    progress: Progress,
    name: str,
    see: Callable[[], tuple[Json, str]],
    *,
    deadline: float,
    late: str,
    done: str,
    kind: Literal["vm", "disk", "private-image", "gpu", "host"],
) -> Json:
    """Look at a thing until there is nothing that it waits for any more, and tell how long that took; gives it as it then is.

    `see` gives the thing and what it waits for, `""` in the end; `kind` is the commands' word for it. TimedOut, with
    `late`, after the deadline (monotonic seconds); Interrupted at Ctrl-C.
    """
    begun = time.monotonic()
    try:
        with progress.live(name):
            while (looked := look_once(see))[1]:
                if time.monotonic() > deadline:
                    raise TimedOut(f"{late} in time: {looked[1]}")
                progress.under_way(f"{name}: {looked[1]}")
                time.sleep(pause(time.monotonic() - begun))
    except KeyboardInterrupt:
        again = f" and `cumulet vm wait {name}` waits again" if kind == "vm" else ""
        raise Interrupted(
            f"the cloud continues with {name}; `cumulet {kind} get {name}` shows its progress{again}"
        ) from None
    progress.say(f"{name} {done} after {span(time.monotonic() - begun)}")
    return looked[0]


def look_once(see: Callable[[], tuple[Json, str]]) -> tuple[Json, str]:
    """Look at a thing; a server that starts anew meanwhile is waited for."""
    try:
        return see()
    except Unavailable as outage:
        return {}, outage.message


def pause(waited: float) -> float:
    """Say how many seconds to pause before the next look: the longer the wait, the less they matter."""
    return min(max(SHORTEST_PAUSE, waited / 20), LONGEST_PAUSE)


def look(client: Client, project: str, name: str) -> tuple[Json, list[Json]]:
    """Read a VM and its timeline; nothing when it is gone."""
    try:
        entries = client.get(f"{VM}/timeline", project, name)["entries"]
        return client.get(VM, project, name)["VM"], entries
    except Declined as declined:
        if declined.code != NOT_FOUND:
            raise
        return {}, []


def since_requested(timeline: Sequence[Json], verb: Verb) -> Sequence[Json]:
    """Give a timeline from the last time that something was asked of the VM."""
    places = [place for place, entry in enumerate(timeline) if entry["event"] == REQUESTED[verb]]
    return timeline[places[-1] if places else 0 :]


def what_it_waits_for(vm: Json) -> str:
    """Tell in the cloud's own words what a VM waits for."""
    return str(vm["problem"] or vm["waitingFor"] or f"it is {vm['state']}")


def done(wait: Wait, vm: Json, steps: Sequence[Json]) -> bool:
    """Whether what was asked is done; Failed when it never will be."""
    if wait.verb == "terminate":
        return not vm
    if not vm or vm["state"] == "DELETING":
        raise Failed(f"VM {wait.name!r} has been deleted")
    if wait.verb == "create":
        check_start_script(vm)
    if any(step["event"] in ENDS[wait.verb] for step in steps):
        return True
    if vm["state"] == "FAILED":
        raise Failed(f"VM {wait.name!r} failed: {vm['problem']}")
    if steps[-1]["event"] == EventName.VM_STOPPED:
        raise Failed(f"VM {wait.name!r} is off: {steps[-1]['text']}")
    return False


def check_start_script(vm: Json) -> None:
    """Failed when the start script did."""
    if status := vm["guest"]["startScriptStatus"]:
        raise Failed(
            f"the start script of VM {vm['id']!r} exited with status {status}; "
            f"`cumulet vm log {vm['id']}` shows what the guest printed"
        )


def seconds_between(before: Json, after: Json) -> float:
    """Measure the time from one entry of a timeline to the next."""
    return (datetime.fromisoformat(after["time"]) - datetime.fromisoformat(before["time"])).total_seconds()


def read_span(option: str, text: str) -> float:
    """Read `90s`, `10m`, `1h30m`, `2d` as seconds; Invalid names the option."""
    parts = re.fullmatch(r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?", text, re.ASCII)
    given = zip(parts.groups() if parts else (), (86400, 3600, 60, 1), strict=False)
    seconds = sum(int(part or 0) * size for part, size in given)
    if not text or not parts or seconds > LONGEST_SPAN.total_seconds():
        accepted = f"a span such as 90s, 10m, 1h30m or 2d, at most {LONGEST_SPAN.days}d"
        raise Invalid.field(option, text, accepted)
    return seconds
