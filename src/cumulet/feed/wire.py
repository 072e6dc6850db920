"""Events as JSON, in lists, streams and webhooks alike."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cumulet.journal import Event
from cumulet.wire import Wire


class ProjectEvent(Wire, kw_only=True):
    """One event."""

    id: str
    """Its number: later ones are larger. As text, for it may have 64 bits."""
    time: datetime
    project_id: str
    kind: str
    """Of what it tells: `vm`, `disk`…"""
    resource_id: str
    """The id of that; empty where it has none."""
    event: str
    """Its name, for programs."""
    text: str
    """The same for people."""
    actor: str
    """Who asked for it."""
    data: dict[str, Any]
    """How that was at this moment."""


class ListEventsResponse(Wire, kw_only=True):
    """The response of ListEvents: a page of them."""

    events: list[ProjectEvent]
    page_token: str


def event_view(event: Event) -> ProjectEvent:
    """Show an event."""
    return ProjectEvent(
        id=str(event.id),
        time=event.at,
        project_id=event.project_id,
        kind=event.subject,
        resource_id=event.data.get("name", ""),
        event=event.event,
        text=event.text,
        actor=event.actor,
        data=event.data,
    )
