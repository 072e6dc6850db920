"""What ranges of ports cost: a switch knows no ranges, only values under masks, and each is a flow of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

ALL_BITS: Final = 0xFFFF


def merged(ranges: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Say the same ports in as few ranges as possible, in their order."""
    few: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if few and first <= few[-1][1] + 1:
            few[-1] = (few[-1][0], max(few[-1][1], last))
        else:
            few.append((first, last))
    return tuple(few)


def port_masks(ranges: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Cover ranges of ports by as few values under masks as possible: `(value, mask)`, at most 30 for a range.

    OVN does so itself, but takes the two ends of a range apart and multiplies: 16 for 1000 to 1599, where 4 do.
    """
    return tuple(pair for first, last in merged(ranges) for pair in _cover(first, last))


def _cover(first: int, last: int) -> Iterator[tuple[int, int]]:
    """Take from the low end, each time the largest block that begins there and does not reach beyond the high end."""
    while first <= last:
        aligned = first & -first or ALL_BITS + 1
        size = min(aligned, 1 << (last - first + 1).bit_length() - 1)
        yield first, ALL_BITS + 1 - size
        first += size
