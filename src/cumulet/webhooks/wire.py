"""Webhooks as JSON. What they are sent is `feed.wire.ProjectEvent`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from cumulet.wire import Wire


class CreateWebhook(Wire, kw_only=True):
    """A new webhook."""

    id: Annotated[str, Meta(examples=["chat"])]
    url: Annotated[str, Meta(examples=["https://example.org/hook"])]
    kind: list[str] = []
    """Of what it is told: `vm`, `disk`…; none for all."""
    event: list[str] = []
    """Of which events it is told, by their names; none for all."""


class EnableWebhook(Wire, kw_only=True):
    """How a webhook goes on."""

    from_now_on: bool = False
    """What happened meanwhile is not told, nor what was not taken."""


class WebhookAnswer(Wire, kw_only=True):
    """A webhook."""

    id: str
    project_id: str
    url: str
    kind: list[str]
    event: list[str]
    state: str
    """ACTIVE, FAILING while what was not taken is sent again, or PAUSED until it is enabled."""
    create_time: datetime
    delivery_time: datetime | None
    """When its receiver last took something."""
    last_event_id: str
    """Up to this event it has been told."""
    missed: int
    """How many events it was never told, because they were too old, or too many before them."""
    attempts: int
    """How often what it is to be told next was sent in vain."""
    problem: str
    """Why that was; empty when it was not."""
    retry_time: datetime | None
    """When that is sent again."""


class CreateWebhookResponse(Wire, kw_only=True):
    """The response of CreateWebhook."""

    webhook: WebhookAnswer
    secret: str
    """What all that it is sent is signed with; it is not told again."""


class WebhookResponse(Wire, kw_only=True):
    """The response of GetWebhook and EnableWebhook."""

    webhook: WebhookAnswer


class ListWebhooksResponse(Wire, kw_only=True):
    """The response of ListWebhooks."""

    webhooks: list[WebhookAnswer]
    page_token: str


class TestWebhookResponse(Wire, kw_only=True):
    """The response of TestWebhook."""

    event_id: str
    """Of the event that it will be told: then its `lastEventId` is no smaller."""
