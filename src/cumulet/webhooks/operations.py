"""The verbs of webhooks: for owners alone, for whoever names an address may send a project's events there."""

from __future__ import annotations

import base64
import re
import secrets
from datetime import datetime
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit
from uuid import uuid4

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue
from cumulet.errors import Invalid, Refused
from cumulet.events import EventName
from cumulet.feed import read_choice
from cumulet.ids import check_id
from cumulet.journal import Event
from cumulet.operation import Access, Caller, operation
from cumulet.projects import fetch_part, lock_project, read_page
from cumulet.resource import Wanted, find, lock_to_change, log_request, refuse_beyond, refuse_taken
from cumulet.sealing import Seal
from cumulet.webhooks.addresses import is_listed, is_of_the_world, plain_address
from cumulet.webhooks.model import SECRET_BYTES, Webhook, WebhookState
from cumulet.webhooks.wire import (
    CreateWebhook,
    CreateWebhookResponse,
    EnableWebhook,
    ListWebhooksResponse,
    TestWebhookResponse,
    WebhookAnswer,
    WebhookResponse,
)
from cumulet.wire import Empty

HOOKS: Final = "/v1/projects/{projectId}/webhooks"
HOOK: Final = f"{HOOKS}/{{id}}"
LONGEST_URL: Final = 2000
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - what secrets of Standard Webhooks begin with
NEWEST: Final = select(func.coalesce(func.max(Event.id), 0))


@operation(f"POST {HOOKS}", access=Access.OWNER)
def create_webhook(
    db: Session,
    caller: Caller,
    *,
    catalogue: Catalogue,
    now: datetime,
    seal: Seal,
    project_id: str,
    data: CreateWebhook,
) -> CreateWebhookResponse:
    """Have a URL told of what happens in a project from now on; this answer alone has the secret that signs it."""
    check_id("id", data.id)
    check_url(data.url, catalogue)
    read_choice(project_id, kind=data.kind, resource=(), event=data.event)
    lock_project(db, project_id)
    refuse_taken(db, Webhook, project_id, data.id, field="id")
    refuse_beyond(db, Webhook, project_id, most=catalogue.limits.webhooks_per_project)
    secret = secrets.token_bytes(SECRET_BYTES)
    hook = Webhook(
        id=uuid4(),
        project_id=project_id,
        name=data.id,
        wanted=Wanted.KEPT,
        url=data.url,
        kinds=data.kind,
        events=data.event,
        secret=seal.closed(secret),
        created_at=now,
        place=db.scalar(NEWEST),
        missed=0,
        state=WebhookState.ACTIVE,
        told_at=None,
    )
    hook.go_on()
    db.add(hook)
    log_request(db, caller, hook, EventName.WEBHOOK_CREATED, f"webhook {hook.name} created", now=now)
    told = SECRET_PREFIX + base64.b64encode(secret).decode()
    return CreateWebhookResponse(webhook=view(hook), secret=told)


@operation(f"GET {HOOKS}", access=Access.OWNER)
def list_webhooks(
    db: Session, *, project_id: str, page_size: int = 0, page_token: str = ""
) -> ListWebhooksResponse:
    """List a project's webhooks by id, and how each fares."""
    theirs = select(Webhook).where(Webhook.project_id == project_id)
    hooks, token = fetch_part(db, theirs, read_page(0, page_size, page_token), Webhook.name)
    return ListWebhooksResponse(webhooks=[view(hook) for hook in hooks], page_token=token)


@operation(f"GET {HOOK}", access=Access.OWNER)
def get_webhook(db: Session, *, project_id: str, id: str) -> WebhookResponse:
    """Show a webhook, and how it fares."""
    return WebhookResponse(webhook=view(find(db, Webhook, project_id, id)))


@operation(f"DELETE {HOOK}", access=Access.OWNER)
def delete_webhook(db: Session, caller: Caller, now: datetime, *, project_id: str, id: str) -> Empty:
    """Remove a webhook: nothing more is sent to it."""
    hook = lock_to_change(db, find(db, Webhook, project_id, id), now=now)
    log_request(db, caller, hook, EventName.WEBHOOK_DELETED, f"webhook {hook.name} removed", now=now)
    db.delete(hook)
    return Empty()


@operation(f"POST {HOOK}/enable", access=Access.OWNER)
def enable_webhook(
    db: Session, caller: Caller, now: datetime, *, project_id: str, id: str, data: EnableWebhook
) -> WebhookResponse:
    """Have a webhook go on at once that is failing or paused: from what was not taken, or from now on."""
    hook = lock_to_change(db, find(db, Webhook, project_id, id), now=now)
    hook.go_on()
    if data.from_now_on:
        hook.place = db.scalar(NEWEST) or 0
    log_request(db, caller, hook, EventName.WEBHOOK_ENABLED, f"webhook {hook.name} enabled", now=now)
    return WebhookResponse(webhook=view(hook))


@operation(f"POST {HOOK}/test", access=Access.OWNER)
def test_webhook(
    db: Session, caller: Caller, now: datetime, *, project_id: str, id: str
) -> TestWebhookResponse:
    """Send an event that says nothing but that it is a test, after those that wait to be sent, and at once."""
    hook = lock_to_change(db, find(db, Webhook, project_id, id), now=now)
    if hook.state is WebhookState.PAUSED:
        raise Refused(f"webhook {id!r} is paused: enable it first", reason="WEBHOOK_PAUSED", subject=id)
    hook.retry_at = None
    log_request(db, caller, hook, EventName.WEBHOOK_TEST_REQUESTED, "a test was requested", now=now)
    newest = NEWEST.where(Event.subject_id == hook.id)
    return TestWebhookResponse(event_id=str(db.scalar(newest)))


def check_url(url: str, catalogue: Catalogue) -> None:
    """Refuse what is no receiver's URL, without repeating it; where its name leads is looked at whenever something is sent."""
    networks = catalogue.allowed_webhook_networks
    schemes = ("https", "http") if networks else ("https",)
    parts = read_url(url)
    if parts is None or parts.scheme not in schemes:
        accepted = (
            f"a URL such as https://example.org/hook ({' or '.join(schemes)}), without a user, '#' or spaces, of at "
            f"most {LONGEST_URL} characters"
        )
        raise Invalid.field("url", "(not repeated)", accepted)
    try:
        address = plain_address(str(ip_address(parts.hostname or "")))
    except ValueError:
        return
    if not is_of_the_world(address) and not is_listed(address, networks):
        accepted = (
            "an address of the world, or of a network that the operator's catalogue allows (webhook_networks)"
        )
        raise Invalid.field("url", str(address), accepted)


def read_url(url: str) -> SplitResult | None:
    """Take a URL apart; None when nothing could be sent there, or it has what does not belong there."""
    if len(url) > LONGEST_URL or not re.fullmatch(r"[!-~]+", url) or "#" in url:
        return None
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        return None
    return parts if is_whole else None


def view(hook: Webhook) -> WebhookAnswer:
    """Show a webhook, without its secret."""
    return WebhookAnswer(
        id=hook.name,
        project_id=hook.project_id,
        url=hook.url,
        kind=hook.kinds,
        event=hook.events,
        state=hook.state.value,
        create_time=hook.created_at,
        delivery_time=hook.told_at,
        last_event_id=str(hook.place),
        missed=hook.missed,
        attempts=hook.attempts,
        problem=hook.problem,
        retry_time=hook.retry_at,
    )
