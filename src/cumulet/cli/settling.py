"""Waiting for a disk or an image: it says what it waits for itself, until it is as it was asked to be."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from cumulet.cli.client import Client, Declined, Json
from cumulet.cli.follow import NOT_FOUND, Failed, TimedOut, pause
from cumulet.cli.output import span
from cumulet.cli.progress import Progress
from cumulet.errors import Unavailable

LOST: Final = frozenset({"ERROR", "FAILED"})


@dataclass(frozen=True, slots=True)
class Thing:
    """What is waited for."""

    client: Client
    kind: Literal["disk", "image"]
    path: str
    """With a gap for the project and one for the name."""
    project: str
    name: str

    def look(self) -> Json:
        """Read it; `{}` when it is gone."""
        try:
            return dict(self.client.get(self.path, self.project, self.name)[self.kind])
        except Declined as declined:
            if declined.code != NOT_FOUND:
                raise
            return {}


@dataclass(frozen=True, slots=True)
class Wait:
    """When it is as it was asked to be, how that is told, and until when it is waited for (monotonic seconds)."""

    so: Callable[[Json], bool]
    told: str
    deadline: float


def state(seen: Json) -> str:
    """Give the state of a disk or an image, without the words that all states of disks begin with."""
    return str(seen.get("diskState", seen.get("state", ""))).removeprefix("DISK_STATE_")


def follow(thing: Thing, wait: Wait) -> Json:
    """Wait until a thing is as it was asked to be; gives it as it then is.

    Failed when it will not be, TimedOut when it takes too long. A server that starts anew meanwhile is waited for.
    """
    progress, begun = Progress(), time.monotonic()
    with progress.live(thing.name):
        while True:
            try:
                seen = thing.look()
            except Unavailable as outage:
                now = outage.message
            else:
                if wait.so(seen):
                    break
                now = waits_for(thing, seen)
            if time.monotonic() > wait.deadline:
                raise TimedOut(f"{thing.kind} {thing.name!r} was not done in time: {now}")
            progress.under_way(f"{thing.name}: {now}")
            time.sleep(pause(time.monotonic() - begun))
    progress.say(f"{thing.name} {wait.told} after {span(time.monotonic() - begun)}")
    return seen


def waits_for(thing: Thing, seen: Json) -> str:
    """Say what a thing waits for; Failed when waiting is in vain."""
    if not seen or state(seen) in LOST:
        raise Failed(
            f"{thing.kind} {thing.name!r}: {seen['problem'] if seen else 'it was deleted meanwhile'}"
        )
    return str(seen["problem"] or seen["waitingFor"] or f"it is {state(seen)}")
