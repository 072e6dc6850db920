"""What becomes of a GPU's row by a look at its host's bus, and by its VM's end. Pure.

A row that a VM holds keeps the card that was given: neither a fault nor another card in its place changes whose it is.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from sqlalchemy import Row

from cumulet.gpus.wire import GpuState
from cumulet.hypervisor import Cause, Iommu, PciGpu, unfit_causes

Values = dict[str, Any]
"""Columns of a row."""
SETTLED: Final = frozenset({GpuState.FREE, GpuState.CLEANING})
"""States in which a GPU that is fit has been cleaned, or is about to be."""
OFF_THE_BUS: Final = "it does not answer on the bus any more"


def after_look(row: Row[*tuple[Any, ...]], gpu: PciGpu | None, iommu: Iommu) -> Values:
    """Say what a row should hold now that `gpu` is at its address, or nothing is."""
    if gpu is None:
        return {"facts": row.facts, "state": GpuState.ABSENT, "causes": [], "problem": row.problem}
    seen = {"facts": stored(gpu), "causes": stored(unfit_causes(gpu, iommu))}
    if row.vm_id is not None:
        return _held(row, gpu, seen)
    if not is_same_card(row.facts, seen["facts"]):
        return {**seen, "state": _first_state(seen), "problem": "", "failures": 0, "cleaned_at": None}
    problem = row.problem or (row.state is GpuState.FREE and new_fault(row.facts, gpu)) or ""
    return {**seen, "state": _unheld_state(row, seen, problem), "problem": problem}


def first_look(gpu: PciGpu, iommu: Iommu) -> Values:
    """Say what the row of a GPU should hold that had none."""
    seen = {"facts": stored(gpu), "causes": stored(unfit_causes(gpu, iommu))}
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


def _held(row: Row[*tuple[Any, ...]], gpu: PciGpu, seen: Values) -> Values:
    if not is_same_card(row.facts, seen["facts"]):
        other = Cause(
            f"another card, {gpu.pci_id}, is in its place",
            "put back the card that its VM was given, or terminate the VM",
        )
        gone = {"facts": row.facts, "state": GpuState.ABSENT, "causes": stored([other])}
        return {**gone, "problem": row.problem}
    return {**seen, "state": GpuState.HELD, "problem": row.problem or new_fault(row.facts, gpu)}


def _first_state(seen: Values) -> GpuState:
    return GpuState.UNFIT if seen["causes"] else GpuState.CLEANING


def _unheld_state(row: Row[*tuple[Any, ...]], seen: Values, problem: str) -> GpuState:
    if problem:
        return GpuState.QUARANTINED
    return row.state if row.state in SETTLED and not seen["causes"] else _first_state(seen)


def _identity(facts: Values) -> tuple[object, ...]:
    functions = [(one["address"], one["pci_id"]) for one in facts["functions"]]
    return functions, facts["subsystem_id"], facts["revision"]
