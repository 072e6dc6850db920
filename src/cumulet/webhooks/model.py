"""A webhook's row.

ACTIVE ──not taken──▶ FAILING ──too often──▶ PAUSED
   ▲───────taken─────────┘  │                  │
   ▲──────────enabled by its owner─────────────┘
"""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Final

from sqlalchemy import JSON, BigInteger, ColumnElement, ForeignKey, LargeBinary, UniqueConstraint, and_, or_
from sqlalchemy.orm import Mapped, mapped_column

from cumulet.due import Kind
from cumulet.events import EventName, WebhookData
from cumulet.feed import Choice
from cumulet.journal import Event
from cumulet.resource import Resource
from cumulet.sealing import Seal

SECRET_BYTES: Final = 32


class WebhookState(enum.Enum):
    """How a webhook fares."""

    ACTIVE = "ACTIVE"
    FAILING = "FAILING"
    """Its receiver did not take what it is sent, which is sent again later; nothing else is until then."""
    PAUSED = "PAUSED"
    """It did not for so long that nothing is sent until its owner enables it."""


class Webhook(Resource):
    """An address outside that is told of a project's events."""

    kind = Kind.WEBHOOK
    called = "webhook"

    __tablename__ = "webhook"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    project_id: Mapped[str] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    url: Mapped[str]
    """In no log, event or audit record: a part of it may be secret."""
    kinds: Mapped[list[str]] = mapped_column(JSON)
    events: Mapped[list[str]] = mapped_column(JSON)
    secret: Mapped[bytes] = mapped_column(LargeBinary)
    """What signs what it is told, sealed."""
    created_at: Mapped[datetime]
    place: Mapped[int] = mapped_column(BigInteger)
    """Up to this event of the journal it has been told."""
    missed: Mapped[int] = mapped_column(default=0)
    state: Mapped[WebhookState] = mapped_column(default=WebhookState.ACTIVE)
    told_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)
    """In vain, at the first event after its place."""
    problem: Mapped[str] = mapped_column(default="")
    retry_at: Mapped[datetime | None]

    def event_data(self) -> WebhookData:
        """Describe its state."""
        return WebhookData(name=self.name, state=self.state.value, missed=self.missed)

    def is_told(self) -> ColumnElement[bool]:
        """Say which events it is told: those that it asked for, and its own tests."""
        choice = Choice(self.project_id, kinds=frozenset(self.kinds), events=frozenset(self.events))
        tests = and_(Event.subject_id == self.id, Event.event == EventName.WEBHOOK_TEST_REQUESTED)
        return and_(Event.project_id == self.project_id, or_(and_(*choice.where()), tests))

    def secret_by(self, seal: Seal) -> bytes:
        """Read what signs; Unopenable."""
        return seal.opened(self.secret) if len(self.secret) > SECRET_BYTES else self.secret

    def go_on(self) -> None:
        """Forget that something was not taken."""
        self.state, self.attempts, self.problem, self.retry_at = WebhookState.ACTIVE, 0, "", None
