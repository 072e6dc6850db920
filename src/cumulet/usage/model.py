"""What was used, kept for good: the spans of all resources, those that still go on among them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Index
from sqlalchemy.orm import Mapped, mapped_column

from cumulet.db import Row


class UsageRecord(Row):
    """A `span.Span`. It outlives its resource, its project and the events that it was computed of."""

    __tablename__ = "usage_record"
    __table_args__ = (Index("ix_usage_record_project_id_since", "project_id", "since"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[str]
    kind: Mapped[str]
    resource_id: Mapped[UUID] = mapped_column(index=True)
    name: Mapped[str]
    vm_id: Mapped[UUID | None] = mapped_column(index=True)
    labels: Mapped[dict[str, Any]] = mapped_column(JSON)
    charges: Mapped[list[Any]] = mapped_column(JSON)
    """Of each: what, how many, and its price an hour."""
    since: Mapped[datetime]
    until: Mapped[datetime | None]
