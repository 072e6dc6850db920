"""Which of a host's free GPUs a VM gets: pure.

What of a VM's GPUs is apart, on another NUMA node or behind another switch, is slow to reach; and what of those that
are left is torn apart is slow for whoever comes next. The best of all sets is found without looking at all of them:
ranks of islands add up, so of each number of GPUs of an island only the best choice counts.

Where a fabric joins GPUs by partitions, a VM gets one of those as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final
from uuid import UUID


@dataclass(frozen=True, slots=True)
class FreeGpu:
    """A GPU that a VM can get, and where in its host it is."""

    id: UUID
    address: str
    numa_node: int | None
    """None where the firmware does not say."""
    bridges: tuple[str, ...]
    """Addresses of the root port and the switches' ports above it, from the root on."""

    @property
    def node(self) -> int:
        """Its NUMA node; those of which nothing is known count as on one of their own."""
        return -1 if self.numa_node is None else self.numa_node

    @property
    def switch(self) -> tuple[str, ...]:
        """The switch it is behind, with those behind which it has only bridges of its own."""
        return switch_of(self.bridges) or (self.address,)


def switch_of(bridges: tuple[str, ...]) -> tuple[str, ...]:
    """Say by which bridges others can be behind the same switch: all but the port that is a card's own, if there is one."""
    return bridges[:-1] or bridges


@dataclass(frozen=True, slots=True, order=True)
class Rank:
    """How good a choice is, on any host: the lower the better."""

    nodes: int = 0
    """On how many NUMA nodes it is."""
    switches: int = 0
    """Behind how many switches."""
    broken: tuple[int, ...] = ()
    """How many GPUs were free in each island of which it takes some and leaves some, the largest first.

    An island is a host, a NUMA node, a switch, or a partition of a fabric.
    """

    def __add__(self, other: Rank) -> Rank:
        """Rank two choices of different islands as one."""
        return Rank(
            self.nodes + other.nodes,
            self.switches + other.switches,
            tuple(sorted(self.broken + other.broken, reverse=True)),
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """Some of the free GPUs of a host."""

    gpus: tuple[FreeGpu, ...] = ()
    rank: Rank = Rank()

    def __add__(self, other: Choice) -> Choice:
        """Take the GPUs of two islands."""
        return Choice(self.gpus + other.gpus, self.rank + other.rank)


@dataclass(frozen=True, slots=True)
class Level:
    """A kind of islands inside of larger ones."""

    island: Callable[[FreeGpu], object]
    """In which a GPU is."""
    rank: Rank
    """What it costs to take any of one."""


LEVELS: Final = (
    Level(lambda gpu: gpu.node, Rank(nodes=1)),
    Level(lambda gpu: (gpu.node, gpu.switch), Rank(switches=1)),
)
"""From the largest on."""


def choose(
    free: Collection[FreeGpu], count: int, partitions: Collection[frozenset[str]] = ()
) -> Choice | None:
    """Choose so many of a host's free GPUs of a model; None when there are not as many together.

    `partitions` are those in which a fabric joins the GPUs of this model on this host, by addresses: where there are
    any, the choice is one of them. Alike whatever the order of all that is given.
    """
    if count > len(free):
        return None
    in_order = sorted(free, key=lambda gpu: (gpu.node, gpu.switch, gpu.address))
    if partitions:
        addresses = {gpu.address for gpu in free}
        return choose_partition(in_order, count, [one for one in partitions if one <= addresses])
    return entered(best_choices(in_order, LEVELS, count)[count], len(free), Rank())


def choose_partition(
    free: Sequence[FreeGpu], count: int, partitions: Sequence[frozenset[str]]
) -> Choice | None:
    """Choose one of the partitions that are free; the first by its GPUs of those that are alike."""
    found = [ranked(free, one, partitions) for one in partitions if len(one) == count]
    return min(found, key=lambda choice: (choice.rank, [gpu.address for gpu in choice.gpus]), default=None)


def ranked(
    free: Sequence[FreeGpu], partition: frozenset[str], partitions: Sequence[frozenset[str]]
) -> Choice:
    """Rank a partition; it breaks those that have some of its GPUs, and others."""
    gpus = tuple(gpu for gpu in free if gpu.address in partition)
    broken = sorted(
        (len(one) for one in partitions if one & partition and not one <= partition), reverse=True
    )
    nodes, switches = {gpu.node for gpu in gpus}, {(gpu.node, gpu.switch) for gpu in gpus}
    return Choice(gpus, Rank(len(nodes), len(switches), tuple(broken)))


def best_choices(gpus: Sequence[FreeGpu], levels: Sequence[Level], most: int) -> list[Choice]:
    """Give the best choice of no GPU of an island, of one, of two, up to `most`."""
    if not levels:
        return [Choice(tuple(gpus[:count])) for count in range(min(len(gpus), most) + 1)]
    level, *finer = levels
    best = [Choice()]
    for _, group in groupby(gpus, key=level.island):
        island = list(group)
        inside = best_choices(island, finer, most)
        best = joined(best, [entered(choice, len(island), level.rank) for choice in inside], most)
    return best


def entered(choice: Choice, size: int, cost: Rank) -> Choice:
    """Rank a choice of an island of some size with what that costs and breaks."""
    if not choice.gpus:
        return choice
    broken = Rank(broken=(size,)) if len(choice.gpus) < size else Rank()
    return Choice(choice.gpus, choice.rank + cost + broken)


def joined(some: Sequence[Choice], others: Sequence[Choice], most: int) -> list[Choice]:
    """Give the best choice of each number, of two islands of which the best choices of each number are known."""
    return [
        best_of(some[count - other] + others[other] for other in splits(count, some, others))
        for count in range(min(len(some) + len(others) - 2, most) + 1)
    ]


def splits(count: int, some: Sequence[Choice], others: Sequence[Choice]) -> Iterable[int]:
    """Say how many of so many GPUs can be of the others; fewer first."""
    return range(max(count - len(some) + 1, 0), min(count, len(others) - 1) + 1)


def best_of(choices: Iterable[Choice]) -> Choice:
    """Give the choice of the lowest rank, the first of equal ones."""
    return min(choices, key=lambda choice: choice.rank)
