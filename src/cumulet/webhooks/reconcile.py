"""Telling webhooks what happened, in order: the reconciler that sends, and waits longer after each failure.

An event is sent until it is taken, and only then the next. That it was taken is written down afterwards: whoever is
killed in between sends it again under the same id, so a receiver gets each at least once and can tell repeats.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid5

import msgspec
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cumulet.errors import CumuletError
from cumulet.events import EventName
from cumulet.feed import event_view
from cumulet.horizon import Horizon
from cumulet.journal import Event
from cumulet.reconcile import Run
from cumulet.resource import log_event
from cumulet.sealing import Seal, Unopenable
from cumulet.webhooks.addresses import Bounds
from cumulet.webhooks.model import Webhook, WebhookState
from cumulet.webhooks.send import Undelivered, send, signed

IDLE: Final = timedelta(minutes=5)
"""Until the next look when nobody tells of an event: the net under a server that died before it told."""
UNSETTLED: Final = timedelta(seconds=0.1)
"""Until the next look while others write."""
TURN: Final = timedelta(seconds=1)
"""Until the next look while others send."""
FIRST_PAUSE: Final = timedelta(seconds=5)
LONGEST_PAUSE: Final = timedelta(hours=1)
MOST_ATTEMPTS: Final = 30
"""Of an event, in some twenty hours; then the webhook is paused."""
OLDEST: Final = timedelta(days=3)
"""What is older is not told any more."""
MOST_BEHIND: Final = 10_000
"""Events that may wait for one webhook; the newest stay."""
MOST_BYTES: Final = 64 * 1024
"""Of a body; of a larger event its data are left out."""
AT_ONCE: Final = 100
"""Events that are read together."""
MOST_SENDING: Final = 4
"""Webhooks that this process tells something at once, and one of each project: a receiver that is slow holds up no VM."""
RUN_SECONDS: Final = 5.0
"""A run begins to send nothing more after so long: far less than its lease."""


class Turns:
    """Which projects are being told something by this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._projects: set[str] = set()

    @contextmanager
    def taken(self, project_id: str) -> Iterator[bool]:
        """Give whether it is the project's turn, for as long as the block lasts."""
        with self._lock:
            is_taken = len(self._projects) < MOST_SENDING and project_id not in self._projects
            if is_taken:
                self._projects.add(project_id)
        try:
            yield is_taken
        finally:
            if is_taken:
                with self._lock:
                    self._projects.discard(project_id)


@dataclass(frozen=True, slots=True)
class Teller:
    """What webhooks are told by: the reconciler of them all."""

    horizon: Horizon
    bounds: Bounds
    seal: Seal
    turns: Turns = field(default_factory=Turns)

    def reconcile_webhook(self, run: Run) -> datetime | None:
        """Tell a webhook what happened since it was told last; gives when to look again."""
        with run.looking() as db:
            hook = db.get(Webhook, run.id)
        if hook is None or hook.state is WebhookState.PAUSED:
            return None
        if hook.retry_at and run.now < hook.retry_at:
            return hook.retry_at
        upto, is_all = self.horizon.look()
        if upto is None:
            return run.now + UNSETTLED
        with self.turns.taken(hook.project_id) as is_taken:
            again = self._tell(run, hook, upto) if is_taken else run.now + TURN
        return again or run.now + (IDLE if is_all else UNSETTLED)

    def _tell(self, run: Run, hook: Webhook, upto: int) -> datetime | None:
        """Send one event after the other; gives when to go on, None when all were sent."""
        until = time.monotonic() + RUN_SECONDS
        events = next_events(run, hook, upto)
        for event in events:
            if time.monotonic() > until:
                return run.now
            try:
                self._send(hook, event, now=run.now)
            except Undelivered as why:
                return write_failure(run, hook.id, str(why))
            write_success(run, hook.id, event.id)
        if len(events) == AT_ONCE:
            return run.now
        run.noted.append(lambda db: move_on(db, hook.id, upto))
        return None

    def _send(self, hook: Webhook, event: Event, *, now: datetime) -> None:
        body, id = body_of(event), delivery_id(hook, event)
        try:
            headers = signed(hook.secret_by(self.seal), id, int(now.timestamp()), body)
            send(hook.url, headers, body, bounds=self.bounds)
        except Unopenable:
            raise Undelivered("its secret cannot be read any more: make it anew") from None
        except CumuletError:  # this machine does not know where its address is
            raise Undelivered("there is no way to its address") from None


