"""Samples as rows: a quarter of an hour of one VM each, so that a day is a hundred rows and not thousands.

A row grows to thirty samples. When it is a day old, only its last one is kept: samples hold counters, so the rate
between two last ones is the mean of the whole quarter. When it is a month old it goes.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from cumulet.db import Row


class Samples(Row):
    """The samples of a VM that were taken in one quarter of an hour; they go with the VM."""

    __tablename__ = "samples"
    __table_args__ = (Index("ix_samples_thinned", "thinned", "begins"),)

    vm_id: Mapped[UUID] = mapped_column(ForeignKey("vm.id", ondelete="CASCADE"), primary_key=True)
    begins: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    """Unix seconds, a multiple of `QUARTER`."""
    thinned: Mapped[bool]
    """Only the last sample is left."""
    packed: Mapped[bytes]
    """`Sample`s, oldest first."""
