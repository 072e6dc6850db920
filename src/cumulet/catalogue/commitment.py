"""Commitments: a VM is promised to be kept for a term, and costs less until that is over."""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from datetime import datetime

from cumulet.catalogue.model import MachineType
from cumulet.catalogue.wire import CommitmentTerm
from cumulet.errors import Invalid


def offered_terms(machine_type: MachineType) -> Iterator[CommitmentTerm]:
    """Go through the terms that a machine type has a discount for, the shortest first."""
    return (term for term in CommitmentTerm if term.months in machine_type.commitment_discount_percent)


def check_term(machine_type: MachineType, term: CommitmentTerm) -> None:
    """Return when a machine type is sold for that term; Invalid names those that it is sold for."""
    offered = [str(one.value) for one in offered_terms(machine_type)]
    if term.value not in offered:
        accepted = f"one of {', '.join(offered)}" if offered else f"{CommitmentTerm.NONE.value}"
        raise Invalid.field(
            "commitmentTerm", term.value, f"{accepted}, as machine type {machine_type.id!r} is sold for"
        )


def end_of(term: CommitmentTerm, begin: datetime) -> datetime:
    """Say when a term is over: on the same day of a later month, or on its last where it is shorter."""
    years, month = divmod(begin.month - 1 + term.months, 12)
    year, month = begin.year + years, month + 1
    return begin.replace(year=year, month=month, day=min(begin.day, monthrange(year, month)[1]))