def seal_secrets(db: Session, seal: Seal) -> None:
    """Seal what signs with the newest key; what no key opens stays as it is."""
    for hook in db.scalars(select(Webhook).with_for_update()):
        with suppress(Unopenable):
            hook.secret = seal.closed(hook.secret_by(seal))


def next_events(run: Run, hook: Webhook, upto: int) -> Sequence[Event]:
    """Read what it is to be told next, a part of it if it is much; what is too old or too much is passed over for good."""
    chosen = select(Event).where(hook.is_told(), Event.id > hook.place, Event.id <= upto)
    part = chosen.order_by(Event.id).limit(AT_ONCE)
    with run.reading() as db:
        events = db.scalars(part).all()
        if not events or (len(events) < AT_ONCE and events[0].at >= run.now - OLDEST):
            return events
        place = first_place(db, hook, upto, now=run.now)
    if place <= hook.place:
        return events
    with run.writing() as db:
        pass_over(db, hook.id, place, now=run.now)
    with run.reading() as db:
        return db.scalars(part.where(Event.id > place)).all()


def first_place(db: Session, hook: Webhook, upto: int, *, now: datetime) -> int:
    """Find the last event that it is not told any more; 0 when all can be."""
    waiting = select(Event.id).where(hook.is_told(), Event.id > hook.place, Event.id <= upto)
    too_many = waiting.order_by(Event.id.desc()).offset(MOST_BEHIND).limit(1)
    too_old = select(func.max(Event.id)).where(Event.id.in_(waiting), Event.at < now - OLDEST)
    return max(db.scalar(too_many) or 0, db.scalar(too_old) or 0)


def pass_over(db: Session, hook_id: UUID, place: int, *, now: datetime) -> None:
    """Never tell a webhook what is up to there, and tell its owner how much that is."""
    hook = db.get(Webhook, hook_id, with_for_update=True)
    if hook is None or hook.place >= place:
        return
    passed = select(func.count()).where(hook.is_told(), Event.id > hook.place, Event.id <= place)
    count = db.scalar(passed) or 0
    hook.go_on()
    hook.place, hook.missed = place, hook.missed + count
    text = f"webhook {hook.name} is never told {count} events: they are older than {OLDEST.days} days, or more than {MOST_BEHIND} wait"
    log_event(db, hook, EventName.WEBHOOK_MISSED, text, now=now)


def write_success(run: Run, hook_id: UUID, event_id: int) -> None:
    """Write down that an event was taken."""
    with run.writing() as db:
        hook = db.get(Webhook, hook_id, with_for_update=True)
        if hook is not None:
            hook.go_on()
            hook.place, hook.told_at = max(hook.place, event_id), run.now


def write_failure(run: Run, hook_id: UUID, why: str) -> datetime | None:
    """Write down that the next event was not taken; gives when to send it again."""
    with run.writing() as db:
        hook = db.get(Webhook, hook_id, with_for_update=True)
        if hook is None:
            return None
        hook.state, hook.problem, hook.attempts = WebhookState.FAILING, why, hook.attempts + 1
        hook.retry_at = run.now + pause_after(hook.attempts)
        if hook.attempts >= MOST_ATTEMPTS:
            hook.state, hook.retry_at = WebhookState.PAUSED, None
            text = f"webhook {hook.name} is paused: an event was sent {hook.attempts} times in vain, at last because {why}"
            log_event(db, hook, EventName.WEBHOOK_PAUSED, text, now=run.now)
        return hook.retry_at


def move_on(db: Session, hook_id: UUID, place: int) -> None:
    """Note that nothing up to there need be looked at again."""
    hook = db.get(Webhook, hook_id)
    if hook is not None:
        hook.place = max(hook.place, place)


def pause_after(attempts: int) -> timedelta:
    """Say how long to wait after so many attempts failed."""
    return min(FIRST_PAUSE * (1 << min(attempts - 1, 20)), LONGEST_PAUSE)


def body_of(event: Event) -> bytes:
    """Write an event as it is sent."""
    view = event_view(event)
    body = msgspec.json.encode(view)
    return body if len(body) <= MOST_BYTES else msgspec.json.encode(msgspec.structs.replace(view, data={}))


def delivery_id(hook: Webhook, event: Event) -> str:
    """Name what a webhook is told of an event: the same for every attempt, by whichever server."""
    return str(uuid5(hook.id, f"{event.id} {event.at.isoformat()}"))
