"""Which events somebody wants to be told of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement

from cumulet.errors import Invalid, those_there
from cumulet.events import EventName
from cumulet.feed.wire import ProjectEvent
from cumulet.journal import Event

NAMES: Final = sorted(name.value for name in EventName)
EVERY: Final = ""
"""In the place of a project: all of them, and the installation itself."""
KINDS: Final = sorted({name.partition(".")[0] for name in NAMES})


@dataclass(frozen=True, slots=True)
class Choice:
    """Of one project or `EVERY` one, and each as it is empty or one of these; read with `read_choice`."""

    project_id: str
    kinds: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    events: frozenset[str] = frozenset()
    since: datetime | None = None
    """When the project was made: an earlier one of that id may have been others'."""

    def takes(self, event: ProjectEvent) -> bool:
        """Whether an event is among them."""
        wishes = (
            (self.kinds, event.kind),
            (self.resources, event.resource_id),
            (self.events, event.event),
        )
        is_there = self.project_id in {event.project_id, EVERY} and not (
            self.since and event.time < self.since
        )
        return is_there and all(not wanted or it in wanted for wanted, it in wishes)

    def where(self) -> Iterable[ColumnElement[bool]]:
        """Say the same to the database."""
        if self.project_id != EVERY:
            yield Event.project_id == self.project_id
        if self.since:
            yield Event.at >= self.since
        if self.kinds:
            yield Event.subject.in_(self.kinds)
        if self.resources:
            yield Event.data["name"].as_string().in_(self.resources)
        if self.events:
            yield Event.event.in_(self.events)


def read_choice(
    project_id: str, *, kind: Sequence[str], resource: Sequence[str], event: Sequence[str]
) -> Choice:
    """Understand which events are wanted; Invalid when one is named that never happens."""
    for field, given, known in (("kind", kind, KINDS), ("event", event, NAMES)):
        for one in given:
            if one not in known:
                raise Invalid.field(field, one, f"none, or some that there are; {those_there(known, one)}")
    return Choice(project_id, frozenset(kind), frozenset(resource), frozenset(event))
