"""Usage as it is asked for: in which time, and added up by what. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from cumulet.errors import Invalid
from cumulet.usage.span import BY_GIB, Charge, Item, Span
from cumulet.usage.spend import Used, amount, by_label, cost, month_of, tally, whole_vms
from cumulet.usage.wire import UsageResponse, UsageRow
from cumulet.wire import Amount

INTERVALS: Final = ("hour", "day", "month")
GROUPS: Final = (*INTERVALS, "resource", "item", "label")
MOST_INTERVALS: Final = 1000


class Key(NamedTuple):
    """By what usage is added up."""

    number: int
    """Of the interval."""
    kind: str
    name: str
    label: str
    item: str
    price: Decimal


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for."""

    start: datetime
    end: datetime
    by: frozenset[str]
    label: str

    @property
    def bounds(self) -> list[datetime]:
        """The instants between which usage is added up."""
        interval = next((one for one in INTERVALS if one in self.by), "")
        return [self.start, *_marks(self.start, self.end, interval), self.end]


def plan_query(start: datetime, end: datetime, by: Sequence[str], label: str) -> Query:
    """Check what is asked for; Invalid names the field."""
    for one in by:
        if one not in GROUPS:
            raise Invalid.field("by", one, f"some of {', '.join(GROUPS)}")
    if sum(one in INTERVALS for one in set(by)) > 1:
        raise Invalid.field("by", ", ".join(by), f"one of {', '.join(INTERVALS)}")
    if ("label" in by) is not bool(label):
        raise Invalid.field("label", label, "the key of a label with by=label, and none without")
    if end <= start:
        raise Invalid.field("startTime", start.isoformat(), f"an instant before {end.isoformat()}")
    return Query(start, end, frozenset(by), label)


def _marks(start: datetime, end: datetime, interval: str) -> list[datetime]:
    """Give the beginnings of hours, days or months, by UTC, within a time."""
    marks: list[datetime] = []
    following = next_mark(start, interval) if interval else end
    while following < end:
        marks.append(following)
        if len(marks) > MOST_INTERVALS:
            raise Invalid.field("by", interval, f"at most {MOST_INTERVALS} intervals: ask for less time")
        following = next_mark(following, interval)
    return marks


def next_mark(instant: datetime, interval: str) -> datetime:
    """Give the next beginning of an hour, a day or a month."""
    if interval == "month":
        return month_of(instant)[1]
    hour = instant.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if interval == "day":
        return hour.replace(hour=0) + timedelta(days=1)
    return hour + timedelta(hours=1)


def usage_report(spans: Sequence[Span], query: Query) -> UsageResponse:
    """Add usage up as it is asked for."""
    bounds = query.bounds
    return UsageResponse(
        start_time=query.start,
        end_time=query.end,
        rows=[
            row_view(key, used, bounds)
            for label, of_label in labelled(spans, query)
            for key, used in sorted(grouped(of_label, query, bounds, label).items())
        ],
        total=Amount.of(cost(spans, query.start, query.end)),
    )


def labelled(spans: Sequence[Span], query: Query) -> Iterator[tuple[str, Sequence[Span]]]:
    """Part usage by the label that is asked for, if one is."""
    if not query.label:
        yield "", spans
        return
    parts: dict[str, list[Span]] = {}
    for span, value in by_label(spans, query.label):
        parts.setdefault(value, []).append(span)
    yield from sorted(parts.items())


def grouped(
    spans: Sequence[Span], query: Query, bounds: Sequence[datetime], label: str
) -> dict[Key, list[Used]]:
    """Add usage of one label up by interval, resource and item, as far as these are asked for."""
    by_resource, by_item = "resource" in query.by, "item" in query.by

    def key(number: int, span: Span, charge: Charge) -> Key:
        return Key(
            number,
            span.kind if by_resource else "",
            span.name if by_resource else "",
            label,
            charge.item if by_item else "",
            charge.price if by_item else Decimal(0),
        )

    return dict(tally(whole_vms(spans) if by_resource else spans, bounds, key))


def row_view(key: Key, used: Sequence[Used], bounds: Sequence[datetime]) -> UsageRow:
    """Show what was added up."""
    return UsageRow(
        start_time=bounds[key.number],
        end_time=bounds[key.number + 1],
        kind=key.kind,
        id=key.name,
        label=key.label,
        item=key.item,
        unit=unit_of(key.item) if key.item else "",
        quantity=Amount.of(used[0].hours if key.item else Decimal(0)),
        price=Amount.of(key.price),
        amount=Amount.of(amount(used)),
    )


def unit_of(item: str) -> str:
    """Say what the price of an item is of."""
    return "GiB hour" if Item(item) in BY_GIB else "hour"
