"""What a host has of the GPUs that are asked for, as placement sees it, and how a lack of them is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID


class GpuPick(NamedTuple):
    """GPUs of one host that a VM would get."""

    ids: tuple[UUID, ...]
    rank: tuple[int, ...]
    """How well they lie together and what they leave for others; lower is better."""


class NotFree(NamedTuple):
    """Why a GPU cannot be had."""

    how: str
    """`held`, `being cleaned` and the like: what everybody may know."""
    why: str = ""
    """The reason, for the operator; empty when there is none to tell."""


@dataclass(frozen=True, slots=True)
class GpuRoom:
    """What one host has of one GPU model."""

    model: str = ""
    free: int = 0
    not_free: Mapping[NotFree, int] = field(default_factory=dict)
    """How many others there are, by why they cannot be had."""
    sizes: Sequence[int] = ()
    """How many one VM can have at all, once all are free; not every number where what joins them gives some together."""
    pick: Callable[[int], GpuPick | None] = lambda _: None
    """Choose so many of the free ones; None where no such set can be had, however many are free."""

    @property
    def total(self) -> int:
        """How many of the model there are."""
        return self.free + sum(self.not_free.values())

    @property
    def most(self) -> int:
        """How many one VM can get."""
        return next((count for count in range(self.free, 0, -1) if self.pick(count)), 0)


def tell_lack(rooms: Sequence[GpuRoom], requested: int, *, for_operator: bool = False) -> str:
    """Say what hosts have of a GPU model, none of which can give as many as are requested."""
    free = sum(room.free for room in rooms)
    total = sum(room.total for room in rooms)
    model = rooms[0].model
    if not total:
        return f"no {model} GPUs"
    most = max(room.most for room in rooms)
    together = f", at most {most} together" if most < free else ""
    others = _tell_others(rooms, for_operator=for_operator)
    return f"{free} of {total} {model} GPUs free{together}{others}, {requested} requested"


def _tell_others(rooms: Sequence[GpuRoom], *, for_operator: bool) -> str:
    counts: Counter[str] = Counter()
    for room in rooms:
        for (how, why), count in room.not_free.items():
            counts[f"{how} ({why})" if why and for_operator else how] += count
    return "".join(f", {count} {words}" for words, count in sorted(counts.items()))
