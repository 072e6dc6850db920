"""Waiting for a VM: its timeline tells each step as it happens, and which step ends the wait.

create ──▶ its first boot is done          stop ──▶ it is off
start, reboot ──▶ its agent answers        delete ──▶ it is gone
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from cumulet.cli.client import Client, Declined, Json
from cumulet.cli.output import span
from cumulet.cli.progress import Progress
from cumulet.errors import CumuletError, Invalid

VM: Final = "/v1/projects/{}/vms/{}"
NOT_FOUND: Final = 5
SHORTEST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 1.0
Verb = Literal["create", "start", "stop", "reboot", "terminate"]
READY: Final = frozenset({"vm.agent", "vm.guest_silent"})
"""A guest without an agent says nothing; the cloud gives up on it in its time."""
ENDS: Final[Mapping[Verb, frozenset[str]]] = {
    "create": frozenset({"vm.first_boot", "vm.guest_silent"}),
    "start": READY,
    "reboot": READY,
    "stop": frozenset({"vm.stopped"}),
    "terminate": frozenset(),
}
DONE: Final[Mapping[Verb, str]] = {
    "create": "is ready",
    "start": "runs",
    "reboot": "runs again",
    "stop": "is off",
    "terminate": "is gone",
}


class Failed(CumuletError):
    """What was waited for will not come to be."""


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


def follow(wait: Wait, progress: Progress) -> Json:
    """Tell each step of a VM until what was asked of it is done; gives the VM as it then is, `{}` when it is gone.

    Failed when it cannot be done any more, TimedOut when it takes too long.
    """
    told, problem, begun = 0, "", time.monotonic()
    with progress.live(wait.name):
        while True:
            vm, steps = look(wait)
            for before, step in zip(steps[told:], steps[told + 1 :], strict=False):
                progress.step(step["text"], seconds_between(before, step))
            told = max(len(steps) - 1, 0)
            if done(wait, vm, steps):
                break
            check(wait, vm, steps)
            if vm["problem"] not in {"", problem}:
                progress.say(f"{'problem':>10}  {vm['problem']}")
            problem = vm["problem"]
            progress.under_way(f"{wait.name} {vm['state']}: {vm['waitingFor'] or 'working'}")
            time.sleep(pause(time.monotonic() - begun))
    progress.say(f"{wait.name} {DONE[wait.verb]} after {span(time.monotonic() - begun)}")
    return vm


def pause(waited: float) -> float:
    """Say how many seconds to pause before the next look: the longer the wait, the less they matter."""
    return min(max(SHORTEST_PAUSE, waited / 20), LONGEST_PAUSE)


def look(wait: Wait) -> tuple[Json, list[Json]]:
    """Read the VM, and its timeline from the last time that this was asked of it; nothing when it is gone."""
    try:
        entries = wait.client.get(f"{VM}/timeline", wait.project, wait.name)["entries"]
        vm: Json = wait.client.get(VM, wait.project, wait.name)["VM"]
    except Declined as declined:
        if declined.code != NOT_FOUND:
            raise
        return {}, []
    asked = f"vm.{wait.verb}_asked"
    last = max((place for place, entry in enumerate(entries) if entry["event"] == asked), default=0)
    return vm, entries[last:]


def done(wait: Wait, vm: Json, steps: Sequence[Json]) -> bool:
    """Whether what was asked is done; Failed when it has become impossible."""
    if not vm:
        if wait.verb != "terminate":
            raise Failed(f"VM {wait.name!r} was deleted meanwhile")
        return True
    if wait.verb == "create" and (vm["guest"]["startScriptStatus"] or 0) != 0:
        status = vm["guest"]["startScriptStatus"]
        raise Failed(
            f"the start script of VM {wait.name!r} ended with status {status}; "
            f"`cumulet vm log {wait.name}` shows what the guest printed"
        )
    return any(step["event"] in ENDS[wait.verb] for step in steps)


def check(wait: Wait, vm: Json, steps: Sequence[Json]) -> None:
    """Failed when the VM took another way, TimedOut when it is too late."""
    if vm["state"] == "FAILED":
        raise Failed(f"VM {wait.name!r} failed: {vm['problem']}")
    if vm["state"] == "DELETING" and wait.verb != "terminate":
        raise Failed(f"VM {wait.name!r} is being deleted")
    if wait.verb != "stop" and vm["state"] == "STOPPED" and steps[-1]["event"] == "vm.stopped":
        raise Failed(f"VM {wait.name!r} is off: {steps[-1]['text']}")
    if time.monotonic() > wait.deadline:
        waiting = vm["problem"] or vm["waitingFor"] or f"it is {vm['state']}"
        raise TimedOut(
            f"VM {wait.name!r} is not there yet ({waiting}); `cumulet vm timeline {wait.name}` tells more"
        )


def seconds_between(before: Json, after: Json) -> float:
    """Measure the time from one entry of a timeline to the next."""
    return (datetime.fromisoformat(after["time"]) - datetime.fromisoformat(before["time"])).total_seconds()


def read_span(option: str, text: str) -> float:
    """Read `90s`, `10m`, `1h30m`, `2d` as seconds; Invalid names the option."""
    parts = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if not text or not parts:
        raise Invalid.field(option, text, "a span such as 90s, 10m, 1h30m or 2d")
    return sum(int(part or 0) * size for part, size in zip(parts.groups(), (86400, 3600, 60, 1), strict=True))
