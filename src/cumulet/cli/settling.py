"""Waiting for a disk or an image: it says what it waits for itself, until it is as it was asked to be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from cumulet.cli.client import Client, Declined, Json
from cumulet.cli.follow import NOT_FOUND, Failed, watch
from cumulet.cli.progress import Progress

KINDS: Final[Mapping[str, Literal["disk", "private-image"]]] = {"disk": "disk", "image": "private-image"}
"""Things in the commands' words."""
LOST: Final = frozenset({"ERROR", "FAILED"})


@dataclass(frozen=True, slots=True)
class Resource:
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
    done: str
    deadline: float


def state(seen: Json) -> str:
    """Give the state of a disk or an image, without the words that all states of disks begin with."""
    return str(seen.get("diskState", seen.get("state", ""))).removeprefix("DISK_STATE_")


def follow(resource: Resource, wait: Wait) -> Json:
    """Wait until a resource is as it was asked to be; gives it as it then is.

    Failed when it will not be, TimedOut when it takes too long. A server that starts anew meanwhile is waited for.
    """

    def see() -> tuple[Json, str]:
        seen = resource.look()
        return seen, "" if wait.so(seen) else waits_for(resource, seen)

    late = f"{resource.kind} {resource.name!r} was not done"
    return watch(
        Progress(),
        resource.name,
        see,
        deadline=wait.deadline,
        late=late,
        done=wait.done,
        kind=KINDS[resource.kind],
    )


def waits_for(resource: Resource, seen: Json) -> str:
    """Say what a resource waits for; Failed when waiting is in vain."""
    if not seen or state(seen) in LOST:
        raise Failed(
            f"{resource.kind} {resource.name!r}: {seen['problem'] if seen else 'it has been deleted'}"
        )
    return str(seen["problem"] or seen["waitingFor"] or f"it is {state(seen)}")
