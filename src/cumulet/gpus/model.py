"""A GPU of a host, as it was last seen.

UNFIT → CLEANING → FREE → HELD   what is read of it decides whether it is fit; a VM holds it, running or not
  ↑        │  ↑_____________│    its VM was deleted: nobody gets it before it is as new
  │   QUARANTINED                it could not be cleaned three times, or fell ill: its operator decides
ABSENT                           not on the bus any more; its row stays, so that somebody notices
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import JSON, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from cumulet.db import Row
from cumulet.gpus.proof import Outcome
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
    """What of what was read of it last keeps it from further VMs: `hypervisor.Cause`."""
    since: Mapped[datetime]
    """Since when it is in that state."""
    vm_id: Mapped[UUID | None] = mapped_column(ForeignKey("vm.id"), index=True)
    """The VM that it is reserved for, running or not; no other row says so."""
    withdrawn: Mapped[bool] = mapped_column(default=False)
    """Its operator keeps it from further VMs; one that has it keeps it."""
    failures: Mapped[int] = mapped_column(default=0)
    """How often in a row it could not be cleaned."""
    problem: Mapped[str] = mapped_column(default="")
    """What befell it, in words: no further VM gets it until its operator had it cleaned. Empty for nothing."""
    cleaned_at: Mapped[datetime | None]
    """When it was last seen to be as new."""

    proving: Mapped[bool] = mapped_column(default=False)
    """It is to be given to a small guest while it is cleaned, which tells what VMs would find."""
    proved_at: Mapped[datetime | None]
    proof: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    """What that found last: `proof.Outcome`."""

    @property
    def seen(self) -> PciGpu:
        """What was read of it last."""
        return msgspec.convert(self.facts, PciGpu)

    @property
    def unfit_because(self) -> list[Cause]:
        """What of what was read of it last keeps it from further VMs."""
        return msgspec.convert(self.causes, list[Cause])

    @property
    def outcome(self) -> Outcome | None:
        """What a small guest found of it last."""
        return msgspec.convert(self.proof, Outcome | None)
