"""What a small guest found of a GPU that it was given, and whether a VM would find the card that the host has. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cumulet.gpus.wire import GpuProof, ProvedFunction
from cumulet.hypervisor import PciFunction, PciGpu, Proof, SeenDma, SeenFunction

FLAGS: Final = 0xF
"""What of a register is no address."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it went."""

    problem: str
    """What was wrong; empty when the guest found all that it should."""
    proof: Proof | None
    """None when the guest did not come to its end."""


def judge(gpu: PciGpu, proof: Proof) -> Outcome:
    """Say whether a guest found the whole card, could use it, and was kept inside of its memory."""
    return Outcome("; ".join(problems(gpu, proof)), proof)


def problems(gpu: PciGpu, proof: Proof) -> Iterable[str]:
    """Tell all that a guest did not find as it should."""
    if len(proof.functions) != len(gpu.functions):
        yield f"its guest found {len(proof.functions)} of its {len(gpu.functions)} functions"
    for own, seen in zip(gpu.functions, proof.functions, strict=False):
        yield from problems_of_function(own, seen)
    if gpu.bar_bytes and not any(bar & ~FLAGS for one in proof.functions[:1] for bar in one.bars):
        yield "its guest's firmware found no room for its memory"
    if proof.dma:
        yield from problems_of_dma(proof.dma)


def problems_of_function(own: PciFunction, seen: SeenFunction) -> Iterable[str]:
    """Tell what is not as it should be with one function."""
    if seen.pci_id != own.pci_id:
        yield f"its guest found {seen.pci_id} instead of {own.pci_id} ({own.address})"
    elif not seen.masters_bus:
        yield f"its guest could not let {own.address} reach memory"


def problems_of_dma(dma: SeenDma) -> Iterable[str]:
    """Tell where it should have got to and did not, or should not have and did."""
    if not dma.inside:
        yield "it did not reach its guest's memory"
    if dma.outside:
        yield "it read memory outside of its guest's"


def proof_view(gpu: PciGpu, outcome: Outcome) -> GpuProof:
    """Show what a guest found."""
    seen, dma = (outcome.proof.functions, outcome.proof.dma) if outcome.proof else ((), None)
    return GpuProof(
        problem=outcome.problem,
        functions=[
            ProvedFunction(
                address=own.address,
                pci_id=one.pci_id,
                bars=[str(bar) for bar in one.bars],
                masters_bus=one.masters_bus,
            )
            for own, one in zip(gpu.functions, seen, strict=False)
        ],
        dma_inside=dma.inside if dma else None,
        dma_outside=bool(dma.outside) if dma else None,
    )
