"""Which GPUs a VM gets: never worse than the best of all sets, and what is left stays together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from itertools import combinations
from random import Random
from uuid import UUID, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cumulet.gpus.choice import Choice, FreeGpu, Rank, choose
from cumulet.hypervisor.memory.gpus import made_up_gpus

NAMES = UUID(int=1)


def gpu(node: int | None, switch: int, port: int) -> FreeGpu:
    """Make a free GPU at a port of a switch of a node."""
    domain = f"{0xF if node is None else node:x}{switch:03x}"
    address = f"{domain}:{port:02x}:00.0"
    bridges = (f"{domain}:00:01.0", f"{domain}:01:00.0", f"{domain}:02:{port:02x}.0")
    return FreeGpu(uuid5(NAMES, address), address, node, bridges)


def host(*nodes: Sequence[int]) -> list[FreeGpu]:
    """Make the free GPUs of a host: of each node, how many behind each of its switches."""
    return [
        gpu(node, switch, port)
        for node, switches in enumerate(nodes)
        for switch, count in enumerate(switches)
        for port in range(count)
    ]


def taken(chosen: Choice | None) -> dict[tuple[int, int], int]:
    """Say how many are taken of each node's switches."""
    assert chosen
    return dict(Counter((int(one.address[0], 16), int(one.address[1:4], 16)) for one in chosen.gpus))


def rank_of(free: Collection[FreeGpu], chosen: Collection[FreeGpu]) -> Rank:
    """Rank a set as the promise says it, with no sums of parts."""
    nodes, switches = ({one.node for one in chosen}, {(one.node, one.switch) for one in chosen})
    islands = [
        set(free),
        *({one for one in free if one.node == node} for node in nodes),
        *({one for one in free if (one.node, one.switch) == switch} for switch in switches),
    ]
    broken = sorted((len(island) for island in islands if island - set(chosen)), reverse=True)
    return Rank(len(nodes), len(switches), tuple(broken) if chosen else ())


PLACES = st.tuples(st.sampled_from([None, 0, 1, 2]), st.integers(0, 2), st.integers(0, 3))
FREE = st.sets(PLACES, max_size=10).map(lambda places: [gpu(*place) for place in places])


@settings(deadline=None)
@given(FREE, st.data())
def test_no_set_of_free_gpus_is_better_than_the_choice(free: list[FreeGpu], data: st.DataObject) -> None:
    """All sets are looked at here."""
    count = data.draw(st.integers(0, len(free)))
    chosen = choose(free, count)
    assert chosen
    assert len(set(chosen.gpus)) == count
    assert set(chosen.gpus) <= set(free)
    assert chosen.rank == rank_of(free, chosen.gpus)
    assert chosen.rank == min(rank_of(free, one) for one in combinations(free, count))


@settings(deadline=None)
@given(FREE, st.data())
def test_a_choice_does_not_depend_on_the_order_in_which_gpus_are_read(
    free: list[FreeGpu], data: st.DataObject
) -> None:
    """Two servers that read the same rows choose the same."""
    shuffled = data.draw(st.permutations(free))
    count = data.draw(st.integers(0, len(free)))
    assert choose(shuffled, count) == choose(free, count)


def test_more_than_are_free_are_no_choice() -> None:
    """Nothing is made up."""
    assert choose(host([2]), 3) is None


@pytest.mark.parametrize(
    ("free", "count", "expected"),
    [
        pytest.param(host([1, 1], [2]), 2, {(1, 0): 2}, id="one switch before two of a node"),
        pytest.param(
            host([1, 1], [1, 1, 1]),
            2,
            {(0, 0): 1, (0, 1): 1},
            id="a node that is used up before a larger one",
        ),
        pytest.param(host([1], [1], [1, 1]), 2, {(2, 0): 1, (2, 1): 1}, id="one node before two"),
        pytest.param(host([2, 1]), 1, {(0, 1): 1}, id="the single one before one of a pair"),
        pytest.param(host([2, 2], [2, 1]), 1, {(1, 1): 1}, id="what a smaller node has"),
        pytest.param(
            host([2, 2], [2, 2], [2, 1]),
            6,
            {(0, 0): 2, (0, 1): 2, (2, 0): 2},
            id="a whole node and a part of the smallest",
        ),
    ],
)
def test_gpus_are_near_each_other_and_leave_large_islands_whole(
    free: list[FreeGpu], count: int, expected: dict[tuple[int, int], int]
) -> None:
    """By (node, switch), how many are taken there."""
    assert taken(choose(free, count)) == expected


def test_cards_without_a_switch_are_each_on_their_own() -> None:
    """Two root ports of a node are no switch; cards that share one are nearer."""
    alone = [FreeGpu(uuid5(NAMES, f"alone{n}"), f"0000:0{n}:00.0", 0, (f"0000:00:0{n}.0",)) for n in (1, 2)]
    bare = FreeGpu(uuid5(NAMES, "bare"), "0000:00:1f.0", 0, ())
    chosen = choose([*alone, bare, *host([2])], 2)
    assert chosen
    assert chosen.rank.switches == 1
    chosen = choose([*alone, bare], 3)
    assert chosen
    assert chosen.rank.switches == 3


