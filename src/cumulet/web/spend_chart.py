"""What was spent on each day of a month, as a chart that is made here: bars of at most four colours, and a scale."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from cumulet.usage.wire import UsageRow
from cumulet.web.scale import round_up

SERIES: Final = ("Machines", "GPUs", "Storage", "Networks")
OF_ITEM: Final = {
    "vcpu": 0,
    "memory": 0,
    "gpu": 1,
    "storage": 2,
    "snapshot": 2,
    "image": 2,
    "ipv4": 3,
    "network": 3,
}
"""Which series an item of the bill counts to."""
MARKED: Final = frozenset({1, 8, 15, 22})
"""Days whose number stands below, beside the last."""


@dataclass(frozen=True, slots=True)
class Day:
    """A day's bar."""

    at: datetime
    mark: str
    """What stands below it."""
    amounts: tuple[Decimal, ...]
    """By series."""
    parts: tuple[tuple[int, float, float], ...]
    """The series, and where its part of the bar begins, from above, and how high it is, of a hundred."""

    @property
    def total(self) -> Decimal:
        """All that was spent on it."""
        return sum(self.amounts, Decimal(0))


@dataclass(frozen=True, slots=True)
class Chart:
    """All days of a month."""

    days: tuple[Day, ...]
    top: Decimal
    """What the highest line of the scale stands for."""
    names: tuple[tuple[int, str], ...]
    """Of the series that cost anything, with their numbers."""


def chart_of(rows: Sequence[UsageRow], start: datetime, end: datetime) -> Chart:
    """Draw what was spent in a month from its rows by day and item."""
    spent: dict[int, list[Decimal]] = defaultdict(lambda: [Decimal(0)] * len(SERIES))
    for row in rows:
        spent[(row.start_time - start).days][OF_ITEM.get(row.item, 0)] += Decimal(row.amount.value)
    top = round_up(max((sum(amounts, Decimal(0)) for amounts in spent.values()), default=Decimal(0)))
    count = (end - start).days
    days = tuple(
        Day(
            at=start + timedelta(days=number),
            mark=str(number + 1) if number + 1 in {*MARKED, count} else "",
            amounts=tuple(spent[number]),
            parts=stacked(spent[number], top),
        )
        for number in range(count)
    )
    used = [number for number in range(len(SERIES)) if any(day.amounts[number] for day in days)]
    return Chart(days, top, tuple((number, SERIES[number]) for number in used))


def stacked(amounts: Sequence[Decimal], top: Decimal) -> tuple[tuple[int, float, float], ...]:
    """Put the parts of a bar on each other."""
    parts, below = [], 0.0
    for number, amount in enumerate(amounts):
        height = float(100 * amount / top)
        below += height
        if amount:
            parts.append((number, round(100 - below, 2), round(height, 2)))
    return tuple(parts)
