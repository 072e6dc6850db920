"""A GPU of a host, as it was last seen.

UNFIT ⇄ FREE      what is read of it decides
  ⇅      ⇅
   ABSENT         not on the bus any more; its row stays, so that somebody notices
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import JSON, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from cumulet.db import Row
from cumulet.gpus.wire import GpuState
from cumulet.hypervisor import Cause, PciGpu


class Gpu(Row):
    """A card with a GPU, known by its host and its address there."""

    __tablename__ = "gpu"
    __table_args__ = (UniqueConstraint("host_id", "address"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    host_id: Mapped[UUID] = mapped_column(ForeignKey("host.id"))
    address: Mapped[str]
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)
    """What was read of it last: `hypervisor.Gpu`."""
    state: Mapped[GpuState]
    causes: Mapped[list[dict[str, str]]] = mapped_column(JSON)
    """Why it is UNFIT: `hypervisor.Cause`; empty in every other state."""
    since: Mapped[datetime]
    """Since when it is in that state."""

    @property
    def seen(self) -> PciGpu:
        """What was read of it last."""
        return msgspec.convert(self.facts, PciGpu)

    @property
    def unfit_because(self) -> list[Cause]:
        """Why it is UNFIT."""
        return msgspec.convert(self.causes, list[Cause])
