"""The verbs of events."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import Final

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from cumulet.errors import Invalid
from cumulet.feed.choice import EVERY, Choice, read_choice
from cumulet.feed.feed import Feed
from cumulet.feed.stream import EventStream
from cumulet.feed.wire import ListEventsResponse, event_view
from cumulet.journal import Event
from cumulet.operation import Access, Caller, operation
from cumulet.projects import begin_of_project, fetch_part, read_page

ANY: Final[list[str]] = []
"""Never changed."""


@operation("GET /v1/projects/{projectId}/events", access=Access.VIEWER)
def list_events(
    db: Session,
    *,
    project_id: str,
    kind: list[str] = ANY,
    resource: list[str] = ANY,
    event: list[str] = ANY,
    since: datetime | None = None,
    until: datetime | None = None,
    newest_first: bool = False,
    page_size: int = 0,
    page_token: str = "",
) -> ListEventsResponse:
    """List what happened in a project, oldest first unless `newestFirst`; of a kind, of resources by their ids, of events by their names."""
    choice = choice_in(db, project_id, kind=kind, resource=resource, event=event)
    chosen = chosen_of(choice, since, until)
    return listed(db, chosen, newest_first=newest_first, page_size=page_size, page_token=page_token)


@operation("GET /v1/events", access=Access.AUDITOR)
def list_all_events(
    db: Session,
    *,
    kind: list[str] = ANY,
    resource: list[str] = ANY,
    event: list[str] = ANY,
    since: datetime | None = None,
    until: datetime | None = None,
    newest_first: bool = False,
    page_size: int = 0,
    page_token: str = "",
) -> ListEventsResponse:
    """List what happened in all projects and to the installation itself, likewise."""
    choice = read_choice(EVERY, kind=kind, resource=resource, event=event)
    chosen = chosen_of(choice, since, until)
    return listed(db, chosen, newest_first=newest_first, page_size=page_size, page_token=page_token)


@operation("GET /v1/projects/{projectId}/events/stream", access=Access.VIEWER)
def follow_events(
    db: Session,
    caller: Caller,
    feed: Feed,
    *,
    project_id: str,
    kind: list[str] = ANY,
    resource: list[str] = ANY,
    event: list[str] = ANY,
    since: datetime | None = None,
    last_event_id: str = "",
) -> EventStream:
    """Tell what happens in a project as it happens, as server-sent events, chosen as in their list.

    It begins with what happens from now on, with what happened `since` an instant, or after the event that the header
    Last-Event-ID, or a parameter of that name, gives: then nothing is lost and nothing told twice.
    """
    choice = choice_in(db, project_id, kind=kind, resource=resource, event=event)
    return followed(db, caller, feed, choice, since, last_event_id)


@operation("GET /v1/events/stream", access=Access.AUDITOR)
def follow_all_events(
    db: Session,
    caller: Caller,
    feed: Feed,
    *,
    kind: list[str] = ANY,
    resource: list[str] = ANY,
    event: list[str] = ANY,
    since: datetime | None = None,
    last_event_id: str = "",
) -> EventStream:
    """Tell what happens in all projects and to the installation itself, likewise."""
    choice = read_choice(EVERY, kind=kind, resource=resource, event=event)
    return followed(db, caller, feed, choice, since, last_event_id)


def choice_in(
    db: Session, project_id: str, *, kind: list[str], resource: list[str], event: list[str]
) -> Choice:
    """Understand which events of a project are wanted; Invalid."""
    choice = read_choice(project_id, kind=kind, resource=resource, event=event)
    return replace(choice, since=begin_of_project(db, project_id))


def chosen_of(choice: Choice, since: datetime | None, until: datetime | None) -> Select[Event]:
    """Select a choice of events between two instants."""
    chosen = select(Event).where(*choice.where())
    if since is not None:
        chosen = chosen.where(Event.at >= since)
    if until is not None:
        chosen = chosen.where(Event.at < until)
    return chosen


def listed(
    db: Session, chosen: Select[Event], *, newest_first: bool, page_size: int, page_token: str
) -> ListEventsResponse:
    """List a page of some events."""
    page = read_page(0, page_size, page_token)
    events, token = fetch_part(db, chosen, page, Event.id, newest_first=newest_first)
    return ListEventsResponse(events=[event_view(one) for one in events], page_token=token)


def followed(
    db: Session, caller: Caller, feed: Feed, choice: Choice, since: datetime | None, last_event_id: str
) -> EventStream:
    """Tell a choice of events to somebody who has not as many streams as they may; Exhausted, Invalid."""
    after = read_place(db, last_event_id) if last_event_id else place_of(db, choice, since)
    feed.refuse_beyond(caller.user_id)
    return EventStream(feed, caller, choice, after)


def read_place(db: Session, last_event_id: str) -> int:
    """Understand the number of an event that somebody has read; Invalid when there is none as high."""
    newest = db.scalar(select(func.max(Event.id))) or 0
    if not re.fullmatch("[0-9]{1,19}", last_event_id) or int(last_event_id) > newest:
        accepted = f"the id of an event that you have read, at most {newest}, or none to be told from now on"
        raise Invalid.field("lastEventId", last_event_id, accepted)
    return int(last_event_id)


def place_of(db: Session, choice: Choice, since: datetime | None) -> int | None:
    """Name the place before the first event of a choice from an instant on; None when there is none yet."""
    if since is None:
        return None
    first = db.scalar(select(func.min(Event.id)).where(*choice.where(), Event.at >= since))
    return None if first is None else first - 1
