"""What becomes of a GPU's row by a look at its host's bus, and by its VM's end. Pure.

A row that a VM holds keeps the card that was given: neither a fault nor another card in its place changes whose it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import Row

from cumulet.gpus.wire import GpuState
from cumulet.hypervisor import Cause, Iommu, PciGpu, unfit_causes

Values = dict[str, Any]
"""Columns of a row."""
SETTLED: Final = frozenset({GpuState.FREE, GpuState.CLEANING})
"""States in which a GPU that is fit has been cleaned, or is about to be."""
OFF_THE_BUS: Final = "it does not answer on the bus any more"


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at a host found at one address of its bus."""

    gpu: PciGpu | None
    iommu: Iommu
    begun: datetime
    user: UUID | None = None
    """The VM whose machine runs with it."""

    def seen(self, gpu: PciGpu) -> Values:
        """Give the columns that are what was read."""
        return {"facts": stored(gpu), "causes": stored(unfit_causes(gpu, self.iommu))}


def after_look(row: Row[*tuple[Any, ...]], look: Look) -> Values:
    """Say what a row should hold now."""
    gpu = look.gpu
    if gpu is None:
        return {"facts": row.facts, "state": GpuState.ABSENT, "causes": [], "problem": row.problem}
    seen = look.seen(gpu)
    if row.vm_id is not None:
        return _held(row, look, gpu, seen)
    if not is_same_card(row.facts, seen["facts"]):
        return {**seen, "state": _first_state(seen), "problem": "", "failures": 0, "cleaned_at": None}
    problem = row.problem or (row.state is GpuState.FREE and new_fault(row.facts, gpu)) or ""
    return {**seen, "state": _unheld_state(row, look, seen, problem), "problem": problem}


def first_look(gpu: PciGpu, look: Look) -> Values:
    """Say what the row of a GPU should hold that had none."""
    seen = look.seen(gpu)
    return {**seen, "state": _first_state(seen)}


def after_return(row: Row[*tuple[Any, ...]]) -> GpuState:
    """Say what state a GPU is in when its VM has given it back."""
    if row.state is GpuState.ABSENT:
        return GpuState.ABSENT
    return GpuState.QUARANTINED if row.problem else _first_state({"causes": row.causes})


def new_fault(facts: Values, gpu: PciGpu) -> str:
    """Tell what has befallen a GPU since it was read last; empty for nothing."""
    if facts["answers"] and not gpu.answers:
        return OFF_THE_BUS
    new = gpu.errors - facts.get("errors", gpu.errors)
    return f"it reported {new} PCIe errors that nothing mended" if new > 0 else ""


def is_same_card(facts: Values, others: Values) -> bool:
    """Whether it is the card that was read before, with all its functions: drivers, bridges and counters may differ."""
    return _identity(facts) == _identity(others)


def stored(what: object) -> Any:  # noqa: ANN401 - JSON
    """Give it as the database gives it back."""
    return msgspec.json.decode(msgspec.json.encode(what))


def _held(row: Row[*tuple[Any, ...]], look: Look, gpu: PciGpu, seen: Values) -> Values:
    if not is_same_card(row.facts, seen["facts"]):
        other = Cause(
            f"another card, {gpu.pci_id}, is in its place",
            "put back the card that its VM was given, or terminate the VM",
        )
        gone = {"facts": row.facts, "state": GpuState.ABSENT, "causes": stored([other])}
        return {**gone, "problem": row.problem}
    problem = row.problem or _stranger(row, look) or new_fault(row.facts, gpu)
    return {**seen, "state": GpuState.HELD, "problem": problem}


def _stranger(row: Row[*tuple[Any, ...]], look: Look) -> str:
    """Tell of a machine of ours that runs with another VM's GPU: the rows are older than the host, as after a restore.

    What was cleaned since the look began may have been in a machine then that is gone by now.
    """
    if look.user in {None, row.vm_id} or (row.cleaned_at is not None and row.cleaned_at >= look.begun):
        return ""
    return "the machine of another VM ran with it"


def _first_state(seen: Values) -> GpuState:
    return GpuState.UNFIT if seen["causes"] else GpuState.CLEANING


def _unheld_state(row: Row[*tuple[Any, ...]], look: Look, seen: Values, problem: str) -> GpuState:
    if problem:
        return GpuState.QUARANTINED
    is_settled = row.state in SETTLED and not seen["causes"] and look.user is None
    return row.state if is_settled else _first_state(seen)


def _identity(facts: Values) -> tuple[object, ...]:
    functions = [(one["address"], one["pci_id"]) for one in facts["functions"]]
    return functions, facts["subsystem_id"], facts["revision"]