BOARD = [
    frozenset(one.address for one in host([2, 2], [2, 2])[first : first + size])
    for size in (8, 4, 2, 1)
    for first in range(0, 8, size)
]
"""The partitions of an HGX board."""


@settings(deadline=None)
@given(st.data())
def test_vms_that_come_and_go_get_whole_partitions_of_which_no_two_overlap(data: st.DataObject) -> None:
    """Of any size, also those that no partition has; the board may have lost some of its partitions."""
    partitions = data.draw(st.lists(st.sampled_from(BOARD), unique=True, min_size=1))
    free, held = set(host([2, 2], [2, 2])), []
    for count in data.draw(st.lists(st.integers(-1, 8), max_size=12)):
        if count < 0 and held:
            free |= held.pop()
        given_whole = [
            one for one in partitions if len(one) == count and one <= {gpu.address for gpu in free}
        ]
        chosen = choose(free, count, partitions) if count > 0 else None
        if chosen is None:
            assert not given_whole or count < 0
            continue
        assert {gpu.address for gpu in chosen.gpus} in given_whole
        assert chosen == choose(sorted(free, key=lambda gpu: gpu.id), count, partitions[::-1])
        held.append(set(chosen.gpus))
        free -= held[-1]


@pytest.mark.parametrize(
    ("held", "count", "expected"),
    [
        pytest.param([], 2, [0, 1], id="the first of those alike"),
        pytest.param([0], 1, [1], id="the other half of a broken pair"),
        pytest.param([0], 2, [2, 3], id="a pair of a broken half"),
        pytest.param([0], 4, [4, 5, 6, 7], id="the other half of the board"),
        pytest.param([0, 4], 4, None, id="no half is whole"),
        pytest.param([1, 2], 2, [4, 5], id="two that are free are no partition"),
        pytest.param([], 3, None, id="no partition has so many"),
    ],
)
def test_a_vm_gets_the_partition_that_breaks_the_least(
    held: list[int], count: int, expected: list[int] | None
) -> None:
    """By the order of the GPUs on the board."""
    board = host([2, 2], [2, 2])
    free = [one for place, one in enumerate(board) if place not in held]
    chosen = choose(free, count, BOARD)
    assert (chosen and [board.index(one) for one in chosen.gpus]) == expected


def test_ranks_of_different_hosts_tell_which_host_is_torn_apart_least() -> None:
    """A host with one GPU left is better for one than one that has all eight."""
    whole, half, single = (
        choose(free, 1) for free in (host([2, 2], [2, 2]), host([2, 2], []), host([1], []))
    )
    assert whole
    assert half
    assert single
    assert single.rank < half.rank < whole.rank
    fitting, larger = choose(host([2, 2]), 4), choose(host([2, 2], [2, 2]), 4)
    assert fitting
    assert larger
    assert fitting.rank < larger.rank


def test_many_gpus_are_chosen_from_without_looking_at_all_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 40 there are 137,846,528,820 sets of 20, and 3 ^ 20 even when those behind one switch are alike."""
    added = []
    add = Choice.__add__
    monkeypatch.setattr(Choice, "__add__", lambda one, other: added.append(1) or add(one, other))
    cards = made_up_gpus("A40", 40).gpus
    free = [FreeGpu(uuid5(NAMES, card.address), card.address, card.numa_node, card.bridges) for card in cards]
    chosen = choose(free, 20)
    assert chosen
    assert chosen.rank == Rank(nodes=1, switches=10, broken=(40,))
    assert len(added) < 40 * 40


def test_gpus_of_vms_that_come_and_go_are_more_seldom_apart_than_the_first_free() -> None:
    """Made-up churn on one host, the same for both ways to choose."""
    assert apart(choose) < apart(first_free)


def first_free(free: Collection[FreeGpu], count: int) -> Choice | None:
    """Take them by address."""
    first = tuple(sorted(free, key=lambda one: one.address)[:count])
    return Choice(first, rank_of(free, first)) if len(first) == count else None


def apart(way: Callable[[Collection[FreeGpu], int], Choice | None]) -> int:
    """Say how many of a thousand VMs, of 1, 2 or 4 GPUs, would be on two nodes although there are at most 4 on it."""
    random = Random(0)  # noqa: S311 - nothing secret
    free, held, found = set(host([2, 2], [2, 2])), [], 0
    for _ in range(1000):
        chosen = way(free, random.choice([1, 1, 2, 4]))
        if chosen is None:
            free |= held.pop(random.randrange(len(held)))
            continue
        found += chosen.rank.nodes > 1
        held.append(set(chosen.gpus))
        free -= held[-1]
    return found
